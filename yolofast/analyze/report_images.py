"""Small pictures for the HTML report: the image of a finding with the boxes that it is about."""

from __future__ import annotations

import base64
import warnings

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.images import read_header, read_image
from yolofast.kernels import decode_jpeg
from yolofast.types import FaultExample

SIDE = 320
"""Long side of a picture in pixels."""
MAX_PIXELS = 100_000_000
"""Larger images that are no JPEG are not read for a picture of this size."""
_QUALITY = 80
_BAD = (230, 40, 48)
_OTHER = (90, 150, 255)
_SEEN_SIDE = 10
"""A box meant that is smaller than this in the picture gets a circle around it."""


def example_image(example: FaultExample) -> tuple[str, str]:
    """The picture as base64 of a JPEG, and an empty text; or an empty text, and why there is none."""
    import cv2

    path = example.image
    try:
        header = read_header(path)
        if header.format == "jpeg":
            with warnings.catch_warnings():  # that it is damaged is what the report says already
                warnings.simplefilter("ignore", RuntimeWarning)
                pixels = decode_jpeg(path.read_bytes(), min_size=SIDE, salvage=True)
        elif header.width * header.height <= MAX_PIXELS:
            pixels = read_image(path)
        else:
            return "", f"{header.width}x{header.height} px: too large to be shown here"
    except ImageError as error:
        return "", str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    scale = SIDE / max(header.width, header.height)
    width, height = max(1, round(header.width * scale)), max(1, round(header.height * scale))
    small = cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    picture = np.ascontiguousarray(small[:, :, ::-1], dtype=np.uint8)
    _draw(picture, example.others * scale, _OTHER, 1)
    _draw(picture, example.bad * scale, _BAD, 2)
    _ring(picture, example.bad * scale)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        return "", "the picture cannot be encoded"
    return base64.b64encode(encoded.tobytes()).decode("ascii"), ""


def _draw(
    picture: NDArray[np.uint8], boxes: NDArray[np.float32], colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw boxes [N, 4] xyxy in pixels of the picture, kept inside so that they can be seen."""
    import cv2

    height, width = picture.shape[:2]
    for box in boxes:
        x1, x2 = np.clip(box[0::2], 0, width - 1).round().astype(int).tolist()
        y1, y2 = np.clip(box[1::2], 0, height - 1).round().astype(int).tolist()
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour[::-1], thickness, cv2.LINE_8)


def _ring(picture: NDArray[np.uint8], boxes: NDArray[np.float32]) -> None:
    """Circle the boxes [N, 4] that are too small to be seen."""
    import cv2

    height, width = picture.shape[:2]
    for x1, y1, x2, y2 in boxes.astype(np.float64).tolist():
        if max(abs(x2 - x1), abs(y2 - y1)) < _SEEN_SIDE:
            centre = (int(min(max((x1 + x2) / 2, 0), width)), int(min(max((y1 + y2) / 2, 0), height)))
            cv2.circle(picture, centre, 2 * _SEEN_SIDE, _BAD[::-1], 2, cv2.LINE_AA)
