"""Bounds the memory of threads that decode pictures: so many pixels at one time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

MAX_PIXELS = 2**26
"""Pixels worked on at one time. Each takes 12 bytes when rewritten (4:4:4; CMYK 16), so about 800 MB."""


class PixelBudget:
    """Lets pictures in while they are at most `most` pixels together; a larger one goes alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Wait for room, and hold it while the block lasts."""
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + pixels <= self._most)
            self._used += pixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()
