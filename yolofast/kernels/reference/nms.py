"""The definition of non-maximum suppression in plain numpy: greedy loops over IoU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels.reference.boxes import box_iou


def nms(
    boxes: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]], iou_threshold: float
) -> NDArray[np.int64]:
    """See `yolofast.kernels.nms`."""
    classes = np.zeros(len(scores), dtype=np.int64)
    return batched_nms(boxes, scores, classes, iou_threshold)


def batched_nms(
    boxes: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.int64]:
    """See `yolofast.kernels.batched_nms`."""
    kept = np.zeros(len(scores), dtype=np.bool_)
    order: NDArray[np.intp] = np.argsort(-scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    for label in np.unique(classes):
        left = order[classes[order] == label]
        while len(left):
            kept[left[0]] = True
            iou = box_iou(boxes[left[:1]], boxes[left[1:]])[0]
            # numpy would compare float32 with a Python number in float32.
            left = left[1:][~(iou.astype(np.float64) > iou_threshold)]
    return order[kept[order]].astype(np.int64)


def soft_nms(
    boxes: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    classes: NDArray[np.int64] | None = None,
    *,
    method: str = "linear",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
    """See `yolofast.kernels.soft_nms`."""
    scores = scores.copy()
    labels = np.zeros(len(scores), dtype=np.int64) if classes is None else classes
    found: list[int] = []
    for label in np.unique(labels):
        left = np.flatnonzero(labels == label)
        left = left[scores[left].astype(np.float64) >= score_threshold]
        while len(left):
            best = int(left[scores[left].argmax()])  # the first among equals
            found.append(best)
            left = left[left != best]
            iou = box_iou(boxes[[best]], boxes[left])[0]
            if method == "linear":
                weight = np.where(iou.astype(np.float64) > iou_threshold, 1 - iou, iou.dtype.type(1))
            else:
                weight = np.exp(-(iou.astype(np.float64) ** 2) / sigma).astype(iou.dtype)
            with np.errstate(invalid="ignore"):
                scores[left] *= weight
            left = left[scores[left].astype(np.float64) >= score_threshold]
    kept = np.array(sorted(found, key=lambda i: (-scores[i], i)), dtype=np.int64)
    return kept, scores[kept]
