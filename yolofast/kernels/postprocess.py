"""From a detector's raw output to detections: confidence filter, non-maximum suppression, best first."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.kernels._boxes import batched_nms, nms
from yolofast.types import Detections


def _best(scores: NDArray[np.float32], limit: int) -> NDArray[np.bool_]:
    """The `limit` largest scores, earlier first among equals, as a mask (no full sort)."""
    if len(scores) <= limit:
        return np.ones(len(scores), dtype=np.bool_)
    last = np.partition(scores, len(scores) - limit)[len(scores) - limit]
    mask: NDArray[np.bool_] = np.greater(scores, last)
    mask[np.flatnonzero(scores == last)[: limit - np.count_nonzero(mask)]] = True
    return mask


def _one_image(
    raw: NDArray[np.float32],
    conf: float,
    iou: float,
    max_det: int,
    multi_label: bool,
    agnostic: bool,
    max_candidates: int,
) -> Detections:
    by_class = raw[4:]
    if multi_label:
        # Anchor by anchor, so that equal scores keep the order of the anchors.
        anchors, classes = np.nonzero(np.greater(by_class, conf).T)
    else:
        best = by_class.argmax(axis=0)
        best_scores = by_class[best, np.arange(by_class.shape[1])]
        anchors = np.flatnonzero(np.greater(best_scores, conf))
        classes = best[anchors]
    usable = np.all(np.isfinite(raw[:4]), axis=0)[anchors]
    anchors, classes = anchors[usable], classes[usable]
    mask = _best(by_class[classes, anchors], max_candidates)
    anchors, classes = anchors[mask], classes[mask]

    scores = by_class[classes, anchors]
    centre, half = raw[:2, anchors].T, raw[2:4, anchors].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    keep = nms(boxes, scores, iou) if agnostic else batched_nms(boxes, scores, classes, iou)
    keep = keep[:max_det]
    return Detections(boxes[keep], scores[keep], classes[keep].astype(np.int64, copy=False))


def postprocess(
    raw: ArrayLike,
    *,
    conf: float = 0.001,
    iou: float = 0.7,
    max_det: int = 300,
    multi_label: bool = True,
    agnostic: bool = False,
    max_candidates: int = 30000,
) -> list[Detections]:
    """The detections of a batch.

    Args:
        raw: float32 [B, 4 + C, A]: for each of A anchors centre x, centre y, width, height in network
            pixels, then C class scores from 0 to 1. Other float dtypes are converted.
        conf: candidates have a score above this.
        iou: a box is suppressed when its IoU with a better one of its class is above this.
        max_det: most detections an image.
        multi_label: every class whose score is above `conf` gives a candidate (the protocol of
            evaluation); otherwise only an anchor's best class, the lowest among equals, does.
        agnostic: boxes of different classes suppress each other too.
        max_candidates: most candidates an image that go into suppression, the best ones.

    Returns:
        B Detections, best score first, boxes float32 xyxy in network pixels, not clipped. Equal
        scores keep the order of anchors, then classes. Anchors with a non-finite box and NaN scores
        give none.

    Raises:
        ValueError: the shape is not [B, 4 + C, A] with C >= 1, or a limit is out of range.
        TypeError: the values are not floating point.
    """
    array = np.asarray(raw)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"raw has dtype {array.dtype}; expected float32 boxes and scores")
    if array.ndim != 3 or array.shape[1] < 5:
        raise ValueError(f"raw has shape {array.shape}; expected [B, 4 + C, A] with at least one class")
    if max_det < 1 or max_candidates < 1:
        raise ValueError(f"max_det is {max_det} and max_candidates is {max_candidates}; expected at least 1")
    if not 0 <= conf <= 1 or not 0 <= iou <= 1:
        raise ValueError(f"conf is {conf} and iou is {iou}; expected both in 0..1")
    images = array.astype(np.float32, copy=False)
    return [_one_image(one, conf, iou, max_det, multi_label, agnostic, max_candidates) for one in images]
