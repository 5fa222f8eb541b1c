"""Which picture boxes were drawn on, where the size that their label file states is not the image's.

Two things happen after or during labelling that the stated size proves: the tool ignored EXIF orientation and
showed the image as stored, or the images were resized later. Boxes then belong to that other picture, and are
brought onto the image as it is read.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import FRAME_TOLERANCE
from yolofast.types import ImageHeader

Size = tuple[float, float]
"""(width, height)."""


class PlacedBoxes(NamedTuple):
    """Boxes float64 [N, 4] xyxy in pixels of the upright image, and the code and reason of what was done.

    `code` is empty where the stated size is that of the image, or there is none.
    """

    boxes: NDArray[np.float64]
    code: str = ""
    reason: str = ""


class SizeEvidence(Enum):
    """What the stated size of one image shows about the tool that wrote it."""

    NONE = auto()
    """Nothing: the image is stored upright, or no size or another one is stated."""
    IGNORES_EXIF = auto()
    APPLIES_EXIF = auto()
    EITHER = auto()
    """The image is turned by EXIF, but has the same size before and after."""


def size_evidence(stated: tuple[object, object] | None, header: ImageHeader) -> SizeEvidence:
    """The evidence in the (width, height) that a label file states for an image."""
    if header.orientation == 1 or stated is None:
        return SizeEvidence.NONE
    size, stored = _as_size(stated), _stored(header)
    upright: Size = (header.width, header.height)
    if size == upright:
        return SizeEvidence.EITHER if stored == upright else SizeEvidence.APPLIES_EXIF
    return SizeEvidence.IGNORES_EXIF if size == stored else SizeEvidence.NONE


def place_boxes(
    boxes: NDArray[np.float64],
    stated: tuple[object, object] | None,
    header: ImageHeader,
    *,
    normalised: bool,
    ignores_exif: bool = False,
) -> PlacedBoxes:
    """Boxes [N, 4] xyxy of a label file on the image as it is read.

    `stated` is the (width, height) in the label file, as written; `boxes` are in its pixels, or divided by
    the sides where `normalised`.

    - `stated` is the size as stored, before EXIF orientation, and not the upright one: the boxes are turned.
    - `stated` has the shape of the image (or of the image as stored) and another size: they are scaled.
    - Otherwise, and where more boxes fit into the image than into the stated size, the image counts.

    Where EXIF turns an image without changing its size (upside down, mirrored, square), the size shows
    nothing: such boxes are turned when `ignores_exif`, because other images of the dataset show it.
    """
    upright: Size = (header.width, header.height)
    if ignores_exif and size_evidence(stated, header) is SizeEvidence.EITHER:
        turned = turn_boxes(_pixels(boxes, upright, normalised), header.orientation, upright)
        reason = (
            f"EXIF orientation {header.orientation}, which the labels of other images ignore: boxes turned"
        )
        return PlacedBoxes(turned, "boxes-turned", reason)
    if stated is None or stated == upright or (size := _as_size(stated)) == upright:
        return PlacedBoxes(_pixels(boxes, upright, normalised))
    shown = f"stated as {stated[0]}x{stated[1]}, "
    differs = f"{shown}but it is {header.width}x{header.height}"
    stored = _stored(header)
    frame = None if size is None else _frame(size, upright, stored)
    if size is None or frame is None:
        return PlacedBoxes(
            _pixels(boxes, upright, normalised), "size-mismatch", f"{differs}; the image counts"
        )
    if not normalised:
        if _fitting(boxes, size) < _fitting(boxes, upright):
            reason = f"{differs}; the boxes fit the image, which counts"
            return PlacedBoxes(boxes, "size-mismatch", reason)
        boxes = _scaled(boxes, size, frame)
    placed = _pixels(boxes, frame, normalised)
    if frame == upright:
        return PlacedBoxes(placed, "boxes-scaled", f"{differs}, the same shape: the boxes are scaled to it")
    scaled = "" if size == frame else "of the shape "
    reason = (
        f"{shown}{scaled}before EXIF orientation {header.orientation}: the boxes are turned with the image, "
        f"which is {header.width}x{header.height}"
    )
    return PlacedBoxes(turn_boxes(placed, header.orientation, stored), "boxes-turned", reason)


def turn_boxes(boxes: NDArray[np.float64], orientation: int, stored: Size) -> NDArray[np.float64]:
    """Boxes [N, 4] xyxy pixels of an image as stored, of size `stored`, on the image as it is shown.

    `orientation` as EXIF numbers it, 1..8 (TIFF 6.0, tag 274).
    """
    width, height = stored
    x1, y1, x2, y2 = boxes.T
    corners = {
        1: (x1, y1, x2, y2),
        2: (width - x2, y1, width - x1, y2),
        3: (width - x2, height - y2, width - x1, height - y1),
        4: (x1, height - y2, x2, height - y1),
        5: (y1, x1, y2, x2),
        6: (height - y2, x1, height - y1, x2),
        7: (height - y2, width - x2, height - y1, width - x1),
        8: (y1, width - x2, y2, width - x1),
    }
    return np.stack(corners[orientation], axis=1)


def _stored(header: ImageHeader) -> Size:
    """(width, height) before EXIF orientation."""
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def _frame(size: Size, upright: Size, stored: Size) -> Size | None:
    """The picture that a stated size belongs to: `upright`, `stored`, or neither."""
    if size == stored or _same_shape(size, upright):
        return stored if size == stored else upright
    return stored if stored != upright and _same_shape(size, stored) else None


def _same_shape(size: Size, other: Size) -> bool:
    """Whether resizing `size` by one factor gives `other`, within a pixel on each side."""
    low = max((side - 1) / stated for side, stated in zip(other, size, strict=True))
    high = min((side + 1) / stated for side, stated in zip(other, size, strict=True))
    return low <= high


def _fitting(boxes: NDArray[np.float64], size: Size) -> int:
    """How many boxes lie inside a picture of this size, within the tolerance of the box rules."""
    sides = np.array([*size, *size])
    inside = (boxes >= -sides * FRAME_TOLERANCE) & (boxes <= sides * (1 + FRAME_TOLERANCE))
    return int(np.count_nonzero(inside.all(axis=1)))


def _scaled(boxes: NDArray[np.float64], size: Size, to: Size) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
        factors: NDArray[np.float64] = np.array([*to, *to]) / np.array([*size, *size])
        return boxes * factors


def _pixels(boxes: NDArray[np.float64], size: Size, normalised: bool) -> NDArray[np.float64]:
    if not normalised:
        return boxes
    with np.errstate(over="ignore", invalid="ignore"):
        return boxes * np.array([*size, *size], dtype=np.float64)


def _as_size(stated: tuple[object, object]) -> Size | None:
    """The stated size as two numbers above 0; None for anything else."""
    try:
        width, height = (float(side) if isinstance(side, str | int | float) else 0.0 for side in stated)
    except (ValueError, OverflowError):
        return None
    return (width, height) if 0 < width < np.inf and 0 < height < np.inf else None
