"""The kernels as torch operators: importing this module registers `torch.ops.yolofast.*`.

    import yolofast.kernels.torch_ops
    keep = torch.ops.yolofast.batched_nms(boxes, scores, classes, 0.7)

| operator | result |
|---|---|
| `box_iou(a, b, *, kind="iou", elementwise=False)` | [N, M], or [N] when elementwise |
| `transform_boxes(boxes, matrix, clip=None)` | [N, 4] |
| `nms(boxes, scores, iou_threshold)` | indices int64 [K] |
| `batched_nms(boxes, scores, classes, iou_threshold)` | indices int64 [K] |
| `soft_nms(boxes, scores, classes=None, *, method="linear", sigma=0.5, iou_threshold=0.3, score_threshold=0.001)` | indices int64 [K], scores [K] |
| `postprocess(raw, *, conf=0.001, iou=0.7, max_det=300, classes=None, agnostic=False, multi_label=True, max_candidates=30000)` | boxes float32 [B, max_det, 4], scores float32 [B, max_det], classes int64 [B, max_det], counts int64 [B] |
| `match_detections(boxes, scores, classes, counts, gt_boxes, gt_classes, gt_counts, thresholds, gt_crowd=None, gt_ignore=None, dt_ignore=None, *, max_det=100)` | ranks int64 [B, D], ground_truths int64 [B, D, T], ignored bool [B, D, T] |
| `render_(out, planes, pictures, places, tile_sample, tile_picture, tile_layer, tile_matrix, tile_window, mix, colour, hole)` | writes `out` [B, 3, H, W]; see `torch_render` |
| `letterbox_(out, images, placed, fill=114)` | writes `out` [B, 3, H, W]; see `torch_letterbox` |

Values are those of the functions of the same name in `yolofast.kernels`, whose docstrings say what they
mean and how degenerate boxes are treated. Unlike those functions, the operators convert no dtype: boxes and
scores are float32 (`box_iou`, `transform_boxes` and, on the CPU, NMS also take float64, both arguments alike), classes
int64.
They take any strides. `postprocess` pads each image to `max_det` rows, with zeros and class -1, so that its
shapes are fixed. A wrong argument is a RuntimeError that says what came and what was wanted.

`match_detections` is the COCO matching of a padded batch, as `postprocess` gives it: boxes [B, D, 4] and
gt_boxes [B, G, 4] are xyxy (float32 or float64; matched in float64), of which the first `counts` and
`gt_counts` of each image are used. Detections need not be sorted. `ranks` counts from 0 in an image and class, best first;
a detection that does not count (padding, a NaN score, `max_det` better ones of its class) has rank -1, matches
nothing and is ignored. So `(ground_truths >= 0) & ~ignored` are right and `(ground_truths < 0) & ~ignored` wrong.
For an area range, `gt_ignore` bool [B, G] and `dt_ignore` bool [B, D] say which are outside; there may be up to 16
`thresholds` (`yolofast.kernels.matching.IOU_THRESHOLDS.tolist()`).

On CUDA tensors: all but `soft_nms`, if yolofast was built with nvcc available. Results equal those on the CPU bit
for bit, except for the last bit of a ciou, whose angles are computed by other functions. Work goes to the current stream of
the tensors' device. `nms` and `batched_nms` wait for the device once, to learn how many boxes are kept; the others
never do, except `render_` and `letterbox_` on devices that walk the host's page tables (Grace Hopper). A CUDA
graph can capture those that take nothing from the CPU: `box_iou`, `postprocess`, `match_detections`.

No operator has a gradient. Results of NMS, postprocess and matching do not require one; backward through
`box_iou` or `transform_boxes` is a NotImplementedError, rather than a loss that learns nothing. All work
under `torch.compile` and `torch.export`; the NMS operators have a result of data-dependent length there, for
which `torch.compile` needs `torch._dynamo.config.capture_dynamic_output_shape_ops = True`.

Raises on import: MissingExtraError, when torch is not installed or yolofast was built without it.
"""  # noqa: E501

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from yolofast.errors import MissingExtraError, missing_extra

try:
    import torch
except ModuleNotFoundError as error:
    raise missing_extra("torch", "train", "yolofast.kernels.torch_ops") from error
from torch import Tensor


def _load_library() -> None:
    found = importlib.util.find_spec("yolofast.kernels._torch_ops")
    if found is None or found.origin is None:
        raise MissingExtraError(
            "torch.ops.yolofast is not built: torch >= 2.11 was missing where yolofast was built. "
            "Install torch first, then yolofast with `pip install --no-build-isolation`; in a source folder, "
            "run `python setup.py build_ext --inplace`"
        )
    torch.ops.load_library(found.origin)  # type: ignore[no-untyped-call]


_ON_CUDA = (
    "box_iou",
    "transform_boxes",
    "nms",
    "batched_nms",
    "postprocess",
    "match_detections",
    "render_",
    "letterbox_",
)


def _load_cuda_library() -> str | None:
    """Register the operators on CUDA tensors; returns why that is impossible, or None."""
    found = importlib.util.find_spec("yolofast.kernels._torch_ops_cuda")
    if found is None or found.origin is None:
        return (
            "yolofast was built without CUDA. Build it again where nvcc is on PATH, with YOLOFAST_CUDA=1 and "
            "`pip install --no-build-isolation`"
        )
    if not torch.cuda.is_available():
        return "torch found no CUDA device when yolofast.kernels.torch_ops was imported"
    try:
        torch.ops.load_library(found.origin)  # type: ignore[no-untyped-call]
    except OSError as error:  # the CPU operators work all the same
        return f"{found.origin} does not load ({error}). Build yolofast again with this torch installed"
    return None


def _refuse_cuda(name: str, reason: str) -> None:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(f"{name} got a CUDA tensor: {reason}; or move the tensors to the CPU")

    torch.library.impl(f"yolofast::{name}", "cuda", func=refuse)


def _unknown_length(like: Tensor, dtype: torch.dtype) -> Tensor:
    """A result [K] whose K depends on the values."""
    return like.new_empty([torch.library.get_ctx().new_dynamic_size()], dtype=dtype)


# What torch.compile and torch.export ask for: shapes and dtypes of results, without values.


def _box_iou(a: Tensor, b: Tensor, *, kind: str = "iou", elementwise: bool = False) -> Tensor:
    return a.new_empty([a.shape[0]] if elementwise else [a.shape[0], b.shape[0]])


def _transform_boxes(boxes: Tensor, matrix: Tensor, clip: Sequence[float] | None = None) -> Tensor:
    return boxes.new_empty(boxes.shape)


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return _unknown_length(boxes, torch.int64)


def _batched_nms(boxes: Tensor, scores: Tensor, classes: Tensor, iou_threshold: float) -> Tensor:
    return _unknown_length(boxes, torch.int64)


def _soft_nms(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor | None = None,
    *,
    method: str = "linear",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[Tensor, Tensor]:
    keep = _unknown_length(boxes, torch.int64)
    return keep, scores.new_empty(keep.shape)


def _postprocess(
    raw: Tensor,
    *,
    conf: float = 0.001,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = True,
    max_candidates: int = 30000,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images = raw.shape[0]
    return (
        raw.new_empty([images, max_det, 4]),
        raw.new_empty([images, max_det]),
        raw.new_empty([images, max_det], dtype=torch.int64),
        raw.new_empty([images], dtype=torch.int64),
    )


def _match_detections(
    boxes: Tensor,
    scores: Tensor,
    classes: Tensor,
    counts: Tensor,
    gt_boxes: Tensor,
    gt_classes: Tensor,
    gt_counts: Tensor,
    thresholds: Sequence[float],
    gt_crowd: Tensor | None = None,
    gt_ignore: Tensor | None = None,
    dt_ignore: Tensor | None = None,
    *,
    max_det: int = 100,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = list(boxes.shape[:2])
    return (
        boxes.new_empty(shape, dtype=torch.int64),
        boxes.new_empty([*shape, len(thresholds)], dtype=torch.int64),
        boxes.new_empty([*shape, len(thresholds)], dtype=torch.bool),
    )


_SHAPES: dict[str, Callable[..., Any]] = {
    "box_iou": _box_iou,
    "transform_boxes": _transform_boxes,
    "nms": _nms,
    "batched_nms": _batched_nms,
    "soft_nms": _soft_nms,
    "postprocess": _postprocess,
    "match_detections": _match_detections,
}

# Those that write into their first argument and return nothing.
_IN_PLACE = ("render_", "letterbox_")


def _nothing(*arguments: Any, **options: Any) -> None:
    return None


def _refuse_backward(ctx: Any, *gradients: Tensor | None) -> NoReturn:
    raise NotImplementedError(
        "torch.ops.yolofast has no gradients: detach() the boxes, or compute this term of a loss with torch"
    )


def _without_gradient(
    ctx: Any, inputs: Any, output: Tensor | tuple[Tensor, ...], keyword_only_inputs: Any = None
) -> None:
    ctx.mark_non_differentiable(*(output if isinstance(output, tuple) else (output,)))


def _register() -> None:
    for name, shape in _SHAPES.items():
        operator = f"yolofast::{name}"
        torch.library.register_fake(operator, shape)
        decides = name not in ("box_iou", "transform_boxes")
        setup = _without_gradient if decides else None
        torch.library.register_autograd(operator, _refuse_backward, setup_context=setup)
    for name in _IN_PLACE:
        torch.library.register_fake(f"yolofast::{name}", _nothing)
    for name in (*_SHAPES, *_IN_PLACE):
        if _MISSING or name not in _ON_CUDA:
            _refuse_cuda(name, _MISSING or "this operator has no CUDA kernel")


def why_no_cuda() -> str | None:
    """Why the operators do not take CUDA tensors in this process; None where they do."""
    return _MISSING


_load_library()
_MISSING = _load_cuda_library()
_register()
