"""postprocess on the device: the values, the order and the padding of the CPU operator, for whole batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels

torch = pytest.importorskip("torch")
torch_ops = pytest.importorskip("yolofast.kernels.torch_ops")

ROOM_FOR_ALL = 32768  # candidates of an image that surely fit into the list of csrc/cuda/postprocess.cu


def random_raw(
    rng: np.random.Generator, images: int, classes: int, anchors: int, levels: int = 50
) -> NDArray[np.float32]:
    """A detector's output in which many boxes overlap and many scores are equal."""
    raw = rng.uniform(0, 1, (images, 4 + classes, anchors))
    raw[:, :2] *= 200
    raw[:, 2:4] = raw[:, 2:4] * 60 + 10
    raw[:, 4:] = np.floor(raw[:, 4:] ** 3 * levels) / levels
    return raw.astype(np.float32)


def assert_same(device: Any, raw: NDArray[np.float32], **options: Any) -> None:
    device.poison()
    got = [device.numpy(tensor) for tensor in device.ops.postprocess(device.put(raw), **options)]
    expected = torch.ops.yolofast.postprocess(torch.from_numpy(raw), **options)
    for name, mine, theirs in zip(
        ("counts", "scores", "classes", "boxes"), got[::-1], expected[::-1], strict=True
    ):
        np.testing.assert_array_equal(mine, theirs.numpy(), err_msg=f"{name}, {options}")
        assert mine.dtype == theirs.numpy().dtype


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((0, 2, 9), {}),
        ((2, 2, 0), {}),
        ((1, 1, 1), {}),
        ((3, 5, 77), {}),
        ((2, 17, 300), {"max_det": 40}),
        ((2, 17, 300), {"agnostic": True}),
        ((2, 1, 513), {"iou": 0.3}),
        ((2, 33, 100), {"multi_label": False, "conf": 0.5}),
        ((2, 33, 100), {"classes": [0, 32, 7]}),
        ((2, 33, 100), {"classes": []}),
        ((1, 33, 100), {"classes": [31], "multi_label": False}),
        ((2, 4, 200), {"conf": 0.0, "iou": 0.0}),
        ((2, 4, 200), {"conf": 1.0}),
        ((2, 4, 200), {"conf": -0.0, "iou": 1.0, "max_det": 900}),
        ((2, 4, 200), {"max_det": 1}),
        ((2, 4, 200), {"max_candidates": 1}),
        ((2, 4, 200), {"max_candidates": 70, "iou": 0.1}),
        ((1, 4, 1200), {"max_candidates": 2100, "iou": 0.05, "agnostic": True}),
        ((1, 9, 1000), {"max_det": 3000, "conf": 0.0}),
        ((2, 9, 1000), {"multi_label": False, "agnostic": True, "iou": 0.2}),
    ],
)
def test_equals_the_cpu_operator(device: Any, shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    for seed in range(2):
        assert_same(device, random_raw(np.random.default_rng(seed), *shape), **options)


@pytest.mark.parametrize("multi_label", [False, True])
def test_odd_values(device: Any, multi_label: bool) -> None:
    rng = np.random.default_rng(3)
    raw = random_raw(rng, 2, 6, 400)
    for value in (np.nan, np.inf, -np.inf, -1.0, 0.0, -0.0, 1e-42, 3e38, 7.0):
        spots = rng.integers(0, 90, raw.shape) == 0
        raw[spots] = value
    assert_same(device, raw, multi_label=multi_label)
    assert_same(device, raw, multi_label=multi_label, conf=0.0, agnostic=True)
    assert_same(device, raw, multi_label=multi_label, conf=1.0)


def test_equal_scores(device: Any) -> None:
    raw = random_raw(np.random.default_rng(4), 2, 5, 700)
    raw[:, 4:] = 0.25
    for options in ({}, {"max_candidates": 100}, {"agnostic": True, "iou": 0.01}):
        assert_same(device, raw, **options)


def test_many_classes(device: Any) -> None:
    raw = random_raw(np.random.default_rng(8), 1, 16500, 2, levels=3)
    assert_same(device, raw, classes=[0, 16383, 16384, 16499], conf=0.0)


@pytest.mark.parametrize("scores", ["spread", "narrow", "equal", "above one"])
def test_more_candidates_than_the_list_has_room_for(device: Any, scores: str) -> None:
    rng = np.random.default_rng(5)
    raw = random_raw(rng, 2, 60, 600)
    raw[:, 4:] = {
        "spread": rng.uniform(0.01, 1, raw[:, 4:].shape),
        "narrow": rng.uniform(0.5, 0.50001, raw[:, 4:].shape),
        "equal": 0.5,
        "above one": rng.uniform(1, 1000, raw[:, 4:].shape),
    }[scores]
    raw[1, 4:30] = 0  # this image's candidates have room
    raw[0, 0, :9] = np.nan
    assert 59 * 591 > ROOM_FOR_ALL + 2 * 500 > np.count_nonzero(raw[1, 4:])
    options = {"max_candidates": 500, "max_det": 100, "iou": 0.1, "classes": list(range(1, 60))}
    assert_same(device, raw, **options)
    assert_same(device, raw, **options, agnostic=True)  # so few stay that all candidates are looked at


def test_keeps_no_more_than_the_reference(device: Any) -> None:
    raw = random_raw(np.random.default_rng(6), 2, 3, 120, levels=1000)
    boxes, scores, classes, counts = (device.numpy(t) for t in device.ops.postprocess(device.put(raw)))
    expected = kernels.postprocess(raw)
    for i, one in enumerate(expected):
        assert counts[i] == len(one.scores)
        np.testing.assert_array_equal(boxes[i, : counts[i]], one.boxes)
        np.testing.assert_array_equal(scores[i, : counts[i]], one.scores)
        np.testing.assert_array_equal(classes[i, : counts[i]], one.classes)
        assert (classes[i, counts[i] :] == -1).all()
        assert not boxes[i, counts[i] :].any()


def test_repeated_runs_are_identical(device: Any) -> None:
    """Threads and blocks run in another order each time."""
    raw = device.put(random_raw(np.random.default_rng(7), 2, 8, 600, levels=5))
    first = [device.numpy(t) for t in device.ops.postprocess(raw, max_candidates=2500)]
    for _ in range(3):
        device.poison()
        again = device.ops.postprocess(raw, max_candidates=2500)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, device.numpy(other))


def test_strides_do_not_matter(device: Any) -> None:
    raw = random_raw(np.random.default_rng(9), 2, 3, 50)
    turned = device.put(np.ascontiguousarray(raw.transpose(0, 2, 1))).transpose(1, 2)
    assert not turned.is_contiguous()
    for mine, theirs in zip(
        device.ops.postprocess(turned), torch.ops.yolofast.postprocess(torch.from_numpy(raw)), strict=True
    ):
        np.testing.assert_array_equal(device.numpy(mine), theirs.numpy())


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7, 60), {}, r"raw has shape \[7, 60\]; expected \[\*, \*, \*\]"),
        ((2, 4, 60), {}, r"raw has shape \[2, 4, 60\]; expected \[B, 4 \+ C, A\]"),
        ((2, 5, 60), {"conf": -0.1}, "postprocess: conf is -0.1; expected"),
        ((2, 5, 60), {"iou": float("nan")}, "postprocess: iou is nan; expected"),
        ((2, 5, 60), {"max_det": 0}, "max_det is 0 and max_candidates is 30000; expected"),
        ((2, 5, 60), {"classes": [1]}, "classes names class 1; expected classes from 0 to 0"),
    ],
)
def test_refusals(device: Any, shape: tuple[int, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        device.ops.postprocess(device.put(np.zeros(shape, np.float32)), **options)


# --- what only a real device can show


@pytest.fixture
def cuda(device: Any) -> Any:
    if device.place != "cuda":
        pytest.skip("the emulation has no streams")
    return device


def test_nobody_waits_for_the_device(cuda: Any) -> None:
    raw = cuda.put(random_raw(np.random.default_rng(10), 4, 20, 2000))
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = cuda.ops.postprocess(raw, classes=[3, 4, 19], max_candidates=100)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = torch.ops.yolofast.postprocess(raw.cpu(), classes=[3, 4, 19], max_candidates=100)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(cuda.numpy(mine), theirs.numpy())


def test_a_graph_replays_it_on_other_values(cuda: Any) -> None:
    """Also where other values take another way: few candidates, more than there is room for, ties."""
    options = {"max_candidates": 600, "max_det": 200, "classes": list(range(2, 60))}
    rng = np.random.default_rng(11)
    inputs = [random_raw(rng, 2, 60, 900, levels) for levels in (3, 1000, 100000)]
    inputs.append(np.full_like(inputs[0], 0.5))
    inputs.append(np.zeros_like(inputs[0]))
    raw = cuda.put(inputs[0])
    cuda.ops.postprocess(raw, **options)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = cuda.ops.postprocess(raw, **options)
    for values in inputs[::-1]:
        raw.copy_(torch.from_numpy(values))
        graph.replay()
        torch.cuda.synchronize()
        expected = torch.ops.yolofast.postprocess(torch.from_numpy(values), **options)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(cuda.numpy(mine), theirs.numpy())
