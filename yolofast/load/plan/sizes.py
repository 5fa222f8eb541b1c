"""How large the samples at each position are: square, drawn anew per batch (multi-scale), or rectangular.

Positions are grouped by `batch_size` from 0 on, whoever gets them, so a sample's size does not depend on the
number of ranks or on where a run resumed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolofast.load.plan import draws
from yolofast.load.plan.draws import Stream


class FixedSize:
    """Square samples of one side."""

    def __init__(self, imgsz: int) -> None:
        self.largest = imgsz

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch, in pixels."""
        return self.largest, self.largest


class MultiScale:
    """Square samples whose side is drawn per `batch_size` positions, within +- `share` of `imgsz`."""

    def __init__(self, imgsz: int, share: float, stride: int, seed: int, batch_size: int) -> None:
        self._low = max(1, round(imgsz * (1 - share) / stride))
        self._high = max(self._low, round(imgsz * (1 + share) / stride))
        self._stride, self._seed, self._batch_size = stride, seed, batch_size
        self.largest = self._high * stride

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch, in pixels."""
        group = np.uint64(position // self._batch_size)
        draw = draws.uniform(self._seed, epoch, group, np.uint64(Stream.BATCH_SIDE))[0]
        side = (self._low + int(draw * (self._high - self._low + 1))) * self._stride
        return side, side


class RectangularSizes:
    """One shape per `batch_size` positions of `aspect_order`, just large enough for their images.

    The longer side is `imgsz`, the other what the most extreme image of the batch needs; both are rounded up
    to a multiple of `stride` after `pad` strides were added.
    """

    def __init__(
        self,
        shapes: NDArray[np.int32],
        order: NDArray[np.int64],
        imgsz: int,
        stride: int,
        pad: float,
        batch_size: int,
    ) -> None:
        """`shapes` int32 [n, 2] (height, width) of every image; `order` int64 [n]."""
        self._shapes, self._order, self._batch_size = shapes, order, batch_size
        self._imgsz, self._stride, self._pad = imgsz, stride, pad
        self.largest = self._side(1.0)

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch, in pixels."""
        begin = position // self._batch_size * self._batch_size
        shapes = self._shapes[self._order[begin : begin + self._batch_size]]
        ratio = shapes[:, 0] / shapes[:, 1]
        low, high = float(ratio.min()), float(ratio.max())
        # All wide: the height shrinks to the tallest; all tall: the width to the widest; mixed: square.
        return self._side(high if high < 1 else 1.0), self._side(1 / low if low > 1 else 1.0)

    def _side(self, share: float) -> int:
        """The side that takes `share` of `imgsz`, in pixels."""
        strides = share * self._imgsz / self._stride + self._pad
        return max(int(np.ceil(strides - 1e-9)), 1) * self._stride


Sizes = FixedSize | MultiScale | RectangularSizes


def aspect_order(shapes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Images by aspect ratio (height / width), int64 [n]: the order of an epoch of rectangular batches."""
    return np.argsort(shapes[:, 0] / shapes[:, 1], kind="stable").astype(np.int64)
