"""Reading image files of any format as RGB, with one kind of error that names the file and the reason.

JPEG goes through the native decoder; everything else through OpenCV, which is imported on first use.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info
from yolofast.types import ImageHeader

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 64 * 1024
_TAIL_BYTES = 4096


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The picture in a file as uint8 [H, W, 3] RGB.

    The format is told by the content, not by the name. Gray becomes three equal channels, alpha is dropped
    (a TIFF's is multiplied in first) and 16-bit samples become 8-bit, as OpenCV does it. A JPEG's EXIF
    orientation is applied; other formats are taken as stored.

    Raises:
        ImageError: the file is missing, empty, unreadable, incomplete or no image; names path and reason.
    """
    data = _read(path)
    if not data.startswith(_JPEG):
        return _decode_other(data, path)
    try:
        return decode_jpeg(data)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def image_shape(path: str | Path) -> tuple[int, int]:
    """(height, width) of the picture that `read_image` gives, from its header; raises as `read_header`."""
    return read_header(path).shape


def read_header(path: str | Path) -> ImageHeader:
    """What an image file says about itself. JPEG, PNG and BMP are not decoded; WebP and TIFF are.

    Raises:
        ImageError: the file is missing, empty, unreadable or no image; names the path and the reason.
    """
    head = _read(path, _HEADER_BYTES)
    size = Path(path).stat().st_size
    if head.startswith(_JPEG):
        try:
            info = jpeg_info(head)
        except ImageError:
            # The frame header may lie behind more metadata than that; only the whole file can tell.
            try:
                info = jpeg_info(_read(path))
            except ImageError as error:
                raise ImageError(f"{path}: {error}") from None
        height, width = info.shape
        mode = {1: "L", 3: "RGB", 4: "CMYK"}[info.components]
        return ImageHeader(
            "jpeg", width, height, mode, 8, info.orientation, size, _has_tail(path, b"\xff\xd9")
        )
    png = _png_header(head)
    if png is not None:
        return ImageHeader("png", *png, 1, size, _has_tail(path, b"IEND"))
    shape = _bmp_shape(head)
    if shape is not None:
        return ImageHeader("bmp", shape[1], shape[0], "RGB", 8, 1, size, True)
    picture = _decode_other(_read(path), path)
    kind = "webp" if head[8:12] == b"WEBP" else "tiff"
    return ImageHeader(kind, picture.shape[1], picture.shape[0], "RGB", 8, 1, size, True)


def read_headers(paths: Sequence[str | Path]) -> list[ImageHeader | ImageError]:
    """The header of every file, or what is wrong with it, in order. Raises nothing."""
    found: list[ImageHeader | ImageError] = []
    for path in paths:
        try:
            found.append(read_header(path))
        except ImageError as error:
            found.append(error)
    return found


def _has_tail(path: str | Path, marker: bytes) -> bool:
    """Whether the last 4 kB of a file hold `marker`."""
    with Path(path).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return marker in file.read()


def _read(path: str | Path, limit: int = -1) -> bytes:
    """The file's first `limit` bytes (all when negative); never empty."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; expected an image") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder; expected an image file") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if not data:
        raise ImageError(f"{path}: the file is empty; get it again or remove it")
    return data


def _png_header(head: bytes) -> tuple[int, int, str, int] | None:
    """Width, height, mode and bits."""
    if not head.startswith(_PNG) or len(head) < 26 or head[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    mode = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}.get(colour)
    return (width, height, mode, bits) if 0 < height < 2**31 and 0 < width < 2**31 and mode else None


def _bmp_shape(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(b"BM") or len(head) < 26:
        return None
    header_size: int = struct.unpack_from("<I", head, 14)[0]
    width: int
    height: int
    if header_size == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height = struct.unpack_from("<ii", head, 18)  # rows are stored top first when negative
    return (abs(height), width) if width > 0 and height != 0 else None


def decode_other(path: str | Path) -> NDArray[np.uint8]:
    """The picture in a file that is no JPEG, as `read_image` gives it; raises `ImageError`."""
    return _decode_other(_read(path), path)


def _decode_other(data: bytes, path: str | Path) -> NDArray[np.uint8]:
    import cv2

    try:
        picture = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded: {error.err or error}") from None
    if picture is None:
        known = ", ".join(sorted(s.lstrip(".") for s in IMAGE_SUFFIXES))
        raise ImageError(f"{path}: not an image, or damaged; expected one of: {known}")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
