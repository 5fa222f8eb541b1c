"""The file of the disk cache: decoded planes, and what each image file was when they were decoded.

    prologue | planes of image 0 | planes of image 1 | ... | table: columns, note (JSON), image paths

Planes come first because their sizes are known only once an image is decoded. The prologue gives the table's
offset and is written last, so that a truncated file is recognised. Numbers are little-endian. Every byte is
covered: the prologue and the table carry a CRC-32, the planes of each image (with the padding behind them) a
checksum in the table. Nothing in the file is executed.

Planes are mapped, so that all processes share them. The table is read into memory before it is checked: what
native code believes can no longer change under it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.kernels.packed_paths import pack_paths
from yolofast.load.cache._mapping import checksum
from yolofast.load.cache.guard import damaged_rows
from yolofast.load.cache.planes import (
    ALIGN,
    PLANE_COLUMNS,
    Columns,
    ColumnTypes,
    new_columns,
    packed_slot,
    plane_bytes,
    set_row,
    slot_bytes,
)
from yolofast.printable import printable
from yolofast.types import Picture

MAGIC = b"YFPLANE2"
# Magic, images, table offset, table bytes, table CRC, CRC of all before it; ALIGN bytes with the zeros.
_PROLOGUE = struct.Struct("<8sQQQI24xI")
_MAX_SIDE = 2**24

STAMP_COLUMNS: ColumnTypes = {
    "stat": (np.int64, (4,)),  # size, mtime_ns, ctime_ns, inode
    "digest": (np.uint64, (2,)),
}
CHECKSUM_COLUMNS: ColumnTypes = {"checksum": (np.uint64, ())}
_FILE_COLUMNS = {**STAMP_COLUMNS, **CHECKSUM_COLUMNS, **PLANE_COLUMNS}

COPY_BYTES = 64 * 2**20
_NO_COPYING = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of a file system whose files the kernel does not copy by itself."""


def joined_paths(images: Sequence[str]) -> bytes:
    """Paths as the file has them: separated by NUL."""
    return pack_paths(images)[:-1]


@dataclass(frozen=True)
class PlaneFile:
    """An open plane file, whose shared lock says that it is in use.

    `columns` are in memory, [n] or [n, ...] as in PLANE_COLUMNS, STAMP_COLUMNS and CHECKSUM_COLUMNS, and read
    only; `unreadable` has the reason of each image that could not be decoded, `damaged` int64 [N] the rows
    whose planes a run found damaged; `size` is in bytes.
    """

    path: Path
    file: BinaryIO
    size: int
    columns: Columns
    paths: bytes
    signature: str
    unreadable: dict[int, str]
    damaged: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.columns["offset"])

    def image_names(self) -> list[str]:
        """The path of every row."""
        return [os.fsdecode(name) for name in self.paths.split(b"\0")] if len(self) else []

    def close(self) -> None:
        """Close the file, and let go of its lock."""
        self.file.close()


class PlaneFileWriter:
    """Writes a plane file from start to end, by write calls: a full disk is an `OSError`, never a SIGBUS."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._file = file
        self.columns = new_columns(_FILE_COLUMNS, count)
        self._file.write(bytes(ALIGN))
        self.position = ALIGN

    def add(self, row: int, picture: Picture) -> None:
        """Append the planes of an image, and record them as row `row`."""
        slot = packed_slot(picture)
        set_row(self.columns, row, self.position, picture)
        self.columns["checksum"][row] = checksum(slot.data)
        self._file.write(slot.data)
        self.position += len(slot)

    def copy(self, source: PlaneFile, begin: int, end: int, row: int) -> None:
        """Append what `source` has of its rows `begin` to `end`, as row `row` and those behind it.

        Their checksums come with them: planes that are damaged, or missing because the source is cut short,
        are found out when they are used.
        """
        rows = slice(row, row + end - begin)
        for name, column in source.columns.items():
            self.columns[name][rows] = column[begin:end]
        held = np.flatnonzero(source.columns["height"][begin:end] > 0)
        if not len(held):
            return
        offsets = source.columns["offset"][begin:end].astype(np.int64)[held]
        sizes = slot_bytes(plane_bytes(source.columns)[begin:end][held])
        first, last = int(offsets[0]), int(offsets[-1] + sizes[-1])
        self.columns["offset"][row + held] = offsets - first + self.position
        self._file.flush()
        _copy_bytes(source.file.fileno(), first, self._file.fileno(), self.position, last - first)
        self.position += last - first
        self._file.seek(self.position)

    def finish(self, images: Sequence[str], signature: str, unreadable: Mapping[int, str]) -> None:
        """Append the table, then write the prologue that completes the file."""
        note = json.dumps({"signature": signature, "unreadable": sorted(unreadable.items())})
        parts = [
            *(column.tobytes() for column in self.columns.values()),
            note.encode(),
            b"\0",
            joined_paths(images),
        ]
        check = 0
        for part in parts:
            check = zlib.crc32(part, check)
            self._file.write(part)
        numbers = (MAGIC, len(images), self.position, sum(map(len, parts)), check)
        self._file.seek(0)
        self._file.write(_PROLOGUE.pack(*numbers, _own_check(numbers)))
        self._file.flush()


def _own_check(numbers: tuple[bytes, int, int, int, int]) -> int:
    return zlib.crc32(_PROLOGUE.pack(*numbers, 0)[:-4])


def _copy_bytes(source: int, begin: int, target: int, at: int, count: int) -> None:
    """Copy `count` bytes between open files, in the kernel where it can; fewer where the source ends."""
    in_kernel = hasattr(os, "copy_file_range")
    while count > 0:
        step = min(count, COPY_BYTES)
        try:
            if in_kernel:
                done = os.copy_file_range(source, target, step, begin, at)
            else:
                done = os.pwrite(target, os.pread(source, step, begin), at)
        except OSError as error:
            if not in_kernel or error.errno not in _NO_COPYING:
                raise
            in_kernel = False
            continue
        if not done:
            return
        begin, at, count = begin + done, at + done, count - done


def open_plane_file(path: Path) -> PlaneFile:
    """Open a plane file, every offset and size in it checked against its length.

    Raises `FileNotFoundError` where there is none, and `DataError` for a file that is damaged, cut short or
    something else.
    """
    file = _open_locked(path)
    try:
        return _read(path, file)
    except BaseException:
        file.close()
        raise


def _open_locked(path: Path) -> BinaryIO:
    """Open a file with a shared lock: an exclusive one is held only by who removes the file."""
    while True:
        file = path.open("rb")
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FileNotFoundError(errno.ENOENT, "is being removed", str(path)) from None
        except OSError:
            return file  # a file system without locks: nobody removes files there
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # it was replaced between opening and locking


def _read(path: Path, file: BinaryIO) -> PlaneFile:
    size = os.fstat(file.fileno()).st_size
    shown = printable(str(path))
    count, begin, check = _check_prologue(shown, file.read(ALIGN), size)
    file.seek(begin)
    table = file.read(size - begin)
    row_bytes = sum(np.dtype(kind).itemsize * int(np.prod(s)) for kind, s in _FILE_COLUMNS.values())
    if count * row_bytes > len(table) or zlib.crc32(table) != check:
        raise DataError(f"{shown}: the plane cache's table is damaged")
    columns: Columns = {}
    position = 0
    for name, (kind, shape) in _FILE_COLUMNS.items():
        items = count * int(np.prod(shape, dtype=np.int64))
        columns[name] = np.frombuffer(table, kind, items, position).reshape(count, *shape)
        position += columns[name].nbytes
    note, _, paths = table[position:].partition(b"\0")
    signature, unreadable = _read_note(shown, note)
    if count and paths.count(b"\0") != count - 1:
        raise DataError(f"{shown}: the plane cache names a different number of images than it holds")
    _check_rows(shown, columns, begin)
    return PlaneFile(path, file, size, columns, paths, signature, unreadable, damaged_rows(path, count))


def _check_prologue(shown: str, data: bytes, size: int) -> tuple[int, int, int]:
    """Number of images, the table's offset and its CRC."""
    if len(data) < ALIGN:
        raise DataError(f"{shown}: too short for a plane cache")
    magic, count, begin, length, check, own_check = _PROLOGUE.unpack(data)
    if magic != MAGIC:
        raise DataError(f"{shown}: not a plane cache of this version")
    if zlib.crc32(data[:-4]) != own_check or begin % ALIGN or begin < ALIGN:
        raise DataError(f"{shown}: the plane cache's first bytes are damaged")
    if begin + length != size:
        raise DataError(f"{shown}: the plane cache has {size} bytes, expected {begin + length}")
    return count, begin, check


def _read_note(shown: str, note: bytes) -> tuple[str, dict[int, str]]:
    try:
        values = json.loads(note)
        return str(values["signature"]), {int(row): str(reason) for row, reason in values["unreadable"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{shown}: the plane cache's note is damaged: {error}") from None


def _check_rows(shown: str, columns: Columns, end: int) -> None:
    """Native code reads at these offsets: refuse any outside the planes."""
    sides = np.stack([columns[name] for name in ("height", "width", "c_height", "c_width")])
    good = (sides >= 0).all(axis=0) & (sides < _MAX_SIDE).all(axis=0)
    good &= ((sides[0] > 0) == (sides[1] > 0)) & ((sides[2] > 0) == (sides[3] > 0))
    good &= (sides[0] > 0) | (sides[2] == 0)
    held = sides[0] > 0
    for name in ("factor_x", "factor_y"):
        good &= ~held | np.isin(columns[name], (1, 2, 4))
    good &= np.isfinite(columns["place"]).all(axis=(1, 2))
    offset = columns["offset"]
    room = np.where(offset <= end, end - np.minimum(offset, end), 0).astype(np.int64)
    slots = slot_bytes(plane_bytes(columns))
    good &= ~held | ((offset >= ALIGN) & (offset % ALIGN == 0) & (slots <= room))
    if good.all():  # one behind the other, as they are written
        rows = np.flatnonzero(held)
        begins = offset[rows].astype(np.int64)
        good[rows[1:]] = begins[1:] >= begins[:-1] + slots[rows[:-1]]
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise DataError(f"{shown}: the plane cache's entry {row} does not fit its file")
