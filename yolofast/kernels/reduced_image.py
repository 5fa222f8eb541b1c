"""Pixels that know the size of the whole picture which they are a reduced version of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ReducedImage(np.ndarray):
    """What `decode_jpeg(min_size=...)` returns where it reduced the picture: an array like any other.

    `whole` is (height, width) of the whole picture, which `letterbox` places it by. Views, copies and results
    of the same shape keep it; arrays of another shape, such as crops, and those that numpy makes plain
    (`np.ascontiguousarray`) do not.
    """

    whole: tuple[int, int] | None

    def __array_finalize__(self, source: object) -> None:
        is_alike = isinstance(source, ReducedImage) and source.shape == self.shape
        self.whole = getattr(source, "whole", None) if is_alike else None


def reduced_image(pixels: NDArray[np.uint8], whole: tuple[int, int]) -> ReducedImage:
    """`pixels`, in the same memory, of a picture that is `whole` (height, width)."""
    image = pixels.view(ReducedImage)
    image.whole = whole
    return image
