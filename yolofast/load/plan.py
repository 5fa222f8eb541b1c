"""Plans: everything random about a batch, drawn before a pixel is touched.

A `BatchPlan` is plain numpy. Each *tile* is one source image that contributes pixels to one
sample: a matrix that takes an output pixel to that image's pixel, and the window of the source
that the tile shows. Mosaic, resize, rotation, zoom, shear, translation, flips and letterbox are
all in that one matrix, so an executor writes every output pixel once. Executors do nothing
random; a plan with the same inputs always renders to the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.config import AugmentConfig
from yolofast.load import draws
from yolofast.types import Letterbox

TILES = 4

Draw = Callable[[int], NDArray[np.float64]]
"""Uniform numbers of a stream, one a sample."""


class Stream(IntEnum):
    """Which draw of a sample; a stream is never reused for another purpose."""

    MOSAIC = 0
    CENTRE_X = 1
    CENTRE_Y = 2
    PARTNER = 3  # 3, 4, 5: the other three tiles
    ROTATE = 6
    ZOOM = 7
    SHEAR_X = 8
    SHEAR_Y = 9
    TRANSLATE_X = 10
    TRANSLATE_Y = 11
    FLIP_UD = 12
    FLIP_LR = 13
    HUE = 14
    SATURATION = 15
    VALUE = 16


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How to render B samples of one size from T tiles. Pixel-edge coordinates throughout.

    size          (height, width) of the output
    images        int64 [B]        the image each sample is about (its path and original shape)
    tile_sample   int64 [T]        ascending: the sample each tile belongs to
    tile_image    int64 [T]        the image each tile is cut from
    tile_matrix   float64 [T,2,3]  output point -> source point (of the upright image)
    tile_forward  float64 [T,2,3]  source point -> output point (for the labels)
    tile_window   float64 [T,4]    x0, y0, x1, y1 in source pixels: what the tile may show
    colour        float64 [B,3,4]  jitter as an affine map of (Y, Cb, Cr), 0..255
    """

    size: tuple[int, int]
    images: NDArray[np.int64]
    tile_sample: NDArray[np.int64]
    tile_image: NDArray[np.int64]
    tile_matrix: NDArray[np.float64]
    tile_forward: NDArray[np.float64]
    tile_window: NDArray[np.float64]
    colour: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)


def plan_batch(
    order: NDArray[np.int64],
    positions: NDArray[np.int64],
    shapes: NDArray[np.integer[Any]],
    size: int,
    augment: AugmentConfig | None,
    *,
    seed: int,
    epoch: int,
    mosaic: bool = True,
) -> BatchPlan:
    """Draw the plan for `positions` of an epoch.

    order      int64 [n]    the epoch's order of image indices
    positions  int64 [B]    positions in that order
    shapes     int [n, 2]   (height, width) of every image
    size       side of the square output in pixels
    augment    None = letterbox only (validation)
    mosaic     False switches mosaics off whatever `augment` says (`close_mosaic`)
    """
    images = order[positions]
    if augment is None:
        forward = _letterbox(shapes[images], size)
        window = _full_window(shapes[images])
        identity = np.broadcast_to(np.eye(3, 4), (len(images), 3, 4))
        return _assemble(size, images, np.arange(len(images)), images, forward, window, identity)

    def draw(stream: int) -> NDArray[np.float64]:
        return draws.uniform(seed, epoch, positions, stream)

    is_mosaic = (draw(Stream.MOSAIC) < augment.mosaic) & mosaic
    warp = _random_affine(draw, augment, size, is_mosaic)

    # Four tile slots a sample; a sample without mosaic uses only the first.
    tile_image = np.repeat(images[:, None], TILES, axis=1)
    for tile in range(1, TILES):
        share = draw(Stream.PARTNER + tile - 1)
        tile_image[:, tile] = order[_partner(positions, share, len(order), augment.mosaic_block)]
    slot_shapes = shapes[tile_image].astype(np.float64)
    place, window = _mosaic_placement(draw, slot_shapes, size)
    single = ~is_mosaic
    place[single, 0] = _letterbox(shapes[images[single]], size)
    window[single, 0] = _full_window(shapes[images[single]])

    used = np.ones(tile_image.shape, dtype=bool)
    used[single, 1:] = False
    used &= (window[..., 2] > window[..., 0]) & (window[..., 3] > window[..., 1])
    sample = np.repeat(np.arange(len(images))[:, None], TILES, axis=1)[used]
    forward = _compose(warp[sample], place[used])
    return _assemble(
        size, images, sample, tile_image[used], forward, window[used], _colour_jitter(draw, augment)
    )


def _assemble(
    size: int,
    images: NDArray[np.int64],
    sample: NDArray[np.int64],
    tile_image: NDArray[np.int64],
    forward: NDArray[np.float64],
    window: NDArray[np.float64],
    colour: NDArray[np.float64],
) -> BatchPlan:
    return BatchPlan((size, size), images, sample, tile_image, _invert(forward), forward, window, colour)


def _partner(
    positions: NDArray[np.int64], share: NDArray[np.float64], count: int, block: int
) -> NDArray[np.int64]:
    """The position of a mosaic partner: uniform in the sample's own block of the epoch's order.

    The last block takes the remainder, so no block is smaller than `block`.
    """
    block = min(block, count) or count
    index = np.minimum(positions // block, count // block - 1)
    start = index * block
    length = np.where(index == count // block - 1, count - start, block)
    return start + (share * length).astype(np.int64)


def _letterbox(shapes: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Source -> output matrices [B, 2, 3] of the centred letterbox (`types.Letterbox.fit`)."""
    matrices = np.zeros((len(shapes), 2, 3))
    for matrix, (height, width) in zip(matrices, shapes, strict=True):
        fit = Letterbox.fit((int(height), int(width)), (size, size))
        inner_h, inner_w = fit.inner
        matrix[:] = [[inner_w / width, 0, fit.pad_x], [0, inner_h / height, fit.pad_y]]
    return matrices


def _full_window(shapes: NDArray[Any]) -> NDArray[np.float64]:
    window = np.zeros((len(shapes), 4))
    window[:, 2:] = shapes[:, ::-1]
    return window


def _mosaic_placement(
    draw: Draw, shapes: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source -> canvas matrices [B, 4, 2, 3] and source windows [B, 4, 4].

    The canvas is 2S x 2S; the four pictures meet at a centre drawn in [S/2, 3S/2] and each long
    side becomes S. What leaves the canvas is cut off.
    """
    centre = np.stack([draw(Stream.CENTRE_X), draw(Stream.CENTRE_Y)], axis=1) * size + size / 2
    extent = shapes[..., ::-1]  # [B, 4, (w, h)]
    gain = size / extent.max(axis=2, keepdims=True)
    before = np.array([[1, 1], [0, 1], [1, 0], [0, 0]])  # tile lies left of / above the centre
    offset = centre[:, None, :] - before * extent * gain
    place = np.zeros((*shapes.shape[:2], 2, 3))
    place[..., 0, 0] = place[..., 1, 1] = gain[..., 0]
    place[..., 2] = offset
    low = np.clip(-offset / gain, 0, extent)
    high = np.clip((2 * size - offset) / gain, 0, extent)
    return place, np.concatenate([low, high], axis=2)


def _random_affine(
    draw: Draw, augment: AugmentConfig, size: int, is_mosaic: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Canvas -> output matrices [B, 2, 3]: centre, rotate and zoom, shear, translate, flip."""

    def spread(stream: int, width: float) -> NDArray[np.float64]:
        return (2 * draw(stream) - 1) * width

    count = len(is_mosaic)
    centre = np.where(is_mosaic, size, size / 2)
    angle = np.deg2rad(spread(Stream.ROTATE, augment.degrees))
    zoom = 1 + spread(Stream.ZOOM, augment.scale)
    rotate = np.zeros((count, 2, 3))
    rotate[:, 0, 0] = rotate[:, 1, 1] = zoom * np.cos(angle)
    rotate[:, 0, 1], rotate[:, 1, 0] = zoom * np.sin(angle), -zoom * np.sin(angle)
    rotate[:, :, 2] = -(rotate[:, :, 0] + rotate[:, :, 1]) * centre[:, None]

    shear = np.zeros((count, 2, 3))
    shear[:, 0, 0] = shear[:, 1, 1] = 1
    shear[:, 0, 1] = np.tan(np.deg2rad(spread(Stream.SHEAR_X, augment.shear)))
    shear[:, 1, 0] = np.tan(np.deg2rad(spread(Stream.SHEAR_Y, augment.shear)))
    shear[:, 0, 2] = (0.5 + spread(Stream.TRANSLATE_X, augment.translate)) * size
    shear[:, 1, 2] = (0.5 + spread(Stream.TRANSLATE_Y, augment.translate)) * size

    flip = np.zeros((count, 2, 3))
    for axis, (stream, chance) in enumerate(
        [(Stream.FLIP_LR, augment.fliplr), (Stream.FLIP_UD, augment.flipud)]
    ):
        flipped = draw(stream) < chance
        flip[:, axis, axis] = np.where(flipped, -1, 1)
        flip[:, axis, 2] = np.where(flipped, size, 0)
    return _compose(flip, _compose(shear, rotate))


# Full-range BT.601 (JFIF): RGB -> YCbCr, as a homogeneous map; chroma is centred on 128.
_KR, _KB = 0.299, 0.114
_KG = 1 - _KR - _KB
_TO_YCC = np.array(
    [
        [_KR, _KG, _KB, 0],
        [-_KR / (2 - 2 * _KB), -_KG / (2 - 2 * _KB), 0.5, 128],
        [0.5, -_KG / (2 - 2 * _KR), -_KB / (2 - 2 * _KR), 128],
        [0, 0, 0, 1],
    ]
)
_TO_RGB = np.linalg.inv(_TO_YCC)


def _colour_jitter(draw: Draw, augment: AugmentConfig) -> NDArray[np.float64]:
    """Value gain, saturation gain and hue rotation as one affine map of (Y, Cb, Cr) [B, 3, 4]."""
    angle = 2 * np.pi * (2 * draw(Stream.HUE) - 1) * augment.hsv_h
    value = 1 + (2 * draw(Stream.VALUE) - 1) * augment.hsv_v
    chroma = value * (1 + (2 * draw(Stream.SATURATION) - 1) * augment.hsv_s)
    jitter = np.zeros((len(angle), 3, 4))
    jitter[:, 0, 0] = value
    jitter[:, 1, 1] = jitter[:, 2, 2] = chroma * np.cos(angle)
    jitter[:, 1, 2], jitter[:, 2, 1] = -chroma * np.sin(angle), chroma * np.sin(angle)
    jitter[:, 1:, 3] = 128 - 128 * jitter[:, 1:, 1:3].sum(axis=2)
    return jitter


def colour_on_rgb(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """A (Y, Cb, Cr) map [3, 4] as the same map of (R, G, B) [3, 4]."""
    homogeneous = np.vstack([colour, [0, 0, 0, 1]])
    return np.ascontiguousarray((_TO_RGB @ homogeneous @ _TO_YCC)[:3])


def _compose(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """`outer(inner(x))` for affine matrices [..., 2, 3]."""
    out: NDArray[np.float64] = outer[..., :2] @ inner
    out[..., 2] += outer[..., 2]
    return out


def _invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)
