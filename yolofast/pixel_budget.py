"""Bounds the memory of decoding images: the pixels of one, and those of all threads together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from yolofast.limits import FREE_EXPANSION, MAX_EXPANSION, MAX_PIXELS, PIXELS_IN_FLIGHT, WEBP_EXPANSION


def too_many_pixels(pixels: int, depth: int, size: int | None, *, webp: bool = False) -> str | None:
    """Why an image is refused before it is decoded, None where it is not.

    pixels  as its header states them
    depth   bits of a stored pixel
    size    bytes of its file; None where the decoder knows better what they can hold (JPEG)
    webp    whether it is a WebP, which needs no bit for a pixel like those around it
    """
    if pixels > MAX_PIXELS:
        return (
            f"{pixels:,} pixels, over the limit of {MAX_PIXELS:,}; make the image smaller, or raise "
            "YOLOFAST_MAX_PIXELS"
        )
    decoded, stored = pixels * max(depth, 24) // 8, pixels * depth // 8
    most = MAX_EXPANSION * (WEBP_EXPANSION if webp else 1)
    if size is not None and decoded > FREE_EXPANSION and stored > most * size:
        return (
            f"{pixels:,} pixels in {size:,} bytes, over {most:,} times what the file holds: of one colour;"
            f" remove it, or raise YOLOFAST_MAX_EXPANSION ({MAX_EXPANSION:,})"
        )
    return None


class PixelBudget:
    """Admits images while they have at most `limit` pixels together; a larger image is admitted alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, and hold them for the duration of the block. Not to be nested."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._limit)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()

    def forget(self) -> None:
        """Nothing is in flight: in a forked process, whose other threads are gone."""
        self._used = 0
        self._changed = Condition()


IN_FLIGHT = PixelBudget(PIXELS_IN_FLIGHT)
"""Of all images that this process decodes with Python."""
os.register_at_fork(after_in_child=IN_FLIGHT.forget)
