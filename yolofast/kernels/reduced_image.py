"""Pixels that know the size of the whole picture which they are a reduced version of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class ReducedImage(np.ndarray):
    """What `decode_jpeg(min_size=...)` returns where it reduced the picture: an array like any other.

    `whole` is (height, width) of the whole picture, which `letterbox` places it by. Views, copies (also
    pickled ones) and results of the same shape keep it, and a quarter turn swaps it; it is None for arrays of
    another shape, such as crops. Arrays that numpy or another library makes plain (`np.ascontiguousarray`,
    `cv2.cvtColor`) have no such attribute: pass `source` to `letterbox`.
    """

    _known: tuple[tuple[int, int], tuple[int, ...]] | None
    """The size of the whole picture, and the shape of its pixels here."""

    @property
    def whole(self) -> tuple[int, int] | None:
        if self._known is None:
            return None
        (height, width), shape = self._known
        if self.shape == shape:
            return height, width
        return (width, height) if self.shape == (shape[1], shape[0], *shape[2:]) else None

    def __array_finalize__(self, source: object) -> None:
        # A transposed array has its source's shape when it comes here, and gets its own afterwards.
        is_alike = isinstance(source, ReducedImage) and source.shape == self.shape
        whole = getattr(source, "whole", None) if is_alike else None
        self._known = None if whole is None else (whole, self.shape)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        made = super().__array_wrap__(array, context, return_scalar)
        return made[()] if made.ndim == 0 else made  # a maximum or mean is a plain number

    def __reduce__(self) -> Any:
        made = super().__reduce__()
        assert isinstance(made, tuple)
        make, arguments, state = made
        return make, arguments, (state, self._known)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()  # numpy's own, for protocol 5, forgets attributes

    def __setstate__(self, state: Any) -> None:
        pixels, known = state
        super().__setstate__(pixels)
        self._known = known


def reduced_image(pixels: NDArray[np.uint8], whole: tuple[int, int]) -> ReducedImage:
    """`pixels`, in the same memory, of a picture that is `whole` (height, width)."""
    image = pixels.view(ReducedImage)
    image._known = whole, image.shape
    return image


def reduced_alike(source: NDArray[np.uint8], result: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`result`, of the shape of `source`, as a reduced version of the same picture if that is one."""
    whole = getattr(source, "whole", None)
    return result if whole is None else reduced_image(result, whole)
