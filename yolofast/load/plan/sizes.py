"""How large the samples at each position are: square, drawn anew each batch (multi-scale), or rectangular."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolofast.load.plan import draws

_SIZE_STREAM = 0xFFFE


class FixedSize:
    """Square samples of one side."""

    def __init__(self, imgsz: int) -> None:
        self.largest = imgsz

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch."""
        return self.largest, self.largest


class MultiScale:
    """Square samples whose side is drawn for every `batch` positions within +- `share` of `imgsz`."""

    def __init__(self, imgsz: int, share: float, stride: int, batch: int, seed: int) -> None:
        self._low = max(1, round(imgsz * (1 - share) / stride))
        self._high = max(self._low, round(imgsz * (1 + share) / stride))
        self._stride, self._batch, self._seed = stride, batch, seed
        self.largest = self._high * stride

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch."""
        group = np.uint64(position // self._batch)
        draw = draws.uniform(self._seed, epoch, group, np.uint64(_SIZE_STREAM))[0]
        side = (self._low + int(draw * (self._high - self._low + 1))) * self._stride
        return side, side


class RectangularSizes:
    """One shape for every `batch` images of like aspect ratio, just large enough for them.

    `order` holds the images by aspect ratio (height / width). The longer side is `imgsz`, the other what
    the most extreme image of the batch needs; both are rounded up to `stride` after adding `pad` strides.
    """

    def __init__(self, shapes: NDArray[np.int32], imgsz: int, stride: int, pad: float, batch: int) -> None:
        ratio = shapes[:, 0] / shapes[:, 1]
        self.order: NDArray[np.int64] = np.argsort(ratio, kind="stable").astype(np.int64)
        self._batch = batch
        ratio = ratio[self.order]
        starts = np.arange(0, len(ratio), batch)
        low, high = np.minimum.reduceat(ratio, starts), np.maximum.reduceat(ratio, starts)
        # All wide: the height shrinks to the tallest; all tall: the width to the widest; mixed: square.
        height = np.where(high < 1, high, 1.0)
        width = np.where(low > 1, 1 / low, 1.0)
        sides = np.stack([height, width], axis=1) * imgsz / stride + pad
        self._sizes = np.maximum(np.ceil(sides - 1e-9), 1).astype(np.int64) * stride
        self.largest = int(self._sizes.max())

    def at(self, epoch: int, position: int) -> tuple[int, int]:
        """(height, width) of the sample at a position of an epoch."""
        height, width = self._sizes[position // self._batch]
        return int(height), int(width)


Sizes = FixedSize | MultiScale | RectangularSizes
