"""Pictures packed into one piece of memory: their planes, and a table of where each of them lies.

The loader's engine and nvJPEG write them, `torch.ops.yolofast.render_` reads them. The columns of the table,
the alignment of planes and the packing itself come from csrc/core/pictures/packed_pictures.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.kernels._pictures import PLANE_ALIGN, PictureColumn, pack, stored_place
from yolofast.types import BatchPlan, Picture, Ycc

__all__ = ["PLANE_ALIGN", "PackedPictures", "PictureColumn", "pack_pictures", "stored_place"]

ROW_ALIGN = 16
"""Bytes: where each row of a plane begins that `pack_pictures` packs."""
MAX_ROW_ALIGN = 4096
"""A page; with more, the sizes of hostile planes could overflow."""

_OFFSETS = np.array([PictureColumn.OFFSET_Y, PictureColumn.OFFSET_CB, PictureColumn.OFFSET_CR])

Planes = TypeVar("Planes")
"""uint8 [N]: an array, or a tensor."""


@dataclass(frozen=True, slots=True)
class PackedPictures(Generic[Planes]):
    """P pictures, some of which may be missing.

    planes    uint8 [N], an array or a tensor on any device
    pictures  int64 [P, len(PictureColumn)], a row per picture, in bytes and pixels: offsets of y, cb and cr
              in `planes` (-1 for the chroma of a gray picture), strides of y and of chroma, height and
              width, height and width of chroma (0 for gray), chroma factors across and down; the offset of
              y is -1 for a missing picture
    places    float64 [P, 2, 3], as `place` of `types.Picture`
    shapes    int64 [P, 2], (height, width) of the whole upright pictures, as `shape` of `types.Picture`: what
              the planes may be a reduced version of
    """

    planes: Planes
    pictures: NDArray[np.int64]
    places: NDArray[np.float64]
    shapes: NDArray[np.int64]

    @staticmethod
    def missing(planes: Any, count: int) -> PackedPictures[Any]:
        """A table of `count` pictures that are all missing."""
        rows = np.full((count, len(PictureColumn)), -1, dtype=np.int64)
        return PackedPictures(planes, rows, np.zeros((count, 2, 3)), np.zeros((count, 2), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.pictures)

    def column(self, column: PictureColumn) -> NDArray[np.int64]:
        """int64 [P], a view of one column."""
        return self.pictures[:, column]

    @property
    def is_there(self) -> NDArray[np.bool_]:
        """bool [P]: which pictures are not missing."""
        return np.asarray(self.column(PictureColumn.OFFSET_Y) >= 0)

    def select(self, which: NDArray[Any]) -> PackedPictures[Planes]:
        """Some of the pictures, by index or by mask; the planes stay where they are."""
        return replace(
            self, pictures=self.pictures[which], places=self.places[which], shapes=self.shapes[which]
        )

    def append_missing(self, count: int) -> PackedPictures[Planes]:
        """The same with `count` missing pictures behind."""
        more = PackedPictures.missing(self.planes, count)
        return replace(
            self,
            pictures=np.concatenate([self.pictures, more.pictures]),
            places=np.concatenate([self.places, more.places]),
            shapes=np.concatenate([self.shapes, more.shapes]),
        )

    def put(self, at: NDArray[np.int64], other: PackedPictures[Any], begin: int) -> None:
        """Make the pictures `at` those of `other`, whose planes begin at byte `begin` of these ones."""
        rows = other.pictures.copy()
        offsets = rows[:, _OFFSETS]
        rows[:, _OFFSETS] = np.where(offsets >= 0, offsets + begin, offsets)
        self.pictures[at], self.places[at], self.shapes[at] = rows, other.places, other.shapes

    def remove(self, at: NDArray[np.int64]) -> None:
        """Make the pictures `at` missing."""
        self.pictures[at] = -1

    def render_arrays(
        self, plan: BatchPlan, tile_picture: NDArray[np.integer[Any]]
    ) -> dict[str, NDArray[Any]]:
        """What `torch.ops.yolofast.render_` takes after `out` and `planes`, by name: contiguous arrays.

        `tile_picture` [T] is the number of each tile's picture in this table.
        """
        named: dict[str, tuple[ArrayLike, type]] = {
            "pictures": (self.pictures, np.int64),
            "places": (self.places, np.float64),
            "tile_sample": (plan.tile_sample, np.int64),
            "tile_picture": (tile_picture, np.int64),
            "tile_layer": (plan.tile_layer, np.int64),
            "tile_matrix": (plan.tile_matrix, np.float64),
            "tile_window": (plan.tile_window, np.float64),
            "mix": (plan.mix, np.float64),
            "colour": (plan.colour, np.float64),
            "hole": (plan.holes, np.int64),
        }
        # Writeable: torch warns of a tensor over an array that is not.
        return {name: np.require(values, kind, ["C", "W"]) for name, (values, kind) in named.items()}


def pack_pictures(
    pictures: Sequence[Picture | Ycc], *, row_align: int = ROW_ALIGN, out: NDArray[np.uint8] | None = None
) -> PackedPictures[NDArray[np.uint8]]:
    """Copy the planes of pictures into one buffer, one after the other in their order.

    Args:
        pictures: what to pack; planes alone stand for `Picture.of` them. A plane may have any strides.
        row_align: each row of a plane begins at a multiple of this many bytes, 1..4096.
        out: uint8 [M], contiguous, that the planes are written to, such as pinned memory; M may be more
            than is needed.

    Returns:
        `PackedPictures` over the buffer, or over the part of `out` that is used.

    Raises:
        TypeError, ValueError: not a picture, planes that do not fit, an `out` that is too small or read-only;
            says which.
    """
    if not 1 <= row_align <= MAX_ROW_ALIGN:
        raise ValueError(f"row_align is {row_align}; expected 1..{MAX_ROW_ALIGN} bytes")
    planes, rows, places = pack([_with_packed_rows(picture) for picture in pictures], row_align, out)
    shapes = [(p if isinstance(p, Picture) else Picture.of(p)).shape for p in pictures]
    return PackedPictures(planes, rows, places, np.array(shapes, dtype=np.int64).reshape(-1, 2))


def _with_packed_rows(picture: Any) -> Any:
    """The picture with copies of those planes whose pixels are not side by side in memory."""
    if isinstance(picture, Picture):
        return replace(picture, ycc=_with_packed_rows(picture.ycc))
    if not isinstance(picture, Ycc):
        return picture  # `pack` says what is wrong
    return replace(picture, y=_packed(picture.y), cb=_packed(picture.cb), cr=_packed(picture.cr))


def _packed(plane: Any) -> Any:
    is_spread = isinstance(plane, np.ndarray) and plane.ndim == 2 and plane.strides[1] != 1
    return np.ascontiguousarray(plane) if is_spread else plane
