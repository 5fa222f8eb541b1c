"""COCO matching of a batch on the device: who matched whom is what the CPU says, image by image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.kernels.matching import IOU_THRESHOLDS

torch = pytest.importorskip("torch")
pytest.importorskip("yolofast.kernels.torch_ops")

THRESHOLDS = IOU_THRESHOLDS.tolist()


class Batch(NamedTuple):
    """Padded images, in the order of the operator's arguments."""

    boxes: NDArray[Any]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    counts: NDArray[np.int64]
    gt_boxes: NDArray[Any]
    gt_classes: NDArray[np.int64]
    gt_counts: NDArray[np.int64]


def random_boxes(rng: np.random.Generator, shape: tuple[int, int], span: int, dtype: Any) -> NDArray[Any]:
    """Boxes of whole numbers, so that many overlaps are equal; a few are odd."""
    corner = rng.integers(0, span, (*shape, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 6, (*shape, 2))], axis=-1).astype(dtype)
    odd = rng.integers(0, 40, shape)
    boxes[odd == 0] = boxes[odd == 0][:, [2, 3, 0, 1]]
    boxes[odd == 1, 1] = np.nan
    boxes[odd == 2, 2] = np.inf
    return boxes


def random_batch(
    rng: np.random.Generator, images: int, rows: int, truths: int, classes: int = 3, dtype: Any = np.float32
) -> Batch:
    scores = (rng.integers(0, 12, (images, rows)) / 12).astype(np.float32)
    scores[rng.integers(0, 50, scores.shape) == 0] = np.nan
    return Batch(
        random_boxes(rng, (images, rows), 7, dtype),
        scores,
        rng.integers(0, classes, (images, rows)) * (1 << 40) - 5,
        rng.integers(0, rows + 1, images),
        random_boxes(rng, (images, truths), 7, np.float64 if dtype == np.float32 else np.float32),
        rng.integers(0, classes + 1, (images, truths)) * (1 << 40) - 5,
        rng.integers(0, truths + 1, images),
    )


def matched(ops: Any, put: Any, batch: Batch, **options: Any) -> list[NDArray[Any]]:
    tensors = {k: put(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    found = ops.match_detections(*(put(array) for array in batch), **tensors)
    return [tensor.cpu().numpy() for tensor in found]


def assert_same(device: Any, batch: Batch, **options: Any) -> list[NDArray[Any]]:
    device.poison()
    got = matched(device.ops, device.put, batch, **options)
    expected = matched(torch.ops.yolofast, torch.from_numpy, batch, **options)
    for name, mine, theirs in zip(("ranks", "ground_truths", "ignored"), got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert mine.dtype == theirs.dtype
    return got


def ltwh(boxes: NDArray[Any]) -> NDArray[np.float64]:
    wide = boxes.astype(np.float64)
    return np.concatenate([wide[..., :2], wide[..., 2:] - wide[..., :2]], axis=-1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("images", "rows", "truths"), [(0, 3, 2), (2, 0, 4), (2, 5, 0), (1, 1, 1), (4, 60, 12), (2, 300, 75)]
)
def test_equals_the_matching_of_each_image(
    device: Any, seed: int, images: int, rows: int, truths: int
) -> None:
    rng = np.random.default_rng(seed)
    batch = random_batch(rng, images, rows, truths, dtype=np.float32 if seed % 2 else np.float64)
    flags = {
        "gt_crowd": rng.integers(0, 5, (images, truths)) == 0,
        "gt_ignore": rng.integers(0, 4, (images, truths)) == 0,
        "dt_ignore": rng.integers(0, 3, (images, rows)) == 0,
    }
    with np.errstate(invalid="ignore"):
        ranks, ground_truths, ignored = assert_same(device, batch, thresholds=THRESHOLDS, max_det=20, **flags)
        for i in range(images):
            here = np.flatnonzero(~np.isnan(batch.scores[i, : batch.counts[i]]))
            there = slice(batch.gt_counts[i])
            arguments = (
                ltwh(batch.boxes[i, here]),
                batch.scores[i, here],
                batch.classes[i, here],
                ltwh(batch.gt_boxes[i, there]),
                batch.gt_classes[i, there],
            )
            own = {
                "gt_crowd": flags["gt_crowd"][i, there],
                "gt_ignore": flags["gt_ignore"][i, there],
                "dt_ignore": flags["dt_ignore"][i, here],
                "max_det": 20,
            }
            expected = kernels.match_detections(*arguments, thresholds=THRESHOLDS, **own)
            rows_of = here[expected.detections]
            np.testing.assert_array_equal(ground_truths[i, rows_of].T, expected.ground_truths)
            np.testing.assert_array_equal(ignored[i, rows_of].T, expected.ignored)
            assert sorted(rows_of) == np.flatnonzero(ranks[i] >= 0).tolist()
            rest = np.setdiff1d(np.arange(rows), rows_of)
            assert (ground_truths[i, rest] == -1).all()
            assert ignored[i, rest].all()


@pytest.mark.parametrize("max_det", [0, 1, 3, 1 << 40])
@pytest.mark.parametrize("thresholds", [[0.5], [0.0, 1.0, 0.3]])
def test_limits(device: Any, max_det: int, thresholds: list[float]) -> None:
    batch = random_batch(np.random.default_rng(2), 3, 40, 9, classes=1)
    ranks, *_ = assert_same(device, batch, thresholds=thresholds, max_det=max_det)
    assert ranks.max() < max_det


def test_counts_beyond_the_rows_are_cut(device: Any) -> None:
    batch = random_batch(np.random.default_rng(3), 3, 10, 4)
    batch = batch._replace(counts=np.array([-7, 11, 1 << 50]), gt_counts=np.array([1 << 50, -1, 5]))
    ranks, ground_truths, _ = assert_same(device, batch, thresholds=[0.5])
    assert (ranks[0] == -1).all()
    assert (ground_truths[1] == -1).all()


def test_straight_after_postprocess(device: Any) -> None:
    """What an evaluation does: the device's detections against labels, with nothing on the host between."""
    rng = np.random.default_rng(4)
    raw = rng.uniform(0, 1, (2, 6, 300)).astype(np.float32)
    raw[:, :4] *= 30
    truth = random_batch(rng, 2, 1, 20, classes=2)
    labels = [truth.gt_boxes * 4, rng.integers(0, 2, (2, 20)), truth.gt_counts]
    detections = device.ops.postprocess(device.put(raw), max_det=100)
    found = device.ops.match_detections(*detections, *map(device.put, labels), thresholds=THRESHOLDS)
    ranks, ground_truths, _ = (device.numpy(tensor) for tensor in found)
    assert (ground_truths >= 0).any()
    on_cpu = torch.ops.yolofast.postprocess(torch.from_numpy(raw), max_det=100)
    expected = torch.ops.yolofast.match_detections(
        *on_cpu, *map(torch.from_numpy, labels), thresholds=THRESHOLDS
    )
    np.testing.assert_array_equal(ranks, expected[0].numpy())
    np.testing.assert_array_equal(ground_truths, expected[1].numpy())


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {"boxes": np.zeros((2, 5, 3), np.float32)},
            {},
            r"boxes has shape \[2, 5, 3\]; expected \[.*, 4\]",
        ),
        ({"scores": np.zeros((2, 4), np.float32)}, {}, r"scores has shape \[2, 4\]; expected \[2, 5\]"),
        ({"classes": np.zeros((2, 5), np.float32)}, {}, "classes has dtype float32; expected int64"),
        ({"gt_counts": np.zeros(3, np.int64)}, {}, r"gt_counts has shape \[3\]; expected \[2\]"),
        ({}, {"gt_crowd": np.zeros((2, 2), bool)}, r"gt_crowd has shape \[2, 2\]; expected \[2, 3\]"),
        ({}, {"dt_ignore": np.zeros((2, 5), np.int64)}, "dt_ignore has dtype int64; expected bool"),
        ({}, {"thresholds": []}, "thresholds has 0 values; expected 1 to 16"),
        ({}, {"thresholds": [0.5] * 17}, "thresholds has 17 values; expected 1 to 16"),
        ({}, {"thresholds": [1.5]}, "a threshold is 1.5; expected a number from 0 to 1"),
        ({}, {"max_det": -1}, "max_det is -1; expected at least 0"),
    ],
)
def test_refusals(device: Any, change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    batch = random_batch(np.random.default_rng(0), 2, 5, 3)._replace(**change)
    for ops, put in ((device.ops, device.put), (torch.ops.yolofast, torch.from_numpy)):
        with pytest.raises(RuntimeError, match=f"match_detections: {message}"):
            matched(ops, put, batch, **{"thresholds": [0.5], **options})


def test_nobody_waits_for_the_device(device: Any) -> None:
    if device.place != "cuda":
        pytest.skip("the emulation has no streams")
    batch = random_batch(np.random.default_rng(5), 4, 300, 40)
    tensors = [device.put(array) for array in batch]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = device.ops.match_detections(*tensors, thresholds=THRESHOLDS)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for mine, theirs in zip(
        found, matched(torch.ops.yolofast, torch.from_numpy, batch, thresholds=THRESHOLDS), strict=True
    ):
        np.testing.assert_array_equal(device.numpy(mine), theirs)
