"""The geometry of a plan: the placement of each picture, and the matrix that maps it to the output.

Matrices are [3, 3, n] while they are computed: nine vectors for numpy. Only elementwise arithmetic is used
(no matmul, no BLAS), so that a matrix has the same bits whether it is computed alone or among a thousand
others.

A *placement*, float64 [8, ...], is the position of pictures on their canvas and what they may show:
rows 0, 1 gain in x and y and rows 2, 3 offset in x and y (`canvas = source * gain + offset`), rows 4 to 7
the window x0, y0, x1, y1 in source pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MARGIN = 1.0
"""Pixels by which a tile must miss the output to be left out."""


def letterbox_placement(shapes: NDArray[Any], size: tuple[int, int]) -> Array:
    """The placement [8, n] of whole pictures, shapes [n, 2], by `types.Letterbox.fit` into `size`."""
    extent = shapes[:, ::-1].T.astype(np.float64)  # width, height
    target = np.array([[size[1]], [size[0]]], dtype=np.float64)
    scale = (target / extent).min(axis=0)
    inner = np.maximum(1.0, np.rint(extent * scale))
    placed = np.zeros((8, extent.shape[1]))
    placed[0:2] = inner / extent
    placed[2:4] = np.floor((target - inner) / 2)
    placed[6:8] = extent
    return placed


def mosaic_placement(shapes: NDArray[Any], centre: Array, side: int) -> Array:
    """The placement [8, n, 4] of four pictures, shapes [n, 4, 2], around `centre` [2, n] (x, y).

    The canvas is a square of 2 * `side`. The long side of each picture becomes `side`, and the
    pictures meet at the centre: top left, top right, bottom left, bottom right. They are cropped to the
    canvas.
    """
    extent = shapes[..., ::-1].transpose(2, 0, 1).astype(np.float64)
    before = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])  # is left of, above the centre
    placed = np.empty((8, *extent.shape[1:]))
    placed[0:2] = gain = side / extent.max(axis=0)
    placed[2:4] = offset = centre[:, :, None] - before[:, None, :] * extent * gain
    placed[4:6] = np.minimum(np.maximum(-offset / gain, 0.0), extent)
    placed[6:8] = np.minimum(np.maximum((2 * side - offset) / gain, 0.0), extent)
    return placed


@dataclass(frozen=True, slots=True)
class Warp:
    """The draws of n warps of a canvas into the output; each field float64 or bool [n].

    angle in radians; zoom a gain; shear_x, shear_y tangents; translate_x, translate_y the position of the
    canvas centre as a share of the output; perspective_x, perspective_y per pixel; flips come last.
    """

    angle: Array
    zoom: Array
    shear_x: Array
    shear_y: Array
    translate_x: Array
    translate_y: Array
    perspective_x: Array
    perspective_y: Array
    flip_lr: NDArray[np.bool_]
    flip_ud: NDArray[np.bool_]

    def matrices(self, centre_x: Array, centre_y: Array, size: tuple[int, int]) -> Array:
        """Canvas -> output [3, 3, n]: Flip @ Translate @ Shear @ Rotate/zoom @ Perspective @ Centre.

        `centre_x`, `centre_y` [n] are the canvas centres, `size` (height, width) that of the output.
        The last row is exactly 0, 0, 1 where there is no perspective, and the off-diagonal entries are
        exactly 0 where there is no rotation, shear or perspective.
        """
        along, across = self.zoom * np.cos(self.angle), self.zoom * np.sin(self.angle)
        horizon_x, horizon_y = self.perspective_x, self.perspective_y
        out = np.empty((3, 3, len(along)))
        out[2] = horizon_x, horizon_y, 1.0 - (horizon_x * centre_x + horizon_y * centre_y)
        rows = (
            (along - self.shear_x * across, across + self.shear_x * along),
            (self.shear_y * along - across, self.shear_y * across + along),
        )
        shifts = (self.translate_x * size[1], self.translate_y * size[0])
        flips = (self.flip_lr, self.flip_ud)
        for axis, ((x, y), shift, flipped) in enumerate(zip(rows, shifts, flips, strict=True)):
            sign = np.where(flipped, -1.0, 1.0)
            x, y = sign * x, sign * y
            out[axis] = out[2] * np.where(flipped, size[1 - axis] - shift, shift)
            out[axis] += x, y, -(x * centre_x + y * centre_y)
        return out


def compose(warp: Array, placed: Array) -> Array:
    """Source -> output [3, 3, n]: `warp` [3, 3, n] after a placement [8, n]."""
    out = np.empty((3, 3, placed.shape[1]))
    out[:, 0] = warp[:, 0] * placed[0]
    out[:, 1] = warp[:, 1] * placed[1]
    out[:, 2] = warp[:, 0] * placed[2] + warp[:, 1] * placed[3] + warp[:, 2]
    return out


def invert(matrix: Array) -> Array:
    """The inverses of [3, 3, n], by cofactors.

    They are true inverses, not scaled: the third coordinate of the result is positive on this side of the
    horizon. An affine matrix has an inverse whose last row is exactly 0, 0, 1.
    """
    second, third = matrix[[1, 2, 0]], matrix[[2, 0, 1]]
    cofactors = second[:, [1, 2, 0]] * third[:, [2, 0, 1]] - second[:, [2, 0, 1]] * third[:, [1, 2, 0]]
    first = matrix[0]
    determinant = first[0] * cofactors[0, 0] + first[1] * cofactors[0, 1] + first[2] * cofactors[0, 2]
    inverse: Array = cofactors.transpose(1, 0, 2) / determinant
    return inverse


def may_show(forward: Array, window: Array, frame: Array) -> NDArray[np.bool_]:
    """Which tiles may give a pixel to their `frame` [4, n], x0, y0, x1, y1 in the output; bool [n].

    False only where that is certain: the box around the transformed `window` [4, n] misses the frame by
    MARGIN. `forward` [3, 3, n] must be affine.
    """
    middle = (window[:2] + window[2:]) / 2
    half = window[2:] - middle
    linear = forward[:2, :2]
    where = linear[:, 0] * middle[0] + linear[:, 1] * middle[1] + forward[:2, 2]
    reach = np.abs(linear[:, 0]) * half[0] + np.abs(linear[:, 1]) * half[1]
    centre = (frame[:2] + frame[2:]) / 2
    half_size = frame[2:] - centre
    shown: NDArray[np.bool_] = (np.abs(where - centre) < reach + half_size + MARGIN).all(axis=0)
    return shown
