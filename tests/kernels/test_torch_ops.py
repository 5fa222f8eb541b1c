"""torch.ops.yolofast on CPU: the kernels' values, clear refusals, opcheck, torch.compile and torch.export."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from yolofast import kernels
from yolofast.errors import MissingExtraError

torch = pytest.importorskip("torch")

from yolofast.kernels import torch_ops  # noqa: E402  (after the skip; a torch without the operators is a failure)

ops = torch.ops.yolofast


def random_boxes(count: int, seed: int = 0, dtype: Any = torch.float32) -> Any:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (count, 2))], axis=1)
    return torch.from_numpy(boxes).to(dtype)


def random_scores(count: int, seed: int = 1) -> Any:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 20, count) / 20).float()


def random_classes(count: int) -> Any:
    return torch.from_numpy(np.random.default_rng(2).integers(-3, 4, count))


def random_raw(images: int = 2, classes: int = 3, anchors: int = 60) -> Any:
    rng = np.random.default_rng(3)
    boxes = np.concatenate(
        [rng.uniform(0, 64, (images, 2, anchors)), rng.uniform(1, 30, (images, 2, anchors))], axis=1
    )
    scores = rng.uniform(0, 1, (images, classes, anchors)) ** 4
    return torch.from_numpy(np.concatenate([boxes, scores], axis=1).astype(np.float32))


def equal(got: Any, expected: Any) -> None:
    np.testing.assert_array_equal(got.numpy(), expected)
    assert got.numpy().dtype == expected.dtype


# --- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize(("n", "m"), [(0, 3), (5, 5), (17, 4)])
def test_box_iou(dtype: Any, kind: str, n: int, m: int) -> None:
    a, b = random_boxes(n, 1, dtype), random_boxes(m, 2, dtype)
    equal(ops.box_iou(a, b, kind=kind), kernels.box_iou(a.numpy(), b.numpy(), kind=kind))
    if n == m:
        expected = kernels.box_iou(a.numpy(), b.numpy(), kind=kind, elementwise=True)
        equal(ops.box_iou(a, b, kind=kind, elementwise=True), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("matrix_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [None, (40.0, 30.5)])
@pytest.mark.parametrize("rows", [2, 3])
def test_transform_boxes(dtype: Any, matrix_dtype: Any, clip: tuple[float, float] | None, rows: int) -> None:
    boxes = random_boxes(40, dtype=dtype)
    matrix = torch.tensor([[0.9, -0.3, 5], [0.4, 1.1, -7], [1e-3, -0.03, 1]], dtype=matrix_dtype)[:rows]
    expected = kernels.transform_boxes(boxes.numpy(), matrix.numpy(), clip)
    assert np.isnan(expected).any() == (rows == 3)  # the perspective one hides some boxes
    equal(ops.transform_boxes(boxes, matrix, clip), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.45, 1.0])
def test_nms(count: int, threshold: float, dtype: Any) -> None:
    boxes, scores, classes = random_boxes(count, dtype=dtype), random_scores(count), random_classes(count)
    scores = scores.to(dtype) / 3
    for method in ("linear", "gaussian"):
        keep, lowered = ops.soft_nms(boxes, scores, classes, method=method)
        expected, changed = kernels.soft_nms(boxes.numpy(), scores.numpy(), classes.numpy(), method=method)
        equal(keep, expected)
        equal(lowered, changed)
    equal(ops.nms(boxes, scores, threshold), kernels.nms(boxes.numpy(), scores.numpy(), threshold))
    expected = kernels.batched_nms(boxes.numpy(), scores.numpy(), classes.numpy(), threshold)
    equal(ops.batched_nms(boxes, scores, classes, threshold), expected)


def test_soft_nms_worked_out_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    scores = torch.tensor([0.8, 0.6, 0.5])
    keep, lowered = ops.soft_nms(boxes, scores)  # IoU of the first two: one half
    assert keep.tolist() == [0, 2, 1]
    assert lowered.tolist() == pytest.approx([0.8, 0.5, 0.6 * 0.5])
    _, lowered = ops.soft_nms(boxes, scores, method="gaussian", sigma=0.25)
    assert lowered.tolist() == pytest.approx([0.8, 0.5, 0.6 * np.exp(-0.25 / 0.25)])
    keep, lowered = ops.soft_nms(boxes, scores, torch.tensor([4, -7, 4]))
    assert keep.tolist() == [0, 1, 2]
    equal(lowered, scores.numpy())
    keep, lowered = ops.soft_nms(boxes, scores, score_threshold=0.4)
    assert keep.tolist() == [0, 2]
    keep, lowered = ops.soft_nms(boxes[:0], scores[:0])
    assert (keep.tolist(), lowered.tolist()) == ([], [])
    assert (keep.dtype, lowered.dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("images", [0, 1, 5])
@pytest.mark.parametrize(
    "options", [{}, {"multi_label": False}, {"agnostic": True, "iou": 0.3}, {"max_det": 7}]
)
def test_postprocess_pads_the_detections_of_the_kernel(images: int, options: dict[str, Any]) -> None:
    raw = random_raw(images)
    boxes, scores, classes, counts = ops.postprocess(raw, conf=0.2, **options)
    most = options.get("max_det", 300)
    assert boxes.shape == (images, most, 4)
    assert scores.shape == classes.shape == (images, most)
    expected = kernels.postprocess(raw.numpy(), conf=0.2, **options)
    assert counts.tolist() == [len(one.scores) for one in expected]
    for i, one in enumerate(expected):
        count = counts[i]
        equal(boxes[i, :count], one.boxes)
        equal(scores[i, :count], one.scores)
        equal(classes[i, :count], one.classes)
        assert not boxes[i, count:].any()
        assert not scores[i, count:].any()
        assert (classes[i, count:] == -1).all()


def test_postprocess_without_anchors_and_with_the_largest_limit() -> None:
    boxes, _, classes, counts = ops.postprocess(random_raw(anchors=0), max_det=4)
    assert boxes.shape == (2, 4, 4)
    assert (classes == -1).all()
    assert counts.tolist() == [0, 0]
    raw = random_raw()
    for got, expected in zip(
        ops.postprocess(raw, max_candidates=2**63 - 1), ops.postprocess(raw), strict=True
    ):
        equal(got, expected.numpy())


def test_postprocess_of_some_classes_equals_the_others_at_no_score() -> None:
    raw = random_raw()
    alone = raw.clone()
    alone[:, 5] = 0
    for got, expected in zip(ops.postprocess(raw, classes=[2, 0]), ops.postprocess(alone), strict=True):
        equal(got, expected.numpy())
    assert ops.postprocess(raw, classes=[])[3].tolist() == [0, 0]


# --- what comes in -----------------------------------------------------------------------------------------

BOXES, SCORES, CLASSES, RAW = random_boxes(30), random_scores(30), random_classes(30), random_raw()

MATCH = (
    BOXES.reshape(2, 15, 4),
    SCORES.reshape(2, 15),
    CLASSES.reshape(2, 15),
    torch.tensor([15, 4]),
    random_boxes(8, 4, torch.float64).reshape(2, 4, 4),
    CLASSES[:8].reshape(2, 4),
    torch.tensor([3, 4]),
    [0.1, 0.5],
)

CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "box_iou": (ops.box_iou, (BOXES, BOXES)),
    "transform_boxes": (ops.transform_boxes, (BOXES, torch.tensor([[1.0, 0.2, 3], [0, 2, 1]]))),
    "nms": (ops.nms, (BOXES, SCORES, 0.5)),
    "batched_nms": (ops.batched_nms, (BOXES, SCORES, CLASSES, 0.5)),
    "soft_nms": (ops.soft_nms, (BOXES, SCORES, CLASSES)),
    "postprocess": (ops.postprocess, (RAW,)),
    "match_detections": (ops.match_detections, MATCH),
}
each_operator = pytest.mark.parametrize(("op", "arguments"), CALLS.values(), ids=CALLS.keys())


def results(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def on_tensors(change: Callable[[Any], Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(change(value) if isinstance(value, torch.Tensor) else value for value in arguments)


def spread(tensor: Any) -> Any:
    """The same values, no two of them neighbours in memory."""
    wide = torch.full([2 * size for size in tensor.shape], 77, dtype=tensor.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in tensor.shape)]
    view.copy_(tensor)
    return view


@each_operator
def test_views_give_the_same(op: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    views = on_tensors(spread, arguments)
    assert not views[0].is_contiguous()
    for got, expected in zip(results(op(*views)), results(op(*arguments)), strict=True):
        equal(got, expected.numpy())


@each_operator
def test_arguments_stay_unchanged(op: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    given = on_tensors(torch.clone, arguments)
    op(*given)
    for after, before in zip(given, arguments, strict=True):
        if isinstance(after, torch.Tensor):
            equal(after, before.numpy())


@each_operator
def test_no_gradient_is_lost_in_silence(op: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    given = on_tensors(lambda t: t.clone().requires_grad_(t.is_floating_point()), arguments)
    got = results(op(*given))
    if op in (ops.box_iou, ops.transform_boxes):
        with pytest.raises(NotImplementedError, match="has no gradients"):
            got[0].sum().backward()
    else:
        assert not any(value.requires_grad for value in got)
    for value, expected in zip(got, results(op(*arguments)), strict=True):
        equal(value.detach(), expected.numpy())


@each_operator
def test_degenerate_numbers_do_no_harm(op: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    rng = np.random.default_rng(5)
    hard = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38, -3e38, 1e-45, -0.0, 1, 2, 3])
    huge = torch.tensor([-(2**63), 2**63 - 1, 0, -1])

    def harden(tensor: Any) -> Any:
        values = hard if tensor.is_floating_point() else huge
        return values[torch.from_numpy(rng.integers(0, len(values), tuple(tensor.shape)))]

    for _ in range(50):
        for value in results(op(*on_tensors(harden, arguments))):
            assert value.numel() <= 2 * 300 * 4 + 900
            if value.dtype == torch.int64 and op in (ops.nms, ops.batched_nms, ops.soft_nms):
                assert sorted(set(value.tolist())) == sorted(value.tolist())
                assert all(0 <= index < 30 for index in value.tolist())


def test_tensors_written_meanwhile_do_no_harm() -> None:
    boxes, scores, classes, raw = random_boxes(2000), random_scores(2000), random_classes(2000), random_raw()
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            for tensor in (boxes, scores, raw):
                tensor.copy_(torch.randn_like(tensor) * 50)
            classes.random_(-5, 5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            for keep in (
                ops.nms(boxes, scores, 0.5),
                ops.batched_nms(boxes, scores, classes, 0.5),
                ops.soft_nms(boxes[:200], scores[:200], classes[:200])[0],
            ):
                assert ((keep >= 0) & (keep < 2000)).all()
            assert (ops.postprocess(raw)[3] <= 300).all()
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.box_iou(BOXES.int(), BOXES), "box_iou: a has dtype int32; expected float32 or float64"),
        (lambda: ops.box_iou(BOXES, BOXES.double()), "box_iou: b has dtype float64; expected float32:"),
        (lambda: ops.box_iou(BOXES[0], BOXES), r"box_iou: a has shape \[4\]; expected \[\*, 4\]"),
        (
            lambda: ops.box_iou(BOXES, BOXES[:3], elementwise=True),
            r"box_iou: b has shape \[3, 4\]; expected \[30, 4\]",
        ),
        (lambda: ops.box_iou(BOXES, BOXES, kind="eiou"), "kind is 'eiou'; expected one of iou, giou"),
        (lambda: ops.transform_boxes(BOXES, torch.eye(2)), r"matrix has shape \[2, 2\]; expected \[2, 3\]"),
        (lambda: ops.transform_boxes(BOXES, torch.eye(4)), r"matrix has shape \[4, 4\]; expected \[3, 3\]"),
        (lambda: ops.transform_boxes(BOXES, torch.eye(3), [5.0]), "clip has 1 values; expected"),
        (lambda: ops.transform_boxes(BOXES, torch.eye(3), [5.0, -1.0]), "clip is 5 x -1; expected positive"),
        (lambda: ops.nms(BOXES.half(), SCORES, 0.5), "nms: boxes has dtype float16; expected float32"),
        (lambda: ops.nms(BOXES.double(), SCORES, 0.5), "nms: scores has dtype float32; expected float64"),
        (lambda: ops.nms(BOXES, SCORES[1:], 0.5), r"nms: scores has shape \[29\]; expected \[30\]"),
        (lambda: ops.nms(BOXES, SCORES, float("nan")), "nms: iou_threshold is nan; expected"),
        (lambda: ops.batched_nms(BOXES, SCORES, SCORES, 0.5), "classes has dtype float32; expected int64"),
        (lambda: ops.batched_nms(BOXES, SCORES, CLASSES, 1.5), "batched_nms: iou_threshold is 1.5"),
        (lambda: ops.soft_nms(BOXES, SCORES, method="cubic"), "method is 'cubic'; expected one of linear"),
        (lambda: ops.soft_nms(BOXES, SCORES, sigma=0.0), "sigma is 0; expected a number above 0"),
        (lambda: ops.soft_nms(BOXES, SCORES, sigma=float("inf")), "sigma is inf; expected a number above 0"),
        (lambda: ops.soft_nms(BOXES, SCORES, score_threshold=-1.0), "score_threshold is -1; expected"),
        (lambda: ops.match_detections(*MATCH[:7], []), "thresholds has 0 values; expected 1 to 16"),
        (lambda: ops.match_detections(BOXES, *MATCH[1:]), r"boxes has shape \[30, 4\]; expected \[.*, 4\]"),
        (lambda: ops.postprocess(RAW[0]), r"raw has shape \[7, 60\]; expected \[\*, \*, \*\]"),
        (lambda: ops.postprocess(RAW[:, :4]), r"raw has shape \[2, 4, 60\]; expected \[B, 4 \+ C, A\]"),
        (lambda: ops.postprocess(RAW, conf=-0.1), "postprocess: conf is -0.1; expected"),
        (lambda: ops.postprocess(RAW, max_det=0), "max_det is 0 and max_candidates is 30000; expected"),
        (lambda: ops.postprocess(RAW, classes=[3]), "classes names class 3; expected classes from 0 to 2"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


# --- torch's machinery -------------------------------------------------------------------------------------


@each_operator
def test_opcheck(op: Any, arguments: tuple[Any, ...]) -> None:
    outcome = torch.library.opcheck(op.default, arguments)
    assert set(outcome.values()) == {"SUCCESS"}


class Suppress(torch.nn.Module):
    """Every operator in one graph, with sizes that only the values tell."""

    def forward(self, boxes: Any, scores: Any, classes: Any, raw: Any) -> Any:
        boxes = ops.transform_boxes(boxes, boxes.new_tensor([[1.0, 0, 2], [0, 1, 3]]), [90.0, 90.0])
        keep = ops.batched_nms(boxes, scores, classes, 0.5)
        soft, lowered = ops.soft_nms(boxes[keep], scores[keep], method="gaussian")
        best = boxes[ops.nms(boxes, scores, 0.4)]
        return keep, soft, lowered, ops.box_iou(boxes, best), *ops.postprocess(raw, max_det=9, classes=[0, 1])


def same(got: Any, expected: Any) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        equal(mine, theirs.numpy())


def test_compiles_into_one_graph() -> None:
    arguments = (BOXES, SCORES, CLASSES, RAW)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = torch.compile(Suppress(), fullgraph=True, backend="aot_eager")
        same(compiled(*arguments), Suppress()(*arguments))
        fewer = (BOXES[:20], SCORES[:20], CLASSES[:20], RAW)
        same(compiled(*fewer), Suppress()(*fewer))


def test_exports_with_a_free_number_of_boxes() -> None:
    count = torch.export.Dim("count", min=2)
    program = torch.export.export(
        Suppress(),
        (BOXES, SCORES, CLASSES, RAW),
        dynamic_shapes=({0: count}, {0: count}, {0: count}, None),
    )
    for n in (30, 11):
        arguments = (BOXES[:n], SCORES[:n], CLASSES[:n], RAW)
        same(program.module()(*arguments), Suppress()(*arguments))


def test_without_the_library_the_error_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"not built.*--no-build-isolation"):
        torch_ops._load_library()
