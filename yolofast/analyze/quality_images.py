"""Checks image files: by their headers, or by decoding them in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from yolofast.errors import ImageError, without_location
from yolofast.images import read_image
from yolofast.threads import map_in_threads
from yolofast.types import Finding, ImageHeader

MIN_SIDE = 32
"""An image with a side below this many pixels, one cell of a detector's coarsest grid, is reported."""
MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MAX_ASPECT = 5.0
"""An image with a larger ratio of long to short side is reported: letterboxing leaves 80 % padding."""


def unreadable(path: Path, error: ImageError) -> Finding:
    """The finding for an image that cannot be read."""
    return Finding("error", "image-unreadable", without_location(error, path), str(path))


def truncated(path: Path) -> Finding:
    """The finding for a truncated image."""
    message = "the file ends before the image does; training substitutes another image"
    return Finding("warning", "image-truncated", message, str(path))


def check_header(path: Path, header: ImageHeader) -> Iterator[Finding]:
    """Findings from a header, except truncation: unsuitable sizes, and pixels that reading converts."""
    width, height, file = header.width, header.height, str(path)
    short, long = min(width, height), max(width, height)
    if short < MIN_SIDE:
        message = f"{width}x{height} px: a side below {MIN_SIDE} px"
        yield Finding("warning", "image-tiny", message, file)
    if width * height > MAX_PIXELS or long > MAX_SIDE:
        limits = f"{MAX_PIXELS // 1_000_000} million pixels or a side above {MAX_SIDE} px"
        yield Finding("warning", "image-huge", f"{width}x{height} px: more than {limits}", file)
    if long > MAX_ASPECT * short:
        message = (
            f"{width}x{height} px: {long / short:.3g} times as long as wide, so letterboxing leaves "
            f"{1 - short / long:.0%} padding"
        )
        yield Finding("warning", "image-aspect", message, file)
    if header.orientation != 1:
        message = f"EXIF orientation {header.orientation}: turned upright when read, to {width}x{height} px"
        yield Finding("info", "image-rotated", message, file)
    if header.mode != "RGB" or header.bits > 8:
        yield from _check_channels(header, file)


def _check_channels(header: ImageHeader, file: str) -> Iterator[Finding]:
    if header.mode in ("L", "LA"):
        yield Finding("info", "image-gray", "gray: read as three equal channels", file)
    elif header.mode == "CMYK":
        yield Finding("info", "image-cmyk", "CMYK: converted to RGB without a colour profile", file)
    elif header.mode == "P":
        yield Finding("info", "image-palette", "palette colours: expanded to RGB", file)
    if header.mode in ("LA", "RGBA"):
        yield Finding("info", "image-alpha", "an alpha channel: transparency is dropped", file)
    if header.bits > 8:
        yield Finding("info", "image-16bit", f"{header.bits} bits per channel: read as 8 bits", file)


def decode_images(paths: Sequence[Path]) -> dict[Path, Finding]:
    """Decode every image in full, in threads; returns a finding for each that fails."""

    def attempt(path: Path) -> Finding | None:
        try:
            read_image(path)
        except ImageError as error:
            return unreadable(path, error)
        return None

    failed = {}
    with (
        closing(map_in_threads(attempt, paths)) as findings,
        tqdm(total=len(paths), desc="decode", leave=False, unit="img", disable=None) as progress,
    ):
        for path, finding in zip(paths, findings, strict=True):
            if finding is not None:
                failed[path] = finding
            progress.update()
    return failed
