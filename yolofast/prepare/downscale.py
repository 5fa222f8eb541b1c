"""Downscales images while a dataset is prepared, so that training reads and decodes less.

Labels are normalised by the image size, so they do not change.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError, without_location
from yolofast.images import decode_other, decode_with_opencv, upright
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.limits import MAX_PIXELS
from yolofast.types import ImageHeader


def downscaled_size(width: int, height: int, max_side: int) -> tuple[int, int] | None:
    """(width, height) with the longer side at `max_side`; None where it does not exceed `max_side`.

    The other side is rounded to the nearest pixel, half up, and at least 1: at most half a pixel of the small
    image off the exact ratio.
    """
    longest = max(width, height)
    if longest <= max_side:
        return None
    new_width, new_height = (
        max(1, (2 * side * max_side + longest) // (2 * longest)) for side in (width, height)
    )
    return new_width, new_height


def downscaled_name(name: str, header: ImageHeader) -> str:
    """The file name of the downscaled image: JPEG and PNG keep theirs, all others become JPEG."""
    return name if header.format in ("jpeg", "png") else PurePath(name).stem + ".jpg"


def downscale(path: str, data: bytes, header: ImageHeader, size: tuple[int, int], quality: int) -> bytes:
    """The image in `data` at `size` (width, height), upright, as the bytes of a PNG (from PNG) or JPEG file.

    A JPEG is decoded at the smallest DCT scale that is at least `size`, then resized by area averaging. Gray
    stays gray; a PNG keeps its alpha and its 16 bits. Metadata, such as a colour profile, is not kept. Raises
    `ImageError` for a damaged image; the message does not name the file.
    """
    import cv2

    image = _decode(path, data, header, size)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if header.format == "png":
        done, encoded = cv2.imencode(".png", small)
    else:
        done, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"cannot be written at {size[0]}x{size[1]}")
    return encoded.tobytes()


def _decode(path: str, data: bytes, header: ImageHeader, size: tuple[int, int]) -> NDArray[Any]:
    """uint8 or uint16 [H, W] or [H, W, C] in OpenCV's channel order (blue first), at least `size`."""
    import cv2

    if header.format == "jpeg":
        layout: Literal["gray", "bgr"] = "gray" if jpeg_info(data).components == 1 else "bgr"
        return decode_jpeg(data, layout=layout, min_size=(size[1], size[0]), max_pixels=MAX_PIXELS)
    if header.format != "png":
        try:
            return np.ascontiguousarray(decode_other(path)[:, :, ::-1])
        except ImageError as error:
            raise ImageError(without_location(error, path)) from None
    image = decode_with_opencv(data, cv2.IMREAD_UNCHANGED) if header.complete else None
    if image is None:
        raise ImageError("not a PNG that can be decoded, or damaged")
    return upright(image, header.orientation)
