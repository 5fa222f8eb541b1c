"""Decoded planes held in memory: where they are, as columns that native code and the cache file share.

Planes and not RGB, at the size that training needs: a 4:2:0 picture takes half the bytes. Native threads
read them through raw addresses, so a `PlaneCache` must live as long as anything that uses its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.load.cache.guard import PlaneGuard
from yolofast.types import SUBSAMPLING_FACTORS, Picture

ALIGN = 64
"""Planes of an image start at a multiple of this many bytes."""
PADDING = 64
"""Readable bytes after the planes of an image: SIMD reads may overrun a row."""

Columns = dict[str, NDArray[Any]]
ColumnTypes = Mapping[str, tuple[type[np.generic], tuple[int, ...]]]
"""Name of a column -> its type and the shape of a row in it."""

Size = TypeVar("Size", int, NDArray[np.int64])

# Columns of wide numbers come first, so that each is aligned when the table is.
PLANE_COLUMNS: ColumnTypes = {
    "offset": (np.uint64, ()),
    "place": (np.float64, (2, 3)),
    "height": (np.int32, ()),
    "width": (np.int32, ()),
    "c_height": (np.int32, ()),
    "c_width": (np.int32, ()),
    "factor_x": (np.int32, ()),
    "factor_y": (np.int32, ()),
}


def new_columns(types: ColumnTypes, count: int) -> Columns:
    """Zeroed columns of `count` rows."""
    return {name: np.zeros((count, *shape), kind) for name, (kind, shape) in types.items()}


def planes_of(picture: Picture) -> list[NDArray[np.uint8]]:
    """y, cb and cr (y alone for a gray picture), each with packed rows."""
    ycc = picture.ycc
    planes = [ycc.y] if ycc.cb is None or ycc.cr is None else [ycc.y, ycc.cb, ycc.cr]
    return [np.ascontiguousarray(plane) for plane in planes]


def set_row(columns: Columns, row: int, offset: int, picture: Picture) -> None:
    """Record in `columns` (PLANE_COLUMNS) that the planes of `picture` start at `offset`."""
    ycc = picture.ycc
    columns["offset"][row] = offset
    columns["place"][row] = picture.place
    columns["height"][row], columns["width"][row] = ycc.y.shape
    columns["c_height"][row], columns["c_width"][row] = (0, 0) if ycc.cb is None else ycc.cb.shape
    factor_x, factor_y = SUBSAMPLING_FACTORS[ycc.subsampling]
    columns["factor_x"][row], columns["factor_y"][row] = factor_x, factor_y


def slot_bytes(planes: Size) -> Size:
    """Bytes that planes of so many bytes take, with the padding behind them."""
    return -(-(planes + PADDING) // ALIGN) * ALIGN


def packed_slot(picture: Picture) -> NDArray[np.uint8]:
    """The planes of a picture one after the other, then zeros: uint8 [slot_bytes]."""
    planes = planes_of(picture)
    slot = np.zeros(slot_bytes(sum(plane.nbytes for plane in planes)), np.uint8)
    at = 0
    for plane in planes:
        slot[at : at + plane.nbytes] = plane.reshape(-1)
        at += plane.nbytes
    return slot


def plane_bytes(columns: Columns) -> NDArray[np.int64]:
    """Bytes of the planes of each image, int64 [n]; 0 for an image that is not held."""
    luma = columns["height"].astype(np.int64) * columns["width"]
    return np.asarray(luma + 2 * columns["c_height"].astype(np.int64) * columns["c_width"], dtype=np.int64)


@dataclass(frozen=True)
class PlaneTable:
    """Where the planes of n images are in memory. Columns are read-only.

    address             uint64 [n]        of the first byte of the y plane; 0 = not held
    height, width       int32 [n]         of the y plane
    c_height, c_width   int32 [n]         of cb and of cr; 0 = gray
    factor_x, factor_y  int32 [n]         chroma subsampling: 1, 2 or 4
    place               float64 [n,2,3]   as in `types.Picture`
    guard               of planes in a mapped file; None = in memory that nobody else can change

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
    guard: PlaneGuard | None = None

    def __len__(self) -> int:
        return len(self.address)


class PlaneCache:
    """Decoded planes and the memory that holds them, valid as long as this object lives.

    table        where each image is
    nbytes       bytes of pixels held
    unreadable   image -> why it could not be decoded; its address is 0
    """

    def __init__(
        self,
        columns: Columns,
        base: int,
        unreadable: dict[int, str],
        memory: object,
        guard: PlaneGuard | None = None,
    ) -> None:
        """`columns` as PLANE_COLUMNS, offsets counted from address `base`; `memory` is kept alive."""
        shown = {name: columns[name].view() for name in PLANE_COLUMNS}
        offset = shown.pop("offset")
        shown["address"] = np.where(shown["height"] > 0, offset + np.uint64(base), np.uint64(0))
        for column in shown.values():
            column.flags.writeable = False
        self.table = PlaneTable(**shown, guard=guard)
        self.nbytes = int(plane_bytes(columns).sum())
        self.unreadable = unreadable
        self._memory = memory

    def report_damage(self) -> None:
        """Log what native threads found out about the planes since the last call, at most once."""
        if self.table.guard is not None:
            self.table.guard.report()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PlaneCache holds addresses of this process; open it again in the other process")
