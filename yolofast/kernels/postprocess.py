"""From a detector's raw output to detections: the arguments checked, then one native call for the batch."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.kernels._nms import postprocess_images
from yolofast.types import Detections


def _wanted(classes: ArrayLike | None, count: int) -> NDArray[np.uint8]:
    if classes is None:
        return np.ones(count, dtype=np.uint8)
    labels = np.asarray(classes)
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"classes has dtype {labels.dtype}; expected whole numbers, the classes to keep")
    if labels.ndim != 1:
        raise ValueError(f"classes has shape {labels.shape}; expected [K], the classes to keep")
    if labels.size and not (labels.min() >= 0 and labels.max() < count):
        raise ValueError(f"classes goes from {labels.min()} to {labels.max()}; expected 0 to {count - 1}")
    wanted = np.zeros(count, dtype=np.uint8)
    wanted[labels.astype(np.int64)] = 1
    return wanted


def postprocess(
    raw: ArrayLike,
    conf: float = 0.001,
    iou: float = 0.7,
    max_det: int = 300,
    classes: ArrayLike | None = None,
    agnostic: bool = False,
    multi_label: bool = True,
    *,
    max_candidates: int = 30000,
) -> list[Detections]:
    """The detections of a batch.

    Args:
        raw: float32 [B, 4 + C, A]: for each of A anchors centre x, centre y, width, height in network
            pixels, then C class scores from 0 to 1. Other float dtypes are converted, and arrays that
            are not contiguous copied.
        conf: candidates have a score above this (as float32).
        iou: a box is suppressed when its IoU with a better one of its class is above this.
        max_det: most detections an image.
        classes: whole numbers, the classes to keep; candidates of others are dropped before they
            count or suppress. None: all.
        agnostic: boxes of different classes suppress each other too.
        multi_label: every class whose score is above `conf` gives a candidate (the protocol of
            evaluation); otherwise only an anchor's best class of all, the lowest among equals, does.
        max_candidates: candidates per image that go into NMS at most, the best ones.

    Returns:
        B Detections, best score first, boxes float32 xyxy in network pixels, not clipped. Equal
        scores keep the order of anchors, then classes. Anchors with a non-finite box and NaN scores
        give none; without `multi_label`, neither do anchors with any NaN score.

    Raises:
        ValueError: the shape is not [B, 4 + C, A] with C >= 1, a limit is out of range, or a class is
            not one of the C.
        TypeError: the values are not floating point, or a whole number is not one.

    The GIL is released while computing.
    """
    array = np.asarray(raw)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"raw has dtype {array.dtype}; expected float32 boxes and scores")
    if array.ndim != 3 or array.shape[1] < 5:
        raise ValueError(f"raw has shape {array.shape}; expected [B, 4 + C, A] with at least one class")
    if operator.index(max_det) < 1 or operator.index(max_candidates) < 1:
        raise ValueError(f"max_det is {max_det} and max_candidates is {max_candidates}; expected at least 1")
    if not 0 <= conf <= 1 or not 0 <= iou <= 1:
        raise ValueError(f"conf is {conf} and iou is {iou}; expected both in 0..1")
    wanted = _wanted(classes, array.shape[1] - 4)
    room = min(max_det, max_candidates, len(wanted) * array.shape[2])
    if room == 0 or len(array) == 0:
        empty = np.zeros((len(array), 0, 4), np.float32)
        return [Detections(none, none[:, 0], np.zeros(0, np.int64)) for none in empty]
    with np.errstate(over="ignore"):  # a float64 beyond float32 is infinite, hence not usable
        images = np.ascontiguousarray(array, dtype=np.float32)
    boxes, scores, labels, counts = postprocess_images(
        images,
        wanted,
        conf=conf,
        iou=iou,
        room=room,
        max_candidates=min(max_candidates, len(wanted) * array.shape[2]),
        agnostic=agnostic,
        multi_label=multi_label,
    )
    # Copies: a few detections must not hold the memory of max_det.
    return [
        Detections(boxes[i, :n].copy(), scores[i, :n].copy(), labels[i, :n].copy())
        for i, n in enumerate(counts)
    ]
