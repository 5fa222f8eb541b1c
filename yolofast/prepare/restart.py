"""Prepared JPEGs rewritten with restart markers, so that a loader may decode parts of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Condition

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, jpeg_info, rewrite_jpeg
from yolofast.types import Finding

_JPEG = b"\xff\xd8\xff"
_AHEAD = 256
"""Images given to the threads at once."""
_MOST_PIXELS = 2**26
"""Pixels rewritten at one time. Each takes 12 bytes (4:4:4; CMYK 16), so this is about 800 MB."""


class _Room:
    """Lets pictures in while they are at most `most` pixels together; a larger one goes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


def rewrite_images(images: Sequence[Path], restart_rows: int) -> Iterator[Finding | None]:
    """Replace each image of a folder in the making, if it is a JPEG, by one with restart markers.

    Gives for each image, in order: None where all is well, a finding 'image-unreadable' (error) where the
    picture is damaged, or 'image-not-rewritten' (info) where it decodes but cannot be rewritten. The files
    of both are left as they are. Works in as many threads as there are cores, on at most `_MOST_PIXELS`
    at one time, or on a single larger picture.
    """
    rewrite = partial(_rewrite, restart_rows=restart_rows, room=_Room(_MOST_PIXELS))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for begin in range(0, len(images), _AHEAD):
            yield from pool.map(rewrite, images[begin : begin + _AHEAD])


def _pixels(data: bytes) -> int:
    """Pixels of a JPEG; 0 where its header cannot be read: it is then refused before memory is taken."""
    try:
        info = jpeg_info(data)
    except ImageError:
        return 0
    return info.width * info.height


def _rewrite(image: Path, restart_rows: int, room: _Room) -> Finding | None:
    data = image.read_bytes()
    if not data.startswith(_JPEG):
        return None
    with room.taken(_pixels(data)):
        try:
            rewritten = rewrite_jpeg(data, restart_rows=restart_rows)
        except ImageError as refused:
            try:
                decode_jpeg(data)
            except ImageError as damaged:
                return Finding("error", "image-unreadable", str(damaged))
            return Finding("info", "image-not-rewritten", str(refused))
    image.unlink()  # it may be a hard link to the user's file, which must not be written through
    image.write_bytes(rewritten)
    return None
