"""Whether two packages keep the same boxes.

torchvision has to keep exactly ours, in an order that differs at most where scores are equal. Ultralytics
moves the boxes of each class far apart before it suppresses them, and float32 rounds coordinates there, so
that a box whose overlap is at the threshold can go either way. It has to give exactly what exact suppression
of the moved boxes gives; what of that is not ours is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.kernels import nms

Arrays = Mapping[str, NDArray[Any]]

MOST_BOX_OFF = 1e-3
"""Pixels."""
MOST_SCORE_OFF = 1e-6
CLASS_OFFSET = 7680
"""Pixels between the places to which Ultralytics moves the boxes of one class and of the next."""


def compare_kept(ours: Arrays, theirs: Arrays, name: str, scores: NDArray[np.float32]) -> dict[str, int]:
    """How many kept indices are equal at their place in the order.

    torchvision's order of equal scores of different classes is not stable: such boxes are counted apart.
    Raises `DataError` when other boxes are kept, or in another order of scores.
    """
    a, b = ours["kept"], theirs["kept"]
    if not np.array_equal(np.sort(a), np.sort(b)):
        only = len(np.setxor1d(a, b))
        raise DataError(f"{name}: keeps {len(b)} boxes and ours {len(a)}; {only} are kept by one alone")
    if not np.array_equal(scores[a], scores[b]):
        raise DataError(f"{name}: keeps the same boxes as ours, but not by falling score")
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
    """How many of their detections are ours, and how many only suppression of moved boxes gives.

    Raises `DataError` when theirs are not what suppression of the moved boxes of `head` gives.
    """
    counted = {"equal": 0, "from moved boxes only": 0}
    each_a, each_b = _images(ours), _images(theirs)
    if not len(each_a) == len(each_b) == len(head):
        raise DataError(f"{name}: gives {len(each_b)} images, expected {len(head)}")
    for image, (own, their, raw) in enumerate(zip(each_a, each_b, head, strict=True)):
        moved = _suppressed_apart(raw, conf, iou, max_det)
        if len(moved) != len(their) or not _same(moved, their).any(axis=0).all():
            raise DataError(f"{name}: image {image}: not what greedy suppression of the moved boxes gives")
        equal = int(_same(own, their).any(axis=0).sum())
        counted["equal"] += equal
        counted["from moved boxes only"] += len(their) - equal
    return counted


def _images(found: Arrays) -> list[NDArray[np.float64]]:
    """Rows x1, y1, x2, y2, score, class of every image."""
    rows = np.column_stack([found["boxes"], found["scores"], found["classes"]]).astype(np.float64)
    return np.split(rows, np.cumsum(found["counts"])[:-1])


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool [N, M]: the same class, and box and score but for rounding."""
    limits = [*[MOST_BOX_OFF] * 4, MOST_SCORE_OFF, 0]
    same: NDArray[np.bool_] = np.all(np.abs(a[:, None] - b[None]) <= limits, axis=-1)
    return same


def _suppressed_apart(raw: NDArray[np.float32], conf: float, iou: float, max_det: int) -> NDArray[np.float64]:
    """The rows that exact suppression keeps of raw [4 + C, A], each class moved to a place of its own."""
    anchors, classes = np.nonzero((raw[4:] > np.float32(conf)).T)
    scores = raw[4:][classes, anchors]
    middle, half = raw[:2, anchors].T, raw[2:4, anchors].T / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    places = (classes * CLASS_OFFSET).astype(np.float32)[:, None]
    kept = nms(boxes + places, scores, iou)[:max_det]
    return np.column_stack([boxes[kept], scores[kept], classes[kept]]).astype(np.float64)
