"""The cache of decoded planes: what it is to native code, and the one in this process's memory.

Planes and not RGB, at the size that training needs: a 4:2:0 picture takes half the bytes. Native threads
read them through raw addresses, so a `PlaneCache` must live as long as anything that uses its table.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolofast.errors import DataError, ImageError
from yolofast.load.cache.file import (
    ALIGN,
    PADDING,
    PLANE_COLUMNS,
    Columns,
    new_columns,
    plane_bytes,
    planes_of,
    set_row,
)
from yolofast.types import Picture

T = TypeVar("T")
Load = Callable[[int], Picture]
"""Gives the decoded, already reduced planes of an image, the GIL released; raises `ImageError`."""

SLAB_BYTES = 64 * 2**20
ROOM_EVERY = 32
"""Images between two looks at whether what is left still fits."""
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class PlaneTable:
    """Where the planes of n images lie in memory. Columns are read-only.

    address             uint64 [n]        of the first byte of the y plane; 0 = not held
    height, width       int32 [n]         of the y plane
    c_height, c_width   int32 [n]         of cb and of cr; 0 = gray
    factor_x, factor_y  int32 [n]         chroma subsampling: 1, 2 or 4
    place               float64 [n,2,3]   as in `types.Picture`

    An image is its y rows, then cb, then cr, each packed, in one run of bytes that starts at a multiple of
    64; at least 64 more bytes behind it can be read.
    """

    address: NDArray[np.uint64]
    height: NDArray[np.int32]
    width: NDArray[np.int32]
    c_height: NDArray[np.int32]
    c_width: NDArray[np.int32]
    factor_x: NDArray[np.int32]
    factor_y: NDArray[np.int32]
    place: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.address)


class PlaneCache:
    """Decoded planes and the memory they lie in, which stays valid as long as this object lives.

    table        where each image is
    nbytes       bytes of pixels held
    unreadable   image -> why it could not be decoded; its address is 0
    """

    def __init__(self, columns: Columns, base: int, unreadable: dict[int, str], memory: object) -> None:
        """`columns` as PLANE_COLUMNS, offsets counted from address `base`; `memory` is kept alive."""
        shown = {name: columns[name].view() for name in PLANE_COLUMNS}
        offset = shown.pop("offset")
        shown["address"] = np.where(shown["height"] > 0, offset + np.uint64(base), np.uint64(0))
        for column in shown.values():
            column.flags.writeable = False
        self.table = PlaneTable(**shown)
        self.nbytes = int(plane_bytes(columns).sum())
        self.unreadable = unreadable
        self._memory = memory

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PlaneCache holds addresses of this process: open it in the other one instead")


def cache_in_ram(count: int, load: Load, *, threads: int, progress: bool) -> PlaneCache:
    """Decode `count` images into this process's memory, with `threads` threads.

    An image for which `load` raises `ImageError` is left out and its reason kept. Raises `DataError` as
    soon as the images so far say that all of them will not fit into the free memory.
    """
    columns, memory = new_columns(PLANE_COLUMNS, count), _Slabs()
    unreadable: dict[int, str] = {}
    held = 0
    pictures = in_order(lambda image: decoded_or_reason(load, image), count, threads, "cache ram", progress)
    with contextlib.closing(pictures):
        for image, picture in enumerate(pictures):
            if isinstance(picture, str):
                unreadable[image] = picture
            else:
                planes = planes_of(picture)
                set_row(columns, image, memory.store(planes), picture)
                held += sum(plane.nbytes for plane in planes)
            if (image + 1) % ROOM_EVERY == 0 and (free := free_memory()) is not None:
                room = int(free * MEMORY_SHARE)
                check_room("--cache ram", "memory", "Use --cache disk.", image + 1, count, held, room)
    return PlaneCache(columns, 0, unreadable, memory)


class _Slabs:
    """Large pieces of memory that images are packed into; what of a piece is not used is never touched."""

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


def free_memory() -> int | None:
    """Bytes this process can still take without swapping, its control group's limit counted in; None where
    the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    group = _control_group_room()
    return group if free is None else free if group is None else min(free, group)


def _control_group_room() -> int | None:
    """What a container (cgroup v2) may still take; the files it has read count as free."""
    try:
        own = Path("/proc/self/cgroup").read_text().partition("0::/")[2].split("\n")[0]
        folder = Path("/sys/fs/cgroup") / own
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat["active_file"]) + int(stat["inactive_file"]))


def decoded_or_reason(load: Load, image: int) -> Picture | str:
    """The picture, or why there is none."""
    try:
        return load(image)
    except ImageError as error:
        return str(error)


def in_order(
    job: Callable[[int], T], count: int, threads: int, title: str = "", progress: bool = False
) -> Generator[T, None, None]:
    """`job(0)`, `job(1)`, ... from `threads` threads, a few ahead of the one that takes the results.

    Close it to stop early.
    """
    pool = ThreadPoolExecutor(threads)
    with tqdm(total=count, desc=title, unit="image", leave=False, disable=not progress) as shown:
        try:
            numbers = iter(range(count))
            waiting = deque(pool.submit(job, number) for number in islice(numbers, 2 * threads))
            while waiting:
                yield waiting.popleft().result()
                shown.update()
                waiting.extend(pool.submit(job, number) for number in islice(numbers, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def check_room(option: str, room: str, advice: str, done: int, count: int, held: int, free: int) -> None:
    """Raises `DataError` when `done` of `count` images took `held` bytes and the rest will not fit `free`."""
    left = held / done * (count - done)
    if left > free:
        raise DataError(
            f"{option}: {count} images need about {(held + left) / 2**30:.1f} GiB of {room} (judging by the "
            f"first {done}), and {(held + free) / 2**30:.1f} GiB can be had. {advice}"
        )
