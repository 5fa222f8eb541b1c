"""Reads image files of any supported format as RGB, with one error type that names the file and the reason.

JPEGs are decoded natively, all other formats by OpenCV, which is imported on first use.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError, without_location
from yolofast.kernels import decode_jpeg
from yolofast.kernels._scan import (
    FORMATS,
    MODES,
    REFUSED,
    UNKNOWN_FORMAT,
    UNREADABLE,
    UNUSUAL,
    image_orientation,
    scan_headers,
)
from yolofast.kernels.packed_paths import pack_paths
from yolofast.types import ImageHeader

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"})
SUFFIX_PATTERN = "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES))
"""`IMAGE_SUFFIXES` as alternatives of a regular expression."""
UNREAD_SUFFIXES = frozenset(
    {".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga", ".ppm", ".psd", ".svg", ".dng"}
)
"""Suffixes of images that are not read, unless in `IMAGE_SUFFIXES`; they are named when skipped."""

_JPEG = b"\xff\xd8\xff"
_TIFFS = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")
_OTHERS = (b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF", *_TIFFS)

Pixel = TypeVar("Pixel", np.uint8, np.uint16)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The image in a file as uint8 [H, W, 3] RGB.

    The format is detected from the content, not from the name. Gray becomes three equal channels, alpha is
    dropped (in a TIFF it is multiplied in first) and 16-bit channels become 8-bit, as in OpenCV. The picture
    is upright: the EXIF orientation of a JPEG, PNG (eXIf) or WebP, or of a TIFF (tag 274), is applied.

    Raises:
        ImageError: the file is missing, empty, unreadable, truncated or not an image; names path and reason.
    """
    data = _read(path)
    if not data.startswith(_JPEG):
        return _decode_other(data, path)
    try:
        return decode_jpeg(data)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def read_header(path: str | Path) -> ImageHeader:
    """The header of an image file; see `read_headers`.

    Raises:
        ImageError: the file is missing, empty, unreadable or not an image; names the path and the reason.
    """
    (header,) = read_headers([path])
    if isinstance(header, ImageError):
        raise header
    return header


def read_headers(paths: Sequence[str | Path]) -> list[ImageHeader | ImageError]:
    """The header of every file, or the error about it, in order, in one native call. Raises nothing.

    Only a few bytes of each file are read and nothing is decoded, except for WebP and TIFF files with unusual
    headers. The GIL is released: several threads may share a long list.
    """
    columns = scan_headers(pack_paths(paths))
    status, error = columns["status"], columns["error"]
    headers: list[ImageHeader | ImageError] = list(
        map(
            ImageHeader,
            map(FORMATS.__getitem__, columns["format"].tolist()),
            columns["width"].tolist(),
            columns["height"].tolist(),
            map(MODES.__getitem__, columns["mode"].tolist()),
            columns["bits"].tolist(),
            columns["orientation"].tolist(),
            columns["bytes"].tolist(),
            columns["complete"].tolist(),
        )
    )
    for i in np.flatnonzero(status).tolist():
        header = headers[i]
        assert isinstance(header, ImageHeader)
        headers[i] = _slow_header(paths[i], int(status[i]), int(error[i]), header)
    return headers


def _slow_header(path: str | Path, status: int, error: int, header: ImageHeader) -> ImageHeader | ImageError:
    """The header of a file that the native scan could not read, or the error about it."""
    try:
        if status == UNREADABLE:
            return _system_error(path, error)
        if status == UNKNOWN_FORMAT:
            return _no_image(path)
        data = _read(path)
        if status == UNUSUAL:
            height, width, _ = _decode_other(data, path).shape
            return replace(header, width=width, height=height, mode="RGB", bits=8, complete=True)
        if status == REFUSED:
            decode_jpeg(data)  # says why
    except ImageError as refusal:
        named = without_location(refusal, path) != str(refusal)
        return refusal if named else ImageError(f"{path}: {refusal}")
    return ImageError(f"{path}: the file changed while it was read; try again")


def _read(path: str | Path) -> bytes:
    """The content of a file; never empty."""
    try:
        with open(path, "rb", opener=_open_nonblocking) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _system_error(path, errno.EINVAL)
            data = file.read()
    except OSError as error:
        raise _system_error(path, error.errno or 0) from None
    if not data:
        raise ImageError(f"{path}: the file is empty; get it again or remove it")
    return data


def _open_nonblocking(path: str, flags: int) -> int:
    """Open without blocking: opening a pipe without a writer would wait forever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _system_error(path: str | Path, error: int) -> ImageError:
    if error == errno.ENOENT:
        return ImageError(f"{path}: no such file; expected an image")
    if error == errno.EISDIR:
        return ImageError(f"{path}: is a folder; expected an image file")
    if error == errno.EINVAL:
        return ImageError(f"{path}: is a pipe or a device; expected an image file")
    return ImageError(f"{path}: cannot be read ({os.strerror(error)}); check its permissions")


def _no_image(path: str | Path) -> ImageError:
    known = ", ".join(sorted(s.lstrip(".") for s in IMAGE_SUFFIXES))
    return ImageError(f"{path}: not an image, or damaged; expected one of: {known}")


def decode_other(path: str | Path) -> NDArray[np.uint8]:
    """The image in a non-JPEG file, as `read_image` returns it: upright; raises `ImageError`."""
    return _decode_other(_read(path), path)


def _decode_other(data: bytes, path: str | Path) -> NDArray[np.uint8]:
    import cv2

    if not data.startswith(_OTHERS):  # OpenCV reads more formats, with less robust decoders
        raise _no_image(path)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded: {error.err or error}") from None
    if image is None:
        raise _no_image(path)
    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    is_tiff = data.startswith(_TIFFS)  # which OpenCV turns itself, whatever the flags
    return rgb if is_tiff else upright(rgb, image_orientation(data))


def upright(image: NDArray[Pixel], orientation: int) -> NDArray[Pixel]:
    """A stored picture [H, W] or [H, W, C], turned by its EXIF orientation 1..8; itself where that is 1."""
    if orientation == 1:
        return image
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    mirror_y, mirror_x = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(turned[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])
