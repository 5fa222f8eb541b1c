"""Plans: everything random about a batch, drawn before a pixel is touched.

`plan_batch` makes a `types.BatchPlan`. Mosaic, resize, rotation, zoom, shear, perspective, translation,
flips and letterbox of a tile are one matrix (`geometry`), so an executor writes every output pixel once.
Executors do nothing random: the same plan and images always render to the same pixels.

A *picture* is one layer of a sample: its own image, the mixed-in one (mixup), or the one that shows in
a hole of these (cutmix). All are drawn in the same way, from separate streams, and have one to four tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.config import AugmentConfig
from yolofast.load.plan import draws
from yolofast.load.plan.draws import Stream
from yolofast.load.plan.geometry import (
    Array,
    Warp,
    compose,
    invert,
    letterbox_placement,
    may_show,
    mosaic_placement,
)
from yolofast.types import BatchPlan

TILES = 4
Replace = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]
"""(samples, images) -> what each sample shows in place of each image; arrays of one shape."""

PICTURE_STREAMS = np.arange(Stream.PERSPECTIVE_Y + 1)[:, None]
MIXUP_STREAMS = np.array([[Stream.MIXUP], [Stream.MIXUP_PARTNER]])
CUTMIX_STREAMS = np.arange(Stream.CUTMIX, Stream.HOLE_Y + 1)[:, None]
LAYER_STREAMS = np.array([0, Stream.LAYER_1, Stream.LAYER_2])
RATIO_DRAWS = 63
RATIO_STREAMS = Stream.MIXUP_RATIO + np.arange(RATIO_DRAWS)[:, None]

# Full-range BT.601 (JFIF): what Cb - 128 and Cr - 128 add to R, G and B; Y adds itself.
_KR, _KB = 0.299, 0.114
_KG = 1 - _KR - _KB
_FROM_CB = np.array([0.0, -2 * (1 - _KB) * _KB / _KG, 2 * (1 - _KB)])
_FROM_CR = np.array([2 * (1 - _KR), -2 * (1 - _KR) * _KR / _KG, 0.0])


def plan_batch(
    order: NDArray[np.int64],
    positions: NDArray[np.int64],
    shapes: NDArray[np.integer[Any]],
    size: tuple[int, int],
    augment: AugmentConfig | None,
    *,
    seed: int,
    epoch: int,
    mosaic: bool = True,
    replace: Replace | None = None,
) -> BatchPlan:
    """Draw the plan for `positions` of an epoch.

    The plan of a sample is the same, bit for bit, whatever other samples are planned with it.

    Args:
        order: int64 [n], the epoch's order of image indices.
        positions: int64 [B], positions in that order.
        shapes: int [n, 2], (height, width) of every image, upright.
        size: (height, width) of the output in pixels; square where there may be mosaics.
        augment: None = letterbox only (validation).
        mosaic: False switches mosaic, mixup and cutmix off whatever `augment` says (`close_mosaic`).
        replace: which images samples, numbered from 0, show in place of those of `order`.

    Raises:
        ValueError: mosaics were asked for in an output that is not square.
    """
    if augment is not None and mosaic and augment.mosaic > 0 and size[0] != size[1]:
        raise ValueError(
            f"size: got {size[0]} x {size[1]} with mosaic {augment.mosaic}; a mosaic needs a square output: "
            "pass mosaic=False for rectangular batches."
        )
    samples = np.arange(len(positions))
    images = order[positions] if replace is None else replace(samples, order[positions])
    if augment is None:
        placed = letterbox_placement(shapes[images], size)
        tiles = _Tiles(samples, images, compose(np.eye(3)[:, :, None], placed), placed[4:])
        ones = np.ones(len(images))
        colour = _colour(np.zeros(len(images)), ones, ones)
        return _assemble(size, images, samples, np.zeros_like(samples), tiles, ones, colour)

    mix, hole, main = np.ones(len(images)), None, positions[:, None]
    if mosaic and augment.mixup > 0:
        mix, main = _draw_mixup(positions, len(order), augment, seed, epoch)
    if mosaic and augment.cutmix > 0:
        hole, main = _draw_cutmix(main, len(order), size, augment, seed, epoch)
    sample, layer = np.nonzero(main >= 0)
    where = positions[sample]
    draw = draws.uniform(seed, epoch, where, PICTURE_STREAMS + LAYER_STREAMS[layer])
    is_mosaic = (draw[Stream.MOSAIC] < augment.mosaic) & mosaic
    tile_image = order[main[sample, layer]][:, None]
    if is_mosaic.any():
        share = draw[Stream.PARTNER : Stream.PARTNER + TILES - 1].T
        partners = _partner(where[:, None], share, len(order), augment.mosaic_block)
        tile_image = np.concatenate([tile_image, order[partners]], axis=1)
    if replace is not None:
        tile_image = replace(np.repeat(sample[:, None], tile_image.shape[1], axis=1), tile_image)
    frame = np.array([[0.0], [0.0], [size[1]], [size[0]]])
    if hole is not None:
        frame = np.where(layer == 2, hole[sample].T, frame)
    tiles = _arrange_tiles(draw, augment, size, is_mosaic, tile_image, shapes, frame)
    colour = _draw_colour(draw[Stream.HUE : Stream.VALUE + 1, layer == 0], augment)
    if augment.bgr > 0:
        swapped = draws.uniform(seed, epoch, positions, Stream.BGR) < augment.bgr
        colour[swapped] = colour[swapped, ::-1]
    return _assemble(size, images, sample, layer, tiles, mix, colour, hole)


@dataclass(frozen=True, slots=True)
class _Tiles:
    """T tiles in order: their picture's index [T], image [T], source -> output [3, 3, T], window [4, T]."""

    picture: NDArray[np.int64]
    image: NDArray[np.int64]
    forward: Array
    window: Array


def _assemble(
    size: tuple[int, int],
    images: NDArray[np.int64],
    sample: NDArray[np.int64],
    layer: NDArray[np.int64],
    tiles: _Tiles,
    mix: Array,
    colour: Array,
    hole: NDArray[np.int64] | None = None,
) -> BatchPlan:
    """The plan of pictures that are layer `layer` of sample `sample`."""
    return BatchPlan(
        size=size,
        images=images,
        tile_sample=sample[tiles.picture],
        tile_layer=layer[tiles.picture],
        tile_image=tiles.image,
        tile_matrix=np.ascontiguousarray(invert(tiles.forward).transpose(2, 0, 1)),
        tile_forward=np.ascontiguousarray(tiles.forward.transpose(2, 0, 1)),
        tile_window=np.ascontiguousarray(tiles.window.T),
        mix=mix,
        colour=colour,
        hole=hole,
    )


def _partner(positions: NDArray[np.int64], share: Array, count: int, block: int) -> NDArray[np.int64]:
    """The position of a partner: uniform in the sample's own block of the epoch's order.

    The last block takes the remainder, so no block is smaller than `block`.
    """
    block = min(block, count) or count
    last = count // block - 1
    index = np.minimum(positions // block, last)
    start = index * block
    length = np.where(index == last, count - start, block)
    return start + (share * length).astype(np.int64)


def _draw_mixup(
    positions: NDArray[np.int64], count: int, augment: AugmentConfig, seed: int, epoch: int
) -> tuple[Array, NDArray[np.int64]]:
    """The weight of layer 0 [B], and the main position of both layers [B, 2]; -1 = no such layer.

    The ratio is Beta(32, 32): the 32nd smallest of 63 uniform numbers has exactly that distribution.
    """
    chance, share = draws.uniform(seed, epoch, positions, MIXUP_STREAMS)
    mixed = chance < augment.mixup
    partner = _partner(positions, share, count, augment.mosaic_block)
    middle = RATIO_DRAWS // 2
    uniforms = draws.uniform(seed, epoch, positions[mixed], RATIO_STREAMS)
    mix = np.ones(len(positions))
    mix[mixed] = np.partition(uniforms, middle, axis=0)[middle]
    return mix, np.stack([positions, np.where(mixed, partner, -1)], axis=1)


def _draw_cutmix(
    main: NDArray[np.int64],
    count: int,
    size: tuple[int, int],
    augment: AugmentConfig,
    seed: int,
    epoch: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hole of each sample, int64 [B, 4], and `main` [B, 1 or 2] with layer 2 added: [B, 3].

    Yun et al., "CutMix", ICCV 2019: the hole has the shape of the output, its area is a Beta(1, 1), that is
    uniform, share of it, and its centre is uniform; it is clipped to the output.
    """
    positions = main[:, 0]
    chance, share, area, x, y = draws.uniform(seed, epoch, positions, CUTMIX_STREAMS)
    height, width = size
    side = np.sqrt(area)
    edges = [x - side / 2, y - side / 2, x + side / 2, y + side / 2]
    hole = np.rint(np.clip(edges, 0, 1).T * [width, height, width, height]).astype(np.int64)
    cut = (chance < augment.cutmix) & (hole[:, 2:] > hole[:, :2]).all(axis=1)
    hole[~cut] = 0
    layers = np.full((len(positions), 3), -1)
    layers[:, : main.shape[1]] = main
    layers[:, 2] = np.where(cut, _partner(positions, share, count, augment.mosaic_block), -1)
    return hole, layers


def _arrange_tiles(
    draw: Array,
    augment: AugmentConfig,
    size: tuple[int, int],
    is_mosaic: NDArray[np.bool_],
    tile_image: NDArray[np.int64],
    shapes: NDArray[Any],
    frame: Array,
) -> _Tiles:
    """The tiles of P pictures that have slots `tile_image` [P, 1 or 4]; a picture alone uses the first.

    `frame` [4, P or 1] is the part of the output in which each shows.
    """
    alone = np.flatnonzero(~is_mosaic)
    used = np.ones(tile_image.shape, dtype=bool)
    if len(alone) == len(is_mosaic):
        placed = letterbox_placement(shapes[tile_image[:, 0]], size)[:, :, None]
    else:
        # The centre is uniform in [S/2, 3S/2] of the 2S canvas.
        centre = (draw[Stream.CENTRE_X : Stream.CENTRE_Y + 1] + 0.5) * size[0]
        placed = mosaic_placement(shapes[tile_image], centre, size[0])
        placed[:, alone, 0] = letterbox_placement(shapes[tile_image[alone, 0]], size)
        used[alone, 1:] = False
    used &= (placed[6:8] > placed[4:6]).all(axis=0)
    picture, slot = np.nonzero(used)

    # A mosaic's canvas is twice as large as the output.
    half = np.where(is_mosaic, 1.0, 0.5)
    warp = _draw_warp(draw, augment).matrices(half * size[1], half * size[0], size)
    placed = placed[:, picture, slot]
    forward = compose(warp[:, :, picture], placed)
    if not augment.perspective:
        frame = frame[:, picture] if frame.shape[1] > 1 else frame
        shown = np.flatnonzero(may_show(forward, placed[4:], frame))
        picture, slot, placed, forward = picture[shown], slot[shown], placed[:, shown], forward[:, :, shown]
    return _Tiles(picture, tile_image[picture, slot], forward, placed[4:])


def _draw_warp(draw: Array, augment: AugmentConfig) -> Warp:
    spread = 2 * draw - 1
    return Warp(
        angle=np.deg2rad(spread[Stream.ROTATE] * augment.degrees),
        zoom=1 + spread[Stream.ZOOM] * augment.scale,
        shear_x=np.tan(np.deg2rad(spread[Stream.SHEAR_X] * augment.shear)),
        shear_y=np.tan(np.deg2rad(spread[Stream.SHEAR_Y] * augment.shear)),
        translate_x=0.5 + spread[Stream.TRANSLATE_X] * augment.translate,
        translate_y=0.5 + spread[Stream.TRANSLATE_Y] * augment.translate,
        perspective_x=spread[Stream.PERSPECTIVE_X] * augment.perspective,
        perspective_y=spread[Stream.PERSPECTIVE_Y] * augment.perspective,
        flip_lr=draw[Stream.FLIP_LR] < augment.fliplr,
        flip_ud=draw[Stream.FLIP_UD] < augment.flipud,
    )


def _draw_colour(draw: Array, augment: AugmentConfig) -> Array:
    """Colour maps [B, 3, 4] from the hue, saturation and value draws [3, B]."""
    hue, saturation, value = 2 * draw - 1
    return _colour(2 * np.pi * hue * augment.hsv_h, 1 + saturation * augment.hsv_s, 1 + value * augment.hsv_v)


def _colour(angle: Array, saturation: Array, value: Array) -> Array:
    """(Y, Cb, Cr, 1) -> (R, G, B) [B, 3, 4]: gains and a turn of the chroma plane, then to RGB."""
    chroma = value * saturation
    along, across = (chroma * np.cos(angle))[:, None], (chroma * np.sin(angle))[:, None]
    colour = np.empty((len(angle), 3, 4))
    colour[:, :, 0] = value[:, None]
    colour[:, :, 1] = along * _FROM_CB + across * _FROM_CR
    colour[:, :, 2] = along * _FROM_CR - across * _FROM_CB
    colour[:, :, 3] = -128 * (colour[:, :, 1] + colour[:, :, 2])
    return colour
