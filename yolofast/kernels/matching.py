"""Matching of detections to ground truth by the COCO rule, for all classes and thresholds at once.

This is the part of mAP that cannot be vectorised: each detection takes a ground truth from those
after it. Numba, compiled at first use and cached on disk; the GIL is released while matching.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""0.50, 0.55 .. 0.95, computed as pycocotools does (0.9 is 0.8999999999999999 there too)."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Which detection found which ground truth, at T thresholds, for the K detections that count.

    `detections` int64 [K]: index of each, by class and then descending score; those beyond `max_det`
    in their class are left out. `ground_truths` int64 [T, K]: index of the ground truth, or -1.
    `ignored` bool [T, K]: the detection is neither right nor wrong (a crowd region took it).
    """

    detections: NDArray[np.int64]
    ground_truths: NDArray[np.int64]
    ignored: NDArray[np.bool_]


# The IoU of pycocotools' bbIou: the far edge is left + width, and a crowd divides by the detection.
@njit(cache=True, nogil=True, error_model="numpy")
def _coco_iou(dt, gt, crowd):  # type: ignore[no-untyped-def]
    w = min(dt[2] + dt[0], gt[2] + gt[0]) - max(dt[0], gt[0])
    h = min(dt[3] + dt[1], gt[3] + gt[1]) - max(dt[1], gt[1])
    if not (w > 0.0 and h > 0.0):
        return 0.0
    inter = w * h
    area = dt[2] * dt[3]
    return inter / (area if crowd else area + gt[2] * gt[3] - inter)


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]
    dt, dt_ignore, first, last, gt, crowd, gt_ignore, thresholds, matches, ignored
):
    taken = np.zeros((thresholds.shape[0], gt.shape[0]), dtype=np.bool_)
    overlap = np.empty(gt.shape[0], dtype=np.float64)
    for d in range(dt.shape[0]):
        for g in range(first[d], last[d]):
            overlap[g] = _coco_iou(dt[d], gt[g], crowd[g])
        for t in range(thresholds.shape[0]):
            best = min(thresholds[t], 1 - 1e-10)
            found = -1
            for g in range(first[d], last[d]):
                if taken[t, g] and not crowd[g]:
                    continue
                # Ignored ground truths come last: they are for detections that found nothing better.
                if found >= 0 and gt_ignore[g] and not gt_ignore[found]:
                    break
                if overlap[g] >= best:
                    best = overlap[g]
                    found = g
            matches[t, d] = found
            if found >= 0:
                taken[t, found] = True
                ignored[t, d] = gt_ignore[found]
            else:
                ignored[t, d] = dt_ignore[d]


def _checked(name: str, values: ArrayLike | None, dtype: type[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values is None:
        return np.zeros(shape, dtype=dtype)
    array = np.asarray(values)
    if array.size == 0:
        array = array.reshape((0, *shape[1:]))
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {list(shape)}")
    return np.ascontiguousarray(array, dtype=dtype)


def _without_nan(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes with a NaN become zeros, which overlap nothing; NaN could slip through min and max."""
    return np.where(np.isnan(boxes).any(axis=1, keepdims=True), 0.0, boxes)


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

    Detections are taken in descending score (earlier first among equals), at most `max_det` a class.
    Each takes the free ground truth of its class with the largest IoU not below the threshold, the
    later one among equals; an ignored one only when no other fits. A crowd region is never used up.
    IoU is float64 in the arithmetic of pycocotools' mask module, so the results agree to the last
    bit; for a crowd it is the intersection over the detection's area.

    Args:
        dt_boxes: [D, 4] left, top, width, height in pixels (COCO's form, because converting a file's
            boxes to xyxy and back would round them).
        dt_scores: [D], no NaN.
        dt_classes: whole numbers [D].
        gt_boxes: [G, 4] left, top, width, height in pixels.
        gt_classes: whole numbers [G].
        gt_crowd: bool [G], crowd regions; default none.
        gt_ignore: bool [G], ground truths that do not count (outside an area range); crowds never do.
        dt_ignore: bool [D], detections that do not count as wrong when nothing matches them (outside
            an area range).
        thresholds: IoU thresholds [T].
        max_det: most detections of a class.

    Returns:
        Matches. Boxes with a NaN coordinate match nothing.

    Raises:
        ValueError: a shape does not fit, or a score is NaN.
    """
    scores = np.asarray(dt_scores, dtype=np.float64).reshape(-1)
    labels = np.asarray(gt_classes).reshape(-1)
    count, truths = len(scores), len(labels)
    dt = _without_nan(_checked("dt_boxes", dt_boxes, np.float64, (count, 4)))
    gt = _without_nan(_checked("gt_boxes", gt_boxes, np.float64, (truths, 4)))
    dt_labels = _checked("dt_classes", dt_classes, np.int64, (count,))
    gt_labels = _checked("gt_classes", gt_classes, np.int64, (truths,))
    crowd = _checked("gt_crowd", gt_crowd, np.bool_, (truths,))
    gt_skip = _checked("gt_ignore", gt_ignore, np.bool_, (truths,)) | crowd
    dt_skip = _checked("dt_ignore", dt_ignore, np.bool_, (count,))
    levels = np.ascontiguousarray(thresholds, dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError("dt_scores has NaN; expected numbers: drop those detections first")

    order = np.lexsort((-scores, dt_labels))
    sorted_labels = dt_labels[order]
    rank = np.arange(count) - np.searchsorted(sorted_labels, sorted_labels, side="left")
    order = order[rank < max_det]
    sorted_labels = dt_labels[order]
    gt_order = np.lexsort((gt_skip, gt_labels))
    first = np.searchsorted(gt_labels[gt_order], sorted_labels, side="left")
    last = np.searchsorted(gt_labels[gt_order], sorted_labels, side="right")

    matches = np.full((len(levels), len(order)), -1, dtype=np.int64)
    ignored = np.zeros((len(levels), len(order)), dtype=np.bool_)
    _match(
        dt[order],
        dt_skip[order],
        first,
        last,
        gt[gt_order],
        crowd[gt_order],
        gt_skip[gt_order],
        levels,
        matches,
        ignored,
    )
    # The appended -1 is what index -1 (no match) reads.
    return Matches(order, np.append(gt_order, -1)[matches], ignored)
