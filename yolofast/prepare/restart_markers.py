"""Rewrites JPEGs with restart markers, so that a loader can decode parts of them."""

from __future__ import annotations

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg
from yolofast.limits import MAX_PIXELS
from yolofast.pixel_budget import PixelBudget
from yolofast.types import Finding

JPEG = b"\xff\xd8\xff"


def add_restart_markers(data: bytes, restart_rows: int, budget: PixelBudget) -> tuple[bytes, Finding | None]:
    """The bytes of a JPEG with restart markers; other files are returned unchanged.

    The second value is None on success, a finding 'image-unreadable' (error) for a damaged image, or
    'image-not-rewritten' (info) for one that decodes but cannot be rewritten; the bytes are then unchanged.
    """
    if not data.startswith(JPEG):
        return data, None
    with budget.reserve(_pixels(data)):
        try:
            return rewrite_jpeg(data, restart_rows=restart_rows, max_pixels=MAX_PIXELS), None
        except ImageError as refused:
            try:
                decode_jpeg(data, max_pixels=MAX_PIXELS)
            except ImageError as damaged:
                return data, Finding("error", "image-unreadable", str(damaged))
            return data, Finding("info", "image-not-rewritten", str(refused))


def _pixels(data: bytes) -> int:
    """Pixels of a JPEG; 0 for an unreadable header, which is refused before memory is allocated."""
    try:
        info = jpeg_info(data)
    except ImageError:
        return 0
    return info.width * info.height
