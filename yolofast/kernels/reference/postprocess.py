"""The definition of `postprocess` in plain numpy: which anchors become detections, in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels.reference.nms import batched_nms, nms
from yolofast.types import Detections


def postprocess(
    raw: NDArray[np.float32],
    conf: float = 0.001,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    agnostic: bool = False,
    multi_label: bool = True,
    *,
    max_candidates: int = 30000,
) -> list[Detections]:
    """See `yolofast.kernels.postprocess`; `raw` float32 [B, 4 + C, A]."""
    found = []
    for image in raw:
        by_class = image[4:]
        above = np.greater(by_class, np.float32(conf))
        if not multi_label:
            above &= np.arange(len(by_class))[:, None] == by_class.argmax(axis=0)
        if classes is not None:
            above &= np.isin(np.arange(len(by_class)), classes)[:, None]
        above &= np.isfinite(image[:4]).all(axis=0)
        # Anchor by anchor, so that equal scores keep the order of the anchors.
        anchors, labels = np.nonzero(above.T)
        order = np.argsort(-by_class[labels, anchors], kind="stable")[:max_candidates]
        anchors, labels = anchors[order], labels[order]

        scores = by_class[labels, anchors]
        centre, half = image[:2, anchors].T, image[2:4, anchors].T / 2
        with np.errstate(over="ignore"):
            boxes = np.concatenate([centre - half, centre + half], axis=1)
        keep = nms(boxes, scores, iou) if agnostic else batched_nms(boxes, scores, labels, iou)
        keep = keep[:max_det]
        found.append(Detections(boxes[keep], scores[keep], labels[keep].astype(np.int64)))
    return found
