"""Whether two packages keep the same boxes.

torchvision has to keep exactly ours, in an order that differs at most where scores are equal. Ultralytics
moves the boxes of each class far apart before it suppresses them, and float32 rounds coordinates there: a
box whose overlap is at the threshold can go either way, and what follows from it. Such boxes are counted;
any other difference is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.kernels import box_iou

Arrays = Mapping[str, NDArray[Any]]

MOST_IOU_OFF = 1e-3
MOST_BOX_OFF = 1e-3
"""Pixels."""
MOST_SCORE_OFF = 1e-6


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
    return {"equal": equal, "equal scores in another order": len(a) - equal, "kept by one alone": 0}


def compare_detections(
    ours: Arrays, theirs: Arrays, name: str, *, iou: float, max_det: int
) -> dict[str, int]:
    """How many detections are equal, how many went the other way at the threshold, and how many followed.

    Raises `DataError` when a difference has another reason.
    """
    counted = {"equal": 0, "at the threshold": 0, "following": 0}
    each_a, each_b = _images(ours), _images(theirs)
    if len(each_a) != len(each_b):
        raise DataError(f"{name}: gives {len(each_b)} images, expected {len(each_a)}")
    for image, (a, b) in enumerate(zip(each_a, each_b, strict=True)):
        same = _same(a, b)
        counted["equal"] += int(same.any(axis=1).sum())
        pool = np.concatenate([a, b[~same.any(axis=0)]])
        alone = np.concatenate([a[~same.any(axis=1)], b[~same.any(axis=0)]])
        missing = int((~same.any(axis=1)).sum())
        others = [b] * missing + [a] * (len(alone) - missing)
        for box, other in zip(alone, others, strict=True):
            reason = _reason(box, pool, alone, other, iou, max_det)
            if reason is None:
                raise DataError(
                    f"{name}: image {image}, class {box[5]:.0f}, score {box[4]:.6f}, box {box[:4].round(2)}: "
                    "only one side keeps it, and no overlap is near the threshold"
                )
            counted[reason] += 1
    return counted


def _images(found: Arrays) -> list[NDArray[np.float64]]:
    """Rows x1, y1, x2, y2, score, class of every image."""
    rows = np.column_stack([found["boxes"], found["scores"], found["classes"]]).astype(np.float64)
    return np.split(rows, np.cumsum(found["counts"])[:-1])


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool [N, M]: the same class, and box and score but for rounding."""
    off = np.abs(a[:, None] - b[None])
    same: NDArray[np.bool_] = (off[..., :4] <= MOST_BOX_OFF).all(axis=-1)
    return same & (off[..., 4] <= MOST_SCORE_OFF) & (off[..., 5] == 0)


def _reason(
    box: NDArray[np.float64],
    pool: NDArray[np.float64],
    alone: NDArray[np.float64],
    other: NDArray[np.float64],
    iou: float,
    max_det: int,
) -> str | None:
    overlaps = _overlaps(box, pool)
    if (np.abs(overlaps - iou) <= MOST_IOU_OFF).any():
        return "at the threshold"
    if (_overlaps(box, alone) > iou).any() or (len(other) == max_det and box[4] <= other[:, 4].min()):
        return "following"
    return None


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU with the boxes of its class that are not itself."""
    rivals = others[(others[:, 5] == box[5]) & (others[:, :5] != box[:5]).any(axis=1)]
    found: NDArray[np.float64] = box_iou(box[None, :4], rivals[:, :4])[0]
    return found
