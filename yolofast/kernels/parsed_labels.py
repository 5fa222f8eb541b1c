"""What the label parser returns: plain values, apart from the compiled module that fills them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.limits import MAX_BOXES

BOX = 0
POLYGON = 1
QUAD = 2
KEYPOINTS = 3


MAX_KEYPOINTS = 1_000_000
MAX_LABEL_ERRORS = 10_000
"""A file with more bad lines than this is not a label file."""
TOO_MANY_ERRORS = f"more than {MAX_LABEL_ERRORS:,} lines are not objects: not a label file"
TOO_MANY_ROWS = f"more than {MAX_BOXES:,} objects: not the labels of one image"


def keypoint_shape(keypoints: tuple[int, int] | None) -> tuple[int, int]:
    """(count, numbers of each) as the native parser takes them, (0, 0) for None; raises `ValueError`."""
    if keypoints is None:
        return 0, 0
    count, numbers = keypoints
    if not 1 <= count <= MAX_KEYPOINTS or numbers not in (2, 3):
        raise ValueError(
            f"keypoints: got {keypoints}, expected (1 to {MAX_KEYPOINTS}, 2 or 3), such as (17, 3)"
        )
    return count, numbers


class LabelError(NamedTuple):
    """A line that is not an object."""

    line: int
    """Line number, from 1."""
    code: str
    """'syntax', 'columns', 'non-finite', 'class' or 'confidence' (see `parse_yolo_labels`)."""
    text: str
    """The line without outer blanks, at most 80 characters of it."""


@dataclass(frozen=True, slots=True)
class ParsedLabels:
    """The objects of one label file, in file order, and the lines that are not objects.

    `classes` int64 [N]; `boxes` float64 [N, 4] xywhn as written (for a polygon the box around its
    points); `lines` int64 [N], from 1; `kinds` int8 [N]: 0 = box, 1 = polygon, 2 = four points (an oriented
    box or a polygon), 3 = box with keypoints.
    """

    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    lines: NDArray[np.int64]
    kinds: NDArray[np.int8]
    errors: tuple[LabelError, ...]

    def __len__(self) -> int:
        return len(self.classes)
