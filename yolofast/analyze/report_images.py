"""Thumbnails for the HTML report: the image of a finding with the boxes that it is about."""

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
"""Long side of a thumbnail in pixels."""
MAX_PIXELS = 100_000_000
"""Larger non-JPEG images are not read for a thumbnail."""
_QUALITY = 80
_BAD = (230, 40, 48)
_OTHER = (90, 150, 255)
_MIN_VISIBLE_SIDE = 10
"""A box in question that is smaller than this in the thumbnail gets a circle around it."""


def example_image(example: FaultExample) -> tuple[str, str]:
    """The thumbnail as a base64 JPEG and an empty text, or an empty text and why there is none."""
    import cv2

    path = example.image
    try:
        header = read_header(path)
        if header.format == "jpeg":
            with warnings.catch_warnings():  # the report already says that it is damaged
                warnings.simplefilter("ignore", RuntimeWarning)
                pixels = decode_jpeg(path.read_bytes(), min_size=SIDE, salvage=True)
        elif header.width * header.height <= MAX_PIXELS:
            pixels = read_image(path)
        else:
            return "", f"{header.width}x{header.height} px: too large for a thumbnail"
    except ImageError as error:
        return "", str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    scale = SIDE / max(header.width, header.height)
    width, height = max(1, round(header.width * scale)), max(1, round(header.height * scale))
    small = cv2.resize(
        pixels, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    thumbnail = np.ascontiguousarray(small[:, :, ::-1], dtype=np.uint8)
    _draw(thumbnail, example.others * scale, _OTHER, 1)
    _draw(thumbnail, example.bad * scale, _BAD, 2)
    _ring(thumbnail, example.bad * scale)
    done, encoded = cv2.imencode(".jpg", thumbnail, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        return "", "the thumbnail cannot be encoded"
    return base64.b64encode(encoded.tobytes()).decode("ascii"), ""


def _draw(
    thumbnail: NDArray[np.uint8], boxes: NDArray[np.float32], colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw boxes [N, 4] xyxy in thumbnail pixels, clipped to the thumbnail so that they are visible."""
    import cv2

    height, width = thumbnail.shape[:2]
    for box in boxes:
        x1, x2 = np.clip(box[0::2], 0, width - 1).round().astype(int).tolist()
        y1, y2 = np.clip(box[1::2], 0, height - 1).round().astype(int).tolist()
        cv2.rectangle(thumbnail, (x1, y1), (x2, y2), colour[::-1], thickness, cv2.LINE_8)


def _ring(thumbnail: NDArray[np.uint8], boxes: NDArray[np.float32]) -> None:
    """Circle the boxes [N, 4] that are too small to be visible."""
    import cv2

    height, width = thumbnail.shape[:2]
    for x1, y1, x2, y2 in boxes.astype(np.float64).tolist():
        if max(abs(x2 - x1), abs(y2 - y1)) < _MIN_VISIBLE_SIDE:
            centre = (int(min(max((x1 + x2) / 2, 0), width)), int(min(max((y1 + y2) / 2, 0), height)))
            cv2.circle(thumbnail, centre, 2 * _MIN_VISIBLE_SIDE, _BAD[::-1], 2, cv2.LINE_AA)
