"""Which picture boxes were drawn on, where the size that their label file states is not the image's.

Two things happen after or during labelling that the stated size proves: the tool ignored EXIF orientation and
showed the image as stored, or the images were resized later. Boxes then belong to that other picture, and are
brought onto the image as it is read. One image alone often fits either picture: the boxes of all images whose
stated size differs decide together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import FRAME_TOLERANCE
from yolofast.types import ImageHeader

Size = tuple[float, float]
"""(width, height)."""

CLEARLY_LARGER = 1.2
"""From this factor on, boxes drawn on a larger picture are expected to reach beyond the smaller image."""
CLEARLY_BEYOND = 0.1
"""A share of the sides: no box is drawn that far beyond its picture by carelessness."""
MAX_WRONG = 0.01
"""The share of boxes that may be wrong altogether, and decide nothing."""
MAX_DOUBT = 20.0
"""Stated sizes are taken for wrong when boxes that all fit the images would be a chance of 1 in exp(20)."""


class PlacedBoxes(NamedTuple):
    """Boxes float64 [N, 4] xyxy in pixels of the upright image, and the code and reason of what was done.

    `code` is empty where the stated size is that of the image, or there is none.
    """

    boxes: NDArray[np.float64]
    code: str = ""
    reason: str = ""


@dataclass(slots=True)
class ExifEvidence:
    """What the labels of a dataset show about the tool that wrote them: whether it ignored EXIF orientation.

    `applies` and `ignores` count the images whose stated size is the upright one, or the one as stored;
    `only_upright` and `only_stored` count the boxes of the latter images that fit into one of the two alone.
    """

    applies: int = 0
    ignores: int = 0
    only_upright: int = 0
    only_stored: int = 0

    def add(
        self,
        boxes: NDArray[np.float64],
        stated: tuple[object, object] | None,
        header: ImageHeader,
        *,
        normalised: bool,
    ) -> bool:
        """Add an image; returns whether its boxes depend on the evidence of the whole dataset."""
        size = None if header.orientation == 1 or stated is None else _as_size(stated)
        if size is None:
            return False
        upright, stored = _upright(header), _stored(header)
        if size == upright:
            self.applies += stored != upright
            return stored == upright  # turned by half, mirrored or square: the size shows nothing
        if stored == upright or _frame(size, upright, stored) != stored:
            return False
        self.ignores += 1
        if not normalised:
            as_stored, as_shown = _fitting(boxes, size), _fitting(boxes, size[::-1])
            self.only_stored += int(np.count_nonzero(as_stored & ~as_shown))
            self.only_upright += int(np.count_nonzero(as_shown & ~as_stored))
        return True

    @property
    def ignored(self) -> bool:
        """Whether boxes of images whose size is stated as stored lie on the image as stored.

        Not where they fit the upright images better: some tools draw on these, and state the other size.
        """
        return self.ignores > 0 and self.only_stored >= self.only_upright


@dataclass(slots=True)
class ResizeEvidence:
    """What the boxes of a dataset show about stated sizes that are not those of the images.

    They were true before the images were resized, or never: people copy label files, and tools write a
    default. `only_stated` and `only_image` count, of `boxes`, those that fit into a picture of the stated
    size and lie clearly beyond the image, or the other way round. `doubt` grows with every box that keeps to
    the part of a larger stated size that the image has.
    """

    boxes: int = 0
    only_stated: int = 0
    only_image: int = 0
    doubt: float = 0.0

    def add(
        self,
        boxes: NDArray[np.float64],
        stated: tuple[object, object] | None,
        header: ImageHeader,
        *,
        normalised: bool,
    ) -> bool:
        """Add an image; returns whether its boxes depend on the evidence of the whole dataset."""
        upright = _upright(header)
        if stated is None or stated == upright or normalised:
            return False
        size = _as_size(stated)
        if size is None or size == upright:
            return False
        only_stated, only_image = _only_in(boxes, size, upright)
        self.boxes += len(boxes)
        self.only_stated += only_stated
        self.only_image += only_image
        larger = min(size[0] / upright[0], size[1] / upright[1])
        if larger >= CLEARLY_LARGER:
            self.doubt += 2 * math.log(larger) * int(np.count_nonzero(_fitting(boxes, upright)))
        return _same_shape(size, upright)

    @property
    def resized(self) -> bool:
        """Whether boxes that fit either picture were drawn before the images were resized."""
        if max(self.only_stated, self.only_image) > MAX_WRONG * self.boxes:
            return self.only_stated >= self.only_image
        return self.doubt < MAX_DOUBT


def place_boxes(
    boxes: NDArray[np.float64],
    stated: tuple[object, object] | None,
    header: ImageHeader,
    *,
    normalised: bool,
    evidence: ExifEvidence | ResizeEvidence | None = None,
) -> PlacedBoxes:
    """Boxes [N, 4] xyxy of a label file on the image as it is read.

    `stated` is the (width, height) in the label file, as written; `boxes` are in its pixels, or divided by
    the sides where `normalised`. `evidence` is that of the dataset, for images that depend on it.

    - `stated` is the size as stored, before EXIF orientation, and not the upright one: the boxes are turned,
      if the dataset agrees.
    - `stated` has the shape of the image (or of the image as stored) and another size: they are scaled, where
      its boxes fit the stated size better than the image, or as well and the dataset agrees.
    - Otherwise the image counts.

    Where EXIF turns an image without changing its size (upside down, mirrored, square), the size shows
    nothing: such boxes are turned when those of all other images are.
    """
    upright = _upright(header)
    if isinstance(evidence, ExifEvidence):
        return _place_by_exif(boxes, stated, header, normalised, evidence)
    if stated is None or stated == upright or (size := _as_size(stated)) == upright:
        return PlacedBoxes(_pixels(boxes, upright, normalised))
    differs = f"stated as {stated[0]}x{stated[1]}, but it is {header.width}x{header.height}"
    if size is None or not _same_shape(size, upright):
        reason = f"{differs}; the image counts"
        return PlacedBoxes(_pixels(boxes, upright, normalised), "size-mismatch", reason)
    if not normalised:
        only_stated, only_image = _only_in(boxes, size, upright)
        if only_image > only_stated:
            return PlacedBoxes(boxes, "size-mismatch", f"{differs}; the boxes fit the image, which counts")
        if only_image == only_stated and evidence is not None and not evidence.resized:
            reason = f"{differs}; the boxes of the dataset fit the images, which count"
            return PlacedBoxes(boxes, "size-mismatch", reason)
    placed = _pixels(boxes, upright, True) if normalised else _scaled(boxes, size, upright)
    return PlacedBoxes(placed, "boxes-scaled", f"{differs}, the same shape: the boxes are scaled to it")


def _place_by_exif(
    boxes: NDArray[np.float64],
    stated: tuple[object, object] | None,
    header: ImageHeader,
    normalised: bool,
    exif: ExifEvidence,
) -> PlacedBoxes:
    """`place_boxes` for an image whose boxes depend on `exif`."""
    upright, stored = _upright(header), _stored(header)
    size = (_as_size(stated) if stated is not None else None) or upright
    turn = f"EXIF orientation {header.orientation}"
    if size == upright:
        if not exif.ignored or exif.applies:
            return PlacedBoxes(_pixels(boxes, upright, normalised))
        reason = f"{turn}, which the labels of other images ignore: the boxes are turned with the image"
        turned = turn_boxes(_pixels(boxes, upright, normalised), header.orientation, upright)
        return PlacedBoxes(turned, "boxes-turned", reason)
    shape = "" if size == stored else "of the shape "
    said = f"stated as {size[0]:g}x{size[1]:g}, {shape}before {turn}"
    if exif.ignored:
        placed = _pixels(boxes, stored, True) if normalised else _scaled(boxes, size, stored)
        reason = f"{said}: the boxes are turned with the image, which is {header.width}x{header.height}"
        return PlacedBoxes(turn_boxes(placed, header.orientation, stored), "boxes-turned", reason)
    placed = _pixels(boxes, upright, True) if normalised else _scaled(boxes, size[::-1], upright)
    reason = f"{said}, but the boxes of the dataset fit the images after it: they stay"
    return PlacedBoxes(placed, "size-mismatch", reason)


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


def _upright(header: ImageHeader) -> Size:
    """(width, height) as shown."""
    return header.width, header.height


def _stored(header: ImageHeader) -> Size:
    """(width, height) before EXIF orientation."""
    height, width = header.stored_shape
    return width, height


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


def _fitting(boxes: NDArray[np.float64], size: Size, tolerance: float = FRAME_TOLERANCE) -> NDArray[np.bool_]:
    """bool [N]: which boxes lie inside a picture of this size, within a share of its sides."""
    sides = np.array([*size, *size])
    inside: NDArray[np.bool_] = np.logical_and.reduce(
        (boxes >= -sides * tolerance) & (boxes <= sides * (1 + tolerance)), axis=1
    )
    return inside


def _only_in(boxes: NDArray[np.float64], stated: Size, image: Size) -> tuple[int, int]:
    """How many boxes fit into the stated size and lie clearly beyond the image, and the other way round.

    Boxes that barely leave their picture were drawn carelessly, and show nothing.
    """
    factors = [max(a / b, b / a) for a, b in zip(stated, image, strict=True)]
    clearly = min(max((max(factors) - 1) / 2, FRAME_TOLERANCE), CLEARLY_BEYOND)
    only_stated = _fitting(boxes, stated) & ~_fitting(boxes, image, clearly)
    only_image = _fitting(boxes, image) & ~_fitting(boxes, stated, clearly)
    return int(np.count_nonzero(only_stated)), int(np.count_nonzero(only_image))


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
