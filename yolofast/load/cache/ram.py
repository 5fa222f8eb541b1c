"""The cache of decoded planes in this process's memory."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.load.cache.decoding import CHECK_EVERY, Load, check_fit, decode_all, picture_or_reason
from yolofast.load.cache.planes import (
    ALIGN,
    PADDING,
    PLANE_COLUMNS,
    PlaneCache,
    new_columns,
    planes_of,
    set_row,
)
from yolofast.process_memory import available_bytes

SLAB_BYTES = 64 * 2**20
MEMORY_SHARE = 0.9
"""Share of the available memory that a cache may take."""


def cache_in_ram(count: int, load: Load, *, threads: int, progress: bool) -> PlaneCache:
    """Decode `count` images into this process's memory, with `threads` threads.

    An image for which `load` raises `ImageError` is left out, with the reason. Raises `DataError` as soon as
    the images so far show that all of them will not fit into the available memory.
    """
    columns, memory = new_columns(PLANE_COLUMNS, count), _Slabs()
    unreadable: dict[int, str] = {}
    held = 0
    pictures = decode_all(
        lambda image: picture_or_reason(load, image), count, threads, "cache ram", progress=progress
    )
    with contextlib.closing(pictures):
        for image, picture in enumerate(pictures):
            if isinstance(picture, str):
                unreadable[image] = picture
            else:
                planes = planes_of(picture)
                set_row(columns, image, memory.store(planes), picture)
                held += sum(plane.nbytes for plane in planes)
            if (image + 1) % CHECK_EVERY == 0 and (free := available_bytes()) is not None:
                room = int(free * MEMORY_SHARE)
                check_fit("--cache ram", "memory", "Use --cache disk.", image + 1, count, held, room)
    return PlaneCache(columns, 0, unreadable, memory)


class _Slabs:
    """Large pieces of memory that images are packed into; the unused end of a piece is never touched."""

    def __init__(self) -> None:
        self._slabs: list[NDArray[np.uint8]] = []
        self._next = self._end = 0  # addresses in the last slab

    def store(self, planes: Sequence[NDArray[np.uint8]]) -> int:
        """Copy the planes of an image in; returns the address."""
        size = sum(plane.nbytes for plane in planes) + PADDING
        if self._next + size > self._end:
            slab = np.empty(max(SLAB_BYTES, size) + ALIGN, np.uint8)
            self._slabs.append(slab)
            self._next = -(-slab.ctypes.data // ALIGN) * ALIGN
            self._end = slab.ctypes.data + slab.nbytes
        address = self._next
        slab = self._slabs[-1]
        at = address - slab.ctypes.data
        for plane in planes:
            slab[at : at + plane.nbytes] = plane.reshape(-1)
            at += plane.nbytes
        self._next = -(-(address + size) // ALIGN) * ALIGN
        return address
