"""The definition of detection matching and average precision, as loops one can follow with a pencil."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def coco_iou(dt: NDArray[np.float64], gt: NDArray[np.float64], crowd: bool) -> float:
    """IoU of two boxes given as left, top, width, height; over the detection's area for a crowd."""
    left, top = np.maximum(dt[:2], gt[:2])
    right, bottom = np.minimum(dt[:2] + dt[2:], gt[:2] + gt[2:])
    if not (right > left and bottom > top):
        return 0.0
    inter = (right - left) * (bottom - top)
    return float(inter / (dt[2] * dt[3] if crowd else dt[2] * dt[3] + gt[2] * gt[3] - inter))


def match_image(
    dt_boxes: NDArray[np.float64],
    dt_scores: NDArray[Any],
    gt_boxes: NDArray[np.float64],
    gt_crowd: NDArray[np.bool_],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Match one image and class at one threshold; see `yolofast.kernels.match_detections`.

    Returns, for the detections as given: index of the ground truth or -1 [D], and ignored [D].
    """
    match = np.full(len(dt_boxes), -1, dtype=np.int64)
    ignored = np.zeros(len(dt_boxes), dtype=np.bool_)
    free = set(range(len(gt_boxes)))
    for d in np.argsort(-np.asarray(dt_scores, dtype=np.float64), kind="stable"):
        # An object is preferred to any crowd; then the larger overlap; then the later one.
        options = [
            (not gt_crowd[g], iou, g)
            for g in free
            if (iou := coco_iou(dt_boxes[d], gt_boxes[g], bool(gt_crowd[g]))) >= threshold
        ]
        if options:
            _, _, best = max(options)
            match[d] = best
            ignored[d] = gt_crowd[best]
            if not gt_crowd[best]:
                free.remove(best)
    return match, ignored


def average_precision(
    scores: NDArray[Any], right: NDArray[np.bool_], ignored: NDArray[np.bool_], boxes: int
) -> float:
    """COCO's 101-point average precision of one class at one IoU; `boxes` > 0 objects exist."""
    order = [i for i in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable") if not ignored[i]]
    curve = []
    found = 0
    for seen, i in enumerate(order, start=1):
        found += int(right[i])
        curve.append((found / boxes, found / seen))
    points = np.linspace(0, 1, 101)
    return float(np.mean([max((p for r, p in curve if r >= point), default=0.0) for point in points]))
