"""Arguments that nobody means: views of every kind, numbers at the ends of their types, shapes without
elements. The device says what the CPU operators say."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("yolofast.kernels.torch_ops")

INT64 = torch.iinfo(torch.int64)
TINY = 1e-320  # above 0, and 0 in float32


def uniform(*shape: int) -> Any:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def boxes(count: int) -> Any:
    corners = uniform(count, 4) * 30
    corners[:, 2:] += corners[:, :2]
    return corners


def raw() -> Any:
    values = uniform(2, 7, 60)
    values[:, :4] *= 40
    return values


def matching(**changes: Any) -> dict[str, Any]:
    """Arguments of match_detections: 2 images of 5 detections and 3 ground truths."""
    given = {
        "boxes": boxes(10).view(2, 5, 4),
        "scores": uniform(2, 5),
        "classes": torch.zeros(2, 5, dtype=torch.int64),
        "counts": torch.tensor([5, 4]),
        "gt_boxes": boxes(6).view(2, 3, 4),
        "gt_classes": torch.zeros(2, 3, dtype=torch.int64),
        "gt_counts": torch.tensor([3, 3]),
        "thresholds": [0.1, 0.5],
    }
    return {**given, **changes}


NOBODY = {
    "boxes": torch.zeros(2, 9, 4)[:, :0],
    "scores": torch.zeros(2, 0),
    "classes": torch.zeros(2, 0, dtype=torch.int64),
}

TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("nms", {"boxes": boxes(1).expand(200, 4), "scores": uniform(1).expand(200), "iou_threshold": 0.5}),
    # Each box begins with the second number of the one before.
    (
        "nms",
        {"boxes": uniform(203).as_strided((200, 4), (1, 1)), "scores": uniform(200), "iou_threshold": 0.1},
    ),
    (
        "batched_nms",
        {
            "boxes": uniform(401)[1:].view(100, 4),
            "scores": uniform(101)[1:],
            "classes": torch.tensor([INT64.min, INT64.max, -1, 0, 1] * 20),
            "iou_threshold": TINY,
        },
    ),
    ("nms", {"boxes": boxes(100), "scores": uniform(100), "iou_threshold": -0.0}),
    ("nms", {"boxes": boxes(100).flip(0), "scores": uniform(100) * 1e-40, "iou_threshold": 1.0}),
    ("box_iou", {"a": boxes(40).t().contiguous().t(), "b": boxes(33)[::3]}),
    ("box_iou", {"a": torch._neg_view(boxes(9)), "b": boxes(1).expand(9, 4), "elementwise": True}),
    ("box_iou", {"a": torch.zeros(0, 4), "b": torch.zeros(0, 4), "elementwise": True}),
    ("transform_boxes", {"boxes": boxes(1).expand(300, 4), "matrix": uniform(1, 3).expand(3, 3)}),
    ("transform_boxes", {"boxes": boxes(70), "matrix": uniform(7)[1:].view(2, 3), "clip": [TINY, 1e300]}),
    ("postprocess", {"raw": uniform(300).as_strided((2, 7, 60), (3, 2, 1))}),
    ("postprocess", {"raw": raw()[:1].expand(3, 7, 60), "max_candidates": INT64.max}),
    ("postprocess", {"raw": raw().permute(0, 2, 1).contiguous().permute(0, 2, 1), "conf": TINY}),
    ("postprocess", {"raw": raw(), "conf": 1 - 1e-12, "iou": TINY}),
    ("postprocess", {"raw": raw(), "classes": [1] * 100_000, "iou": -0.0}),
    ("postprocess", {"raw": torch.zeros(0, 7, 1 << 24), "max_det": 1 << 40}),
    ("match_detections", matching(boxes=boxes(1).view(1, 1, 4).expand(2, 5, 4), max_det=INT64.max)),
    ("match_detections", matching(counts=torch.tensor([INT64.min, INT64.max]), thresholds=[-0.0, TINY])),
    ("match_detections", matching(classes=torch.tensor([[INT64.min, INT64.max, 0, 1, 2]]).expand(2, 5))),
    ("match_detections", matching(boxes=torch.full((2, 5, 4), torch.inf), scores=uniform(1).expand(2, 5))),
    ("match_detections", matching(**NOBODY)),
]


def on_device(device: Any, value: Any) -> Any:
    """A tensor as the same view of memory there."""
    if not isinstance(value, torch.Tensor):
        return value
    memory = torch.empty(0, dtype=value.dtype).set_(value.untyped_storage()).to(device.place)
    view = memory.as_strided(value.shape, value.stride(), value.storage_offset())
    return torch._neg_view(view) if value.is_neg() else view


def moved(device: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: on_device(device, value) for key, value in arguments.items()}


@pytest.mark.parametrize(("name", "arguments"), TAKEN)
def test_values_are_those_of_the_cpu(device: Any, name: str, arguments: dict[str, Any]) -> None:
    there = moved(device, arguments)
    device.poison()
    found, expected = getattr(device.ops, name)(**there), getattr(torch.ops.yolofast, name)(**arguments)
    if isinstance(found, torch.Tensor):
        found, expected = [found], [expected]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=0, equal_nan=True)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("nms", {"boxes": boxes(3), "scores": uniform(3), "iou_threshold": -1e-9}),
    ("nms", {"boxes": boxes(3), "scores": uniform(3), "iou_threshold": float("inf")}),
    ("nms", {"boxes": boxes(3), "scores": uniform(3, 1), "iou_threshold": 0.5}),
    ("nms", {"boxes": boxes(3).double(), "scores": uniform(3), "iou_threshold": 0.5}),
    ("nms", {"boxes": torch.tensor(1.0), "scores": uniform(3), "iou_threshold": 0.5}),
    ("batched_nms", {"boxes": boxes(3), "scores": uniform(3), "classes": uniform(3), "iou_threshold": 0.5}),
    ("box_iou", {"a": boxes(3), "b": boxes(3).double()}),
    ("box_iou", {"a": boxes(3).half(), "b": boxes(3).half()}),
    ("box_iou", {"a": boxes(3), "b": boxes(2), "elementwise": True}),
    ("box_iou", {"a": boxes(3), "b": boxes(2), "kind": "IOU"}),
    ("transform_boxes", {"boxes": boxes(3), "matrix": uniform(3)}),
    ("transform_boxes", {"boxes": boxes(3), "matrix": uniform(2, 2)}),
    ("transform_boxes", {"boxes": boxes(3), "matrix": torch.zeros(3, 3, dtype=torch.int64)}),
    ("transform_boxes", {"boxes": boxes(3), "matrix": uniform(3, 3), "clip": [float("nan"), 1.0]}),
    ("transform_boxes", {"boxes": boxes(3), "matrix": uniform(3, 3), "clip": [1.0, 1.0, 1.0]}),
    ("postprocess", {"raw": raw().half()}),
    ("postprocess", {"raw": raw(), "conf": float("nan")}),
    ("postprocess", {"raw": raw(), "max_candidates": 0}),
    ("postprocess", {"raw": raw(), "max_det": INT64.max}),
    ("postprocess", {"raw": raw(), "classes": [INT64.min]}),
    ("postprocess", {"raw": torch.zeros(1, 1 << 33, 0)}),
    ("match_detections", matching(thresholds=[float("nan")])),
    ("match_detections", matching(max_det=INT64.min)),
    ("match_detections", matching(gt_boxes=torch.zeros(0, 3, 4))),
]


@pytest.mark.parametrize(("name", "arguments"), REFUSED)
def test_both_refuse(device: Any, name: str, arguments: dict[str, Any]) -> None:
    for ops, given in ((device.ops, moved(device, arguments)), (torch.ops.yolofast, arguments)):
        with pytest.raises(RuntimeError):
            getattr(ops, name)(**given)
