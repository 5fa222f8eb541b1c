"""The file of the disk cache: decoded planes, and what each image file was when they were decoded.

    prologue | planes of image 0 | planes of image 1 | ... | table: columns, note (JSON), image paths

Planes come first because their sizes are known only once an image is decoded. The prologue gives the table's
offset and is written last, so that a truncated file is recognised. The table is stored as columns that are
used as mapped: opening copies nothing, and all processes share one table. Numbers are little-endian; the
prologue and the table carry a CRC-32. Nothing in the file is executed.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.kernels.packed_paths import pack_paths
from yolofast.load.cache.planes import (
    ALIGN,
    PADDING,
    PLANE_COLUMNS,
    Columns,
    ColumnTypes,
    new_columns,
    plane_bytes,
)

MAGIC = b"YFPLANE1"
_PROLOGUE = struct.Struct("<8sQQQII")  # magic, images, table offset, table bytes, table CRC, prologue CRC
_MAX_SIDE = 2**24

STAMP_COLUMNS: ColumnTypes = {
    "stat": (np.int64, (4,)),  # size, mtime_ns, ctime_ns, inode
    "digest": (np.uint64, (2,)),
}
_FILE_COLUMNS = {**STAMP_COLUMNS, **PLANE_COLUMNS}


def joined_paths(images: Sequence[str]) -> bytes:
    """Paths as the file has them: separated by NUL."""
    return pack_paths(images)[:-1]


@dataclass(frozen=True)
class PlaneFile:
    """A plane file, mapped read-only and shared.

    `columns` are views into the mapping, [n] or [n, ...] as in PLANE_COLUMNS and STAMP_COLUMNS; `data` uint8
    is the whole file; `unreadable` has the reason of each image that could not be decoded.
    """

    columns: Columns
    data: NDArray[np.uint8]
    paths: bytes
    signature: str
    unreadable: dict[int, str]

    def __len__(self) -> int:
        return len(self.columns["offset"])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of the planes of each image, int64 [n]."""
        return plane_bytes(self.columns)

    def planes(self, row: int) -> NDArray[np.uint8]:
        """The packed planes of image `row` as uint8 [bytes]; empty for one that is not held."""
        begin = int(self.columns["offset"][row])
        return self.data[begin : begin + int(self.sizes[row])]

    def image_names(self) -> list[str]:
        """The path of every row."""
        return [os.fsdecode(name) for name in self.paths.split(b"\0")] if len(self) else []


class PlaneFileWriter:
    """Writes a plane file from start to end, by write calls: a full disk is an `OSError`, never a SIGBUS."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        self._file = file
        self.columns = new_columns(_FILE_COLUMNS, count)
        self._file.write(bytes(ALIGN))
        self.position = ALIGN

    def add(self, planes: Sequence[NDArray[np.uint8]]) -> int:
        """Append the planes of one image; returns their offset."""
        begin = self.position
        for plane in planes:
            self._file.write(plane.data)
        end = begin + sum(plane.nbytes for plane in planes)
        self.position = -(-(end + PADDING) // ALIGN) * ALIGN
        self._file.write(bytes(self.position - end))
        return begin

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
        unsigned = _PROLOGUE.pack(*numbers, 0)
        self._file.seek(0)
        self._file.write(_PROLOGUE.pack(*numbers, zlib.crc32(unsigned)))
        self._file.flush()


def open_plane_file(path: Path) -> PlaneFile:
    """Map a plane file, every offset and size in it checked against its length.

    Raises `FileNotFoundError` where there is none, and `DataError` for a file that is damaged, cut short or
    something else.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < ALIGN:
            raise DataError(f"{path}: too short for a plane cache")
        mapping = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    data = np.frombuffer(mapping, np.uint8)
    count, begin = _check_prologue(path, data)
    columns: Columns = {}
    position = begin
    for name, (kind, shape) in _FILE_COLUMNS.items():
        items = count * int(np.prod(shape, dtype=np.int64))
        columns[name] = np.frombuffer(mapping, kind, items, position).reshape(count, *shape)
        position += columns[name].nbytes
    note, _, paths = data[position:].tobytes().partition(b"\0")
    signature, unreadable = _read_note(path, note)
    if count and paths.count(b"\0") != count - 1:
        raise DataError(f"{path}: the plane cache names a different number of images than it holds")
    _check_rows(path, columns, begin)
    return PlaneFile(columns, data, paths, signature, unreadable)


def _check_prologue(path: Path, data: NDArray[np.uint8]) -> tuple[int, int]:
    """Number of images and the table's offset."""
    magic, count, begin, length, check, own_check = _PROLOGUE.unpack(data[: _PROLOGUE.size].tobytes())
    if magic != MAGIC:
        raise DataError(f"{path}: not a plane cache of this version")
    unsigned = _PROLOGUE.pack(magic, count, begin, length, check, 0)
    if zlib.crc32(unsigned) != own_check or begin % ALIGN or begin < ALIGN:
        raise DataError(f"{path}: the plane cache's first bytes are damaged")
    if begin + length != len(data):
        raise DataError(f"{path}: the plane cache has {len(data)} bytes, expected {begin + length}")
    row_bytes = sum(np.dtype(kind).itemsize * int(np.prod(s)) for kind, s in _FILE_COLUMNS.values())
    if count * row_bytes > length or zlib.crc32(data[begin:].data) != check:
        raise DataError(f"{path}: the plane cache's table is damaged")
    return count, begin


def _read_note(path: Path, note: bytes) -> tuple[str, dict[int, str]]:
    try:
        values = json.loads(note)
        return str(values["signature"]), {int(row): str(reason) for row, reason in values["unreadable"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: the plane cache's note is damaged: {error}") from None


def _check_rows(path: Path, columns: Columns, end: int) -> None:
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
    good &= ~held | ((offset >= ALIGN) & (offset % ALIGN == 0) & (plane_bytes(columns) + PADDING <= room))
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise DataError(f"{path}: the plane cache's entry {row} does not fit its file")
