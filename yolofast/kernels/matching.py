"""Matching of detections to ground truth by the COCO rule, for all classes and thresholds at once.

The part of mAP that cannot be vectorised: a ground truth that one detection matched is no longer available to
the next. It is native (csrc/core/coco), so the first evaluation of a process does not wait for a compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.kernels import _coco

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""0.50, 0.55 .. 0.95, computed as pycocotools does (0.9 is 0.8999999999999999 there too)."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Which detection matched which ground truth, at T thresholds, for the K detections that count.

    `detections` int64 [K]: index of each, by class and then descending score; those beyond `max_det`
    in their class are left out. `ground_truths` int64 [T, K]: index of the ground truth, or -1.
    `ignored` bool [T, K]: the detection counts neither as right nor as wrong (it matched a crowd
    region or an ignored ground truth).
    """

    detections: NDArray[np.int64]
    ground_truths: NDArray[np.int64]
    ignored: NDArray[np.bool_]


def _checked(name: str, values: ArrayLike | None, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values is None:
        return np.zeros(shape, dtype=dtype)
    array = np.asarray(values)
    if array.size == 0:
        array = array.reshape((0, *shape[1:]))
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {list(shape)}")
    return np.ascontiguousarray(array, dtype=dtype)


def _classes(dt_classes: NDArray[np.int64], gt_classes: NDArray[np.int64]) -> tuple[NDArray[np.int32], ...]:
    """The classes as consecutive numbers from 0, in the same order."""
    _, numbers = np.unique(np.concatenate([dt_classes, gt_classes]), return_inverse=True)
    return tuple(np.split(numbers.astype(np.int32), [len(dt_classes)]))


def match_detections(
    dt_boxes: ArrayLike,
    dt_scores: ArrayLike,
    dt_classes: ArrayLike,
    gt_boxes: ArrayLike,
    gt_classes: ArrayLike,
    *,
    gt_crowd: ArrayLike | None = None,
    gt_ignore: ArrayLike | None = None,
    dt_ignore: ArrayLike | None = None,
    thresholds: ArrayLike = IOU_THRESHOLDS,
    max_det: int = 100,
) -> Matches:
    """Match the detections of one image to its ground truth, class by class, as pycocotools does.

    Detections are taken in descending score (earlier first among equals), at most `max_det` per class.
    Each takes the free ground truth of its class with the largest IoU not below the threshold, the
    later one among equals; an ignored one only when no other fits. A crowd region is never used up.
    IoU is float64 in the arithmetic of pycocotools' mask module, so the results agree to the last
    bit; for a crowd it is the intersection over the detection's area.

    Args:
        dt_boxes: [D, 4] left, top, width, height in pixels (COCO's form, because converting a file's
            boxes to xyxy and back would round them).
        dt_scores: [D], no NaN.
        dt_classes: whole numbers [D], any.
        gt_boxes: [G, 4] left, top, width, height in pixels.
        gt_classes: whole numbers [G], any.
        gt_crowd: bool [G], crowd regions; default none.
        gt_ignore: bool [G], ground truths that do not count (outside an area range); crowds never do.
        dt_ignore: bool [D], detections that do not count as wrong when nothing matches them (outside
            an area range).
        thresholds: IoU thresholds [T].
        max_det: detections per class at most; at least 0.

    Returns:
        Matches. Boxes with a NaN coordinate match nothing, and a pair of boxes whose IoU is not a
        number (infinite sides) does not match.

    Raises:
        ValueError: a shape does not fit, a score is NaN or `max_det` is negative.

    The GIL is released while matching.
    """
    scores = np.asarray(dt_scores, dtype=np.float64).reshape(-1)
    labels = np.asarray(gt_classes).reshape(-1)
    count, truths = len(scores), len(labels)
    if max_det < 0:
        raise ValueError(f"max_det is {max_det}; expected at least 0")
    dt_labels, gt_labels = _classes(
        _checked("dt_classes", dt_classes, np.int64, (count,)),
        _checked("gt_classes", labels, np.int64, (truths,)),
    )
    return Matches(
        *_coco.match_image(
            _checked("dt_boxes", dt_boxes, np.float64, (count, 4)),
            scores,
            dt_labels,
            _checked("dt_ignore", dt_ignore, np.bool_, (count,)),
            _checked("gt_boxes", gt_boxes, np.float64, (truths, 4)),
            gt_labels,
            _checked("gt_crowd", gt_crowd, np.bool_, (truths,)),
            _checked("gt_ignore", gt_ignore, np.bool_, (truths,)),
            thresholds=np.asarray(thresholds, dtype=np.float64).reshape(-1),
            max_det=min(max_det, count),
        )
    )
