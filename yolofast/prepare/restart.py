"""Prepared JPEGs rewritten with restart markers, so that a loader may decode parts of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, rewrite_jpeg
from yolofast.types import Finding

_JPEG = b"\xff\xd8\xff"
_AHEAD = 256
"""Images given to the threads at once."""


def rewrite_images(images: Sequence[Path], restart_rows: int) -> Iterator[Finding | None]:
    """Replace each image of a folder in the making, if it is a JPEG, by one with restart markers.

    Gives for each image, in order: None where all is well, a finding 'image-unreadable' (error) where the
    picture is damaged, or 'image-not-rewritten' (info) where it decodes but cannot be rewritten. The files
    of both are left as they are. Works in as many threads as there are cores.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for begin in range(0, len(images), _AHEAD):
            yield from pool.map(partial(_rewrite, restart_rows=restart_rows), images[begin : begin + _AHEAD])


def _rewrite(image: Path, restart_rows: int) -> Finding | None:
    data = image.read_bytes()
    if not data.startswith(_JPEG):
        return None
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
