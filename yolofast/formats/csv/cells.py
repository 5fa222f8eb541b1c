"""Boxes whose four numbers are in one column: `"[834.0, 222.0, 56.0, 36.0]"`.

Most such columns have left, top, width, height, some the corners, and no header says which. The numbers do:
sizes read as corners are out of order, corners read as sizes leave their images.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.tables.rows import RowColumns
from yolofast.images import read_headers
from yolofast.types import ImageHeader

MAX_OUTSIDE = 0.05
"""Share of boxes that may leave their image, by faults of a few rows, before the other reading is tried."""
_SAMPLED_IMAGES = 256
_BRACKETS = str.maketrans("[](){}", "      ")
_SEPARATOR = re.compile(r"\s*[,;\s]\s*")


def cell_fields(text: str) -> list[str]:
    """The fields of a cell: between commas, semicolons or spaces, in brackets of any kind or none."""
    return _SEPARATOR.split(text.translate(_BRACKETS).strip())


def cells_are_corners(tree: FileTree, path: Path, columns: RowColumns) -> bool:
    """Whether the numbers are xmin, ymin, xmax, ymax instead of left, top, width, height.

    They are where nearly all are in order as corners, and many would leave their image as sizes. The headers
    of some images are read for this.
    """
    boxes, images = columns.boxes(), columns.images()
    if not len(boxes):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        ordered = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if ordered.mean() < 1 - MAX_OUTSIDE:
        return False
    if columns.are_normalised():
        size = np.ones((len(boxes), 2))
    else:
        finder = ImageFinder(tree)
        sizes = np.full((len(columns.names), 2), np.nan)
        found = [
            (i, finder.find(name, path.parent)) for i, name in enumerate(columns.names[:_SAMPLED_IMAGES])
        ]
        known = [(i, image) for i, image in found if image is not None]
        for (i, _), header in zip(known, read_headers([image for _, image in known]), strict=True):
            if isinstance(header, ImageHeader):
                sizes[i] = header.width, header.height
        size = sizes[images]
        boxes, size = boxes[~np.isnan(size[:, 0])], size[~np.isnan(size[:, 0])]
    if not len(boxes):
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        as_sizes = (boxes[:, :2] + boxes[:, 2:] > size * 1.01).any(axis=1).mean()
        as_corners = (boxes[:, 2:] > size * 1.01).any(axis=1).mean()
    return bool(as_sizes > MAX_OUTSIDE and as_corners < as_sizes)
