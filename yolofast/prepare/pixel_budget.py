"""Bounds the memory of threads that decode images, by the number of pixels in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

MAX_PIXELS = 2**26
"""Pixels in flight. Each takes 12 bytes while it is rewritten (4:4:4; CMYK 16), about 800 MB in all."""


class PixelBudget:
    """Admits images while they have at most `limit` pixels together; a larger image is admitted alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, and hold them for the duration of the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._limit)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()
