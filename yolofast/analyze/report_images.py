"""Pictures of the HTML report: an image of the dataset, or the part of it that matters, with boxes."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError, without_location
from yolofast.images import read_header, read_image
from yolofast.kernels import decode_jpeg
from yolofast.types import ImageHeader

SIDE = 512
"""Long side of a picture in pixels; the page shows it smaller, and whole when it is clicked."""
MAX_PIXELS = 100_000_000
"""Larger non-JPEG images are not read for a picture."""
MAX_ZOOM = 8
_CONTEXT = 3.0
"""A part of an image is this many times as large as the boxes that it is about."""
_MAX_PART = 0.6
"""A part that is larger than this share of the image is not worth it: the whole image is shown."""
_QUALITY = 80
_MIN_VISIBLE_SIDE = 24
"""A box in question that is smaller than this in the picture gets a circle around it."""
_RING = 30
"""Radius of the circle."""

Boxes = NDArray[np.float32]
Colour = tuple[int, int, int]
"""RGB."""


class Layer(NamedTuple):
    """Boxes [N, 4] xyxy in pixels of the image, and how they are drawn."""

    boxes: Boxes
    colour: Colour
    thickness: int


class Picture(NamedTuple):
    """A base64 JPEG, empty if there is none, and a note: why there is none, or what part is shown."""

    jpeg: str
    note: str


def picture(path: Path, layers: Sequence[Layer], focus: Layer | None = None) -> Picture:
    """The image at `path` with the boxes of `layers`, and on top those of `focus`.

    Where the boxes of `focus` are small, only the part around them is shown, larger.
    """
    try:
        return _picture(path, layers, focus)
    except ImageError as error:
        return Picture("", without_location(error, path))
    except OSError as error:
        return Picture("", f"cannot be read: {error.strerror}")
    except Exception as error:  # whatever OpenCV raises: the report goes on
        return Picture("", f"cannot be drawn: {type(error).__name__}: {error}")


def _picture(path: Path, layers: Sequence[Layer], focus: Layer | None) -> Picture:
    import cv2

    header = read_header(path)
    size = header.width, header.height
    part = _part(size, focus.boxes) if focus is not None else (0, 0, *size)
    scale = SIDE / max(part[2] - part[0], part[3] - part[1])
    pixels = _read(path, header, part)
    if pixels is None:
        return Picture("", f"{header.width}x{header.height} px: too large for a picture")
    view = _resized(pixels, round((part[2] - part[0]) * scale), round((part[3] - part[1]) * scale))
    offset = np.array([part[0], part[1]] * 2, dtype=np.float32)
    whole = part == (0, 0, *size)
    for layer in [*layers, *([focus] if focus is not None else [])]:
        _draw(view, (layer.boxes - offset) * scale, layer, beyond=0 if whole else 2 * layer.thickness)
    if focus is not None:
        _ring(view, (focus.boxes - offset) * scale, focus.colour)
    done, encoded = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        return Picture("", "the picture cannot be encoded")
    x0, y0, x1, y1 = part
    note = "" if whole else f"part {x0}–{x1} × {y0}–{y1} px of {size[0]}×{size[1]} px"
    return Picture(base64.b64encode(encoded.tobytes()).decode("ascii"), note)


def _part(size: tuple[int, int], boxes: Boxes) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of the part of an image of `size` (width, height) to show, for the sake of `boxes`.

    It is the whole image unless all boxes are inside and a small part holds them.
    """
    width, height = size
    whole = (0, 0, width, height)
    if not len(boxes) or not (boxes >= 0).all() or not (boxes <= [*size, *size]).all():
        return whole
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = max(float((high - low).max()) * _CONTEXT, SIDE / MAX_ZOOM)
    if side > _MAX_PART * max(size):
        return whole
    across, down = min(round(side), width), min(round(side), height)
    centre = (low + high) / 2
    x0 = int(min(max(centre[0] - across / 2, 0), width - across))
    y0 = int(min(max(centre[1] - down / 2, 0), height - down))
    return x0, y0, x0 + across, y0 + down


def _read(path: Path, header: ImageHeader, part: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """The part of an image, or None if the image is too large to read; RGB [H, W, 3].

    A whole JPEG is decoded at a reduced size that suffices for a picture.
    """
    width, height = header.width, header.height
    if header.format == "jpeg":
        scale = min(1.0, SIDE / max(width, height))
        least = (round(height * scale), round(width * scale))
        with warnings.catch_warnings():  # the report already says that it is damaged
            warnings.simplefilter("ignore", RuntimeWarning)
            if part == (0, 0, width, height):
                return decode_jpeg(path.read_bytes(), min_size=least, salvage=True)
            return decode_jpeg(path.read_bytes(), region=part, salvage=True)
    x0, y0, x1, y1 = part
    return read_image(path)[y0:y1, x0:x1] if width * height <= MAX_PIXELS else None


def _resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """RGB to BGR [height, width, 3]."""
    import cv2

    smooth = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_CUBIC
    view = cv2.resize(pixels, (max(1, width), max(1, height)), interpolation=smooth)
    return np.ascontiguousarray(view[:, :, ::-1], dtype=np.uint8)


def _draw(view: NDArray[np.uint8], boxes: Boxes, layer: Layer, beyond: int) -> None:
    """Draw boxes [N, 4] xyxy in pixels of the view.

    They are clipped to `beyond` pixels outside the view. With 0, the sides of a box that leaves the image are
    visible at its edge; in a part of an image, what is outside the part is not to be seen.
    """
    import cv2

    height, width = view.shape[:2]
    for box in boxes:
        x1, x2 = np.clip(box[0::2], -beyond, width - 1 + beyond).round().astype(int).tolist()
        y1, y2 = np.clip(box[1::2], -beyond, height - 1 + beyond).round().astype(int).tolist()
        cv2.rectangle(view, (x1, y1), (x2, y2), layer.colour[::-1], layer.thickness, cv2.LINE_8)


def _ring(view: NDArray[np.uint8], boxes: Boxes, colour: Colour) -> None:
    """Circle the boxes [N, 4] that are too small to be visible."""
    import cv2

    height, width = view.shape[:2]
    for x1, y1, x2, y2 in boxes.astype(np.float64).tolist():
        if max(abs(x2 - x1), abs(y2 - y1)) < _MIN_VISIBLE_SIDE:
            centre = (int(min(max((x1 + x2) / 2, 0), width)), int(min(max((y1 + y2) / 2, 0), height)))
            cv2.circle(view, centre, _RING, colour[::-1], 3, cv2.LINE_AA)
