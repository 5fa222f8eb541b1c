"""What rendering a plan means, in float64: the definition that every executor is held to.

A point of the output is taken back to each tile's source by the tile's matrix, and from there to the
decoded planes by the picture's `place`. The planes are sampled there, each at its own resolution, and the
sample's colour matrix makes RGB of them; nothing is rounded before the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels.reference.image import sample_bilinear
from yolofast.types import SUBSAMPLING_FACTORS, BatchPlan, Picture, Ycc

Array = NDArray[np.float64]

FILL = 114.0
NO_COLOUR = 128.0  # the level of Cb and Cr in a gray picture


def owned_pixels(matrix: NDArray[Any], window: NDArray[Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which output pixels a tile owns, bool [height, width] of `size`: centres on this side of the horizon
    whose source point lies in the half-open `window`.

    Exact, in this order of operations and without fused multiply-add: an executor must agree on every
    pixel. The perspective division is multiplied out, so along a row each edge is one linear inequality.
    """
    u = np.arange(size[1]) + 0.5
    v = (np.arange(size[0]) + 0.5)[:, None]
    third = matrix[2, 1] * v + matrix[2, 2]
    owned: NDArray[np.bool_] = matrix[2, 0] * u + third > 0
    for axis in range(2):
        m = matrix[axis]
        for edge, upper in ((window[axis], False), (window[2 + axis], True)):
            a = m[0] - edge * matrix[2, 0]
            b = (m[1] * v + m[2]) - edge * third
            owned &= (a * u + b < 0) if upper else (a * u + b >= 0)
    return owned


def sample_planes(picture: Picture, x: Array, y: Array) -> Array:
    """(Y, Cb, Cr) float64 [..., 3] of a picture at points (x, y) [...] of its upright, full-size form."""
    ycc = picture.ycc
    place = picture.place
    column = place[0, 0] * x + place[0, 1] * y + place[0, 2]
    row = place[1, 0] * x + place[1, 1] * y + place[1, 2]
    out = np.full((*x.shape, 3), NO_COLOUR)
    out[..., 0] = sample_bilinear(ycc.y[..., None], column, row)[..., 0]
    if ycc.cb is not None and ycc.cr is not None:
        across, down = SUBSAMPLING_FACTORS[ycc.subsampling]
        chroma = np.stack([ycc.cb, ycc.cr], axis=-1)
        out[..., 1:] = sample_bilinear(chroma, column / across, row / down)
    return out


def render(
    plan: BatchPlan, images: Mapping[int, Picture | Ycc] | Sequence[Picture | Ycc]
) -> NDArray[np.uint8]:
    """The samples of a plan, uint8 [B, 3, H, W] RGB.

    Args:
        plan: what to render.
        images: the picture of each image that `plan.tile_image` names; planes alone stand for
            `Picture.of` them.

    Within a layer a later tile overwrites an earlier one; what no tile owns is 114. In its hole, a sample
    shows layer 2, elsewhere the mix of the other two. Values are rounded once, at the end, halves up.
    """
    height, width = plan.size
    layers = np.full((3, len(plan), height, width, 3), FILL)
    for tile in range(len(plan.tile_sample)):
        sample, source = int(plan.tile_sample[tile]), images[int(plan.tile_image[tile])]
        picture = Picture.of(source) if isinstance(source, Ycc) else source
        m = plan.tile_matrix[tile]
        owned = owned_pixels(m, plan.tile_window[tile], plan.size)
        row, column = np.nonzero(owned)
        u, v = column + 0.5, row + 0.5
        x, y, third = (m[i, 0] * u + m[i, 1] * v + m[i, 2] for i in range(3))
        colour = plan.colour[sample]
        rgb = sample_planes(picture, x / third, y / third) @ colour[:, :3].T + colour[:, 3]
        layers[plan.tile_layer[tile], sample, row, column] = rgb.clip(0.0, 255.0)
    mix = plan.mix[:, None, None, None]
    blended = np.where(mix == 1, layers[0], mix * layers[0] + (1 - mix) * layers[1])
    for sample, (x0, y0, x1, y1) in enumerate(plan.holes):
        blended[sample, y0:y1, x0:x1] = layers[2, sample, y0:y1, x0:x1]
    return np.ascontiguousarray(np.floor(blended + 0.5).astype(np.uint8).transpose(0, 3, 1, 2))
