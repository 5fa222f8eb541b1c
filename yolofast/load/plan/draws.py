"""Counter-based randomness: a draw is a pure function of (seed, epoch, position, stream).

Nothing is stateful, so any sample of any epoch can be drawn alone, in any order, by any process, with the
same result. The mixer is the SplitMix64 finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom
number generators", OOPSLA 2014), applied once per part of the key.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Stream(IntEnum):
    """Every random stream of the loader. A number is never reused for another purpose: samples would change.

    The position of a draw is the sample's, unless a comment says otherwise.
    """

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
    PERSPECTIVE_X = 17
    PERSPECTIVE_Y = 18
    MIXUP = 19
    MIXUP_PARTNER = 20
    LAYER_1 = 64  # 64 + any of 0 to 18: the same draw for the mixed-in picture
    MIXUP_RATIO = 128  # 128 to 190: their median is the ratio
    BGR = 256
    CUTMIX = 257
    CUTMIX_PARTNER = 258
    HOLE_AREA = 259
    HOLE_X = 260
    HOLE_Y = 261
    LAYER_2 = 320  # 320 + any of 0 to 18: the same draw for the picture in the hole
    BATCH_SIDE = 0xFFFE  # side of a multi-scale batch; the position is the batch's number
    ORDER = 0xFFFF  # sort keys of the epoch's order; the position is the image's index
    HOOK = 0x10000  # and above: draw j of hook i is HOOK + MAX_HOOK_DRAWS * i + j


MAX_HOOK_DRAWS = 4096
"""Random numbers that one hook can have per sample."""


def bits(seed: int, epoch: int, position: Any, stream: Any) -> NDArray[np.uint64]:
    """64 random bits for each (position, stream); the two broadcast against each other."""
    with np.errstate(over="ignore"):
        key = np.array([seed], dtype=np.uint64)
        for part in (epoch, position, stream):
            key = _mix(key * _GOLDEN + np.asarray(part, dtype=np.uint64) + _GOLDEN)
        return _mix(key)


def uniform(seed: int, epoch: int, position: Any, stream: Any) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) with 53 random bits, one for each (position, stream)."""
    return (bits(seed, epoch, position, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The epoch's order of `count` images, int64 [count]."""
    keys = bits(seed, epoch, np.arange(count, dtype=np.uint64), np.uint64(Stream.ORDER))
    return np.argsort(keys, kind="stable").astype(np.int64)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))
