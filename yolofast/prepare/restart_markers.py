"""JPEGs rewritten with restart markers, so that a loader may decode parts of them."""

from __future__ import annotations

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg
from yolofast.prepare.pixel_budget import PixelBudget
from yolofast.types import Finding

JPEG = b"\xff\xd8\xff"


def add_restart_markers(data: bytes, restart_rows: int, room: PixelBudget) -> tuple[bytes, Finding | None]:
    """A JPEG's bytes with restart markers; what is no JPEG comes back as it is.

    With it comes None where all is well, a finding 'image-unreadable' (error) where the picture is damaged,
    or 'image-not-rewritten' (info) where it decodes but cannot be rewritten: the bytes are then those given.
    """
    if not data.startswith(JPEG):
        return data, None
    with room.taken(_pixels(data)):
        try:
            return rewrite_jpeg(data, restart_rows=restart_rows), None
        except ImageError as refused:
            try:
                decode_jpeg(data)
            except ImageError as damaged:
                return data, Finding("error", "image-unreadable", str(damaged))
            return data, Finding("info", "image-not-rewritten", str(refused))


def _pixels(data: bytes) -> int:
    """Pixels of a JPEG; 0 where its header cannot be read: it is then refused before memory is taken."""
    try:
        info = jpeg_info(data)
    except ImageError:
        return 0
    return info.width * info.height
