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
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError, without_location
from yolofast.kernels import decode_jpeg
from yolofast.kernels._scan import (
    FINE,
    FORMATS,
    MODES,
    REFUSED,
    UNKNOWN_FORMAT,
    UNREADABLE,
    UNUSUAL,
    image_claims,
    scan_headers,
)
from yolofast.kernels.packed_paths import pack_paths
from yolofast.limits import (
    FREE_EXPANSION,
    MAX_IMAGE_BYTES,
    MAX_MISSING_BYTES,
    MAX_PIXELS,
    MAX_PNG_CHUNKS,
)
from yolofast.pixel_budget import IN_FLIGHT, too_many_pixels
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
_PNG = b"\x89PNG\r\n\x1a\n"
_OTHERS = (_PNG, b"BM", b"RIFF", *_TIFFS)
_BAND = 128
"""Rows whose channels are swapped at once."""

Pixel = TypeVar("Pixel", np.uint8, np.uint16)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """The image in a file as uint8 [H, W, 3] RGB.

    The format is detected from the content, not from the name. Gray becomes three equal channels, alpha is
    dropped (in a TIFF it is multiplied in first) and 16-bit channels become 8-bit, as in OpenCV. The picture
    is upright: the EXIF orientation of a JPEG, PNG (eXIf) or WebP, or of a TIFF (tag 274), is applied.

    Threads together decode at most `limits.PIXELS_IN_FLIGHT` at once, and wait for one another.

    Raises:
        ImageError: the file is missing, empty, unreadable, truncated, not an image, or has more pixels than
            `limits` allows; names path and reason.
    """
    return decode_image(_read(path), path)


def decode_image(data: bytes, name: str | Path) -> NDArray[np.uint8]:
    """The image in the bytes of a file, as `read_image` returns it; errors call it `name`."""
    with IN_FLIGHT.reserve(min(image_claims(data)[1], MAX_PIXELS)):
        if not data.startswith(_JPEG):
            return _decode_other(data, name)
        try:
            return decode_jpeg(data, max_pixels=MAX_PIXELS)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from None


def begins_image(data: bytes) -> bool:
    """Whether bytes begin as a file of a format that is read does."""
    is_other_riff = data.startswith(b"RIFF") and data[8:12] not in (b"WEBP", b"")  # AVI, WAV
    return data.startswith((_JPEG, *_OTHERS)) and not is_other_riff


def read_header(path: str | Path) -> ImageHeader:
    """The header of an image file; see `read_headers`.

    Raises:
        ImageError: the file is missing, empty, unreadable, not an image, or has more pixels than `limits`
            allows; names the path and the reason.
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
    pixels, depth = columns["pixels"], columns["depth"]
    large = pixels * np.maximum(depth, 24.0) > 8 * min(FREE_EXPANSION, MAX_PIXELS)
    for i in np.flatnonzero((status != FINE) | large).tolist():
        header = headers[i]
        assert isinstance(header, ImageHeader)
        size = None if header.format == "jpeg" else header.bytes
        reason = too_many_pixels(int(pixels[i]), int(depth[i]), size, webp=header.format == "webp")
        if reason is not None:
            headers[i] = ImageError(f"{paths[i]}: {reason}")
        elif status[i] != FINE:
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
            size = os.fstat(file.fileno()).st_size
            if size > MAX_IMAGE_BYTES:
                raise ImageError(
                    f"{path}: got {size:,} bytes, expected an image file of at most {MAX_IMAGE_BYTES:,}"
                )
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
        image = decode_with_opencv(data, cv2.IMREAD_COLOR)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    if image is None:
        raise _no_image(path)
    for start in range(0, len(image), _BAND):  # in place, so that no second picture is held
        band = image[start : start + _BAND]
        cv2.cvtColor(band, cv2.COLOR_BGR2RGB, band)
    is_tiff = data.startswith(_TIFFS)  # which OpenCV turns itself, whatever the flags
    return image if is_tiff else upright(image, image_claims(data)[0])


def decode_with_opencv(data: bytes, flags: int) -> NDArray[Any] | None:
    """What `cv2.imdecode` makes of a PNG, BMP, WebP or TIFF, not turned; None where it is damaged.

    Raises `ImageError`, without the file's name, for more pixels than `limits` allows, which are found before
    any memory is taken.
    """
    import cv2

    _, pixels, depth = image_claims(data)
    if pixels == 0:
        return None
    reason = too_many_pixels(pixels, depth, len(data), webp=data.startswith(b"RIFF"))
    if reason is not None:
        raise ImageError(reason)
    if data.startswith(_PNG):
        _check_chunks(data)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, MemoryError) as error:
        raise ImageError(f"cannot be decoded: {getattr(error, 'err', '') or error}") from None


def _check_chunks(data: bytes) -> None:
    """Raise `ImageError` for a PNG with a chunk that states far more bytes than there are."""
    at = len(_PNG)  # decoders allocate what a chunk states
    for _ in range(MAX_PNG_CHUNKS):
        length = int.from_bytes(data[at : at + 4], "big")
        missing = at + length - len(data)
        if missing > MAX_MISSING_BYTES:
            raise ImageError(
                f"a chunk states {length:,} bytes, {missing:,} more than there are; get it again"
            )
        at += 12 + length
        if at >= len(data):
            return
    raise ImageError(f"over {MAX_PNG_CHUNKS:,} chunks, which no picture needs; save it again")


def upright(image: NDArray[Pixel], orientation: int) -> NDArray[Pixel]:
    """A stored picture [H, W] or [H, W, C], turned by its EXIF orientation 1..8; itself where that is 1."""
    if orientation == 1:
        return image
    turned = image.swapaxes(0, 1) if orientation >= 5 else image
    mirror_y, mirror_x = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(turned[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1])
