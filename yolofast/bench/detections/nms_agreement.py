"""Whether two packages keep the same boxes.

torchvision has to keep exactly ours, in an order that differs at most where scores are equal. Ultralytics
offsets the boxes of each class far apart before its NMS, and float32 rounds coordinates there, so that a box
whose overlap is at the threshold can go either way. It has to return exactly what exact NMS of the offset
boxes does; how many of its boxes are not ours is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.kernels import nms

Arrays = Mapping[str, NDArray[Any]]

MAX_BOX_DIFFERENCE = 1e-3
"""Pixels."""
MAX_SCORE_DIFFERENCE = 1e-6
CLASS_OFFSET = 7680
"""Pixels by which Ultralytics offsets the boxes of each class from those of the class before."""


def compare_kept(ours: Arrays, theirs: Arrays, name: str, scores: NDArray[np.float32]) -> dict[str, int]:
    """How many kept indices are equal at the same position.

    torchvision's order of equal scores of different classes is not stable: such boxes are counted separately.
    Raises `DataError` when other boxes are kept, or not in the order of their scores.
    """
    a, b = ours["kept"], theirs["kept"]
    if not np.array_equal(np.sort(a), np.sort(b)):
        only = len(np.setxor1d(a, b))
        raise DataError(
            f"{name}: keeps {len(b)} boxes, ours keeps {len(a)}; {only} are kept by only one of them"
        )
    if not np.array_equal(scores[a], scores[b]):
        raise DataError(f"{name}: keeps the same boxes as ours, but not in descending order of score")
    equal = int((a == b).sum())
    return {"equal": equal, "equal scores in another order": len(a) - equal}


def compare_detections(
    ours: Arrays,
    theirs: Arrays,
    name: str,
    head: NDArray[np.float32],
    *,
    conf: float,
    iou: float,
    max_det: int,
) -> dict[str, int]:
    """How many of their detections are ours, and how many come only from NMS of the offset boxes.

    Raises `DataError` when theirs are not what exact NMS of the offset boxes of `head` returns.
    """
    counted = {"equal": 0, "from moved boxes only": 0}
    each_a, each_b = _images(ours), _images(theirs)
    if not len(each_a) == len(each_b) == len(head):
        raise DataError(f"{name}: returns {len(each_b)} images, expected {len(head)}")
    for image, (own, their, raw) in enumerate(zip(each_a, each_b, head, strict=True)):
        offset = _nms_with_offsets(raw, conf, iou, max_det)
        if len(offset) != len(their) or not _same(offset, their).any(axis=0).all():
            raise DataError(f"{name}: image {image}: differs from greedy NMS of the offset boxes")
        equal = int(_same(own, their).any(axis=0).sum())
        counted["equal"] += equal
        counted["from moved boxes only"] += len(their) - equal
    return counted


def _images(found: Arrays) -> list[NDArray[np.float64]]:
    """Rows x1, y1, x2, y2, score, class of every image."""
    rows = np.column_stack([found["boxes"], found["scores"], found["classes"]]).astype(np.float64)
    return np.split(rows, np.cumsum(found["counts"])[:-1])


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool [N, M]: the same class, and the same box and score up to rounding."""
    limits = [*[MAX_BOX_DIFFERENCE] * 4, MAX_SCORE_DIFFERENCE, 0]
    same: NDArray[np.bool_] = np.all(np.abs(a[:, None] - b[None]) <= limits, axis=-1)
    return same


def _nms_with_offsets(raw: NDArray[np.float32], conf: float, iou: float, max_det: int) -> NDArray[np.float64]:
    """The rows that exact NMS keeps of raw [4 + C, A], each class offset by `CLASS_OFFSET` pixels."""
    anchors, classes = np.nonzero((raw[4:] > np.float32(conf)).T)
    scores = raw[4:][classes, anchors]
    middle, half = raw[:2, anchors].T, raw[2:4, anchors].T / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    offsets = (classes * CLASS_OFFSET).astype(np.float32)[:, None]
    kept = nms(boxes + offsets, scores, iou)[:max_det]
    return np.column_stack([boxes[kept], scores[kept], classes[kept]]).astype(np.float64)
