"""Which positions of an epoch each rank gets, and which are left when a run goes on with more or fewer ranks.

Ranks are dealt whole blocks of positions, because a block's samples share their images. What does not make
a full round, and what is left of blocks that were begun, is dealt in equal parts. Every position goes to
exactly one rank, and no rank has more than one `unit` more than another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEFAULT_BLOCK = 256

Positions = NDArray[np.int64]


def deal(positions: Positions, world_size: int, block: int, unit: int = 1) -> list[Positions]:
    """Share out ascending `positions`; the result has one array a rank, ascending.

    block  positions [k * block, (k + 1) * block) are one block
    unit   parts of the remainder begin at multiples of this many positions
    """
    if world_size == 1:
        return [positions]
    blocks = np.split(positions, np.flatnonzero(np.diff(positions // block)) + 1)
    full = [number for number, each in enumerate(blocks) if len(each) == block]
    full = full[: len(full) // world_size * world_size]
    rest = np.concatenate([positions[:0], *(blocks[n] for n in sorted(set(range(len(blocks))) - set(full)))])
    units = -(-len(rest) // unit)
    ends = np.minimum((np.arange(world_size + 1) * units // world_size) * unit, len(rest))
    parts = []
    for rank in range(world_size):
        whole = [blocks[number] for number in full[rank::world_size]]
        parts.append(np.sort(np.concatenate([*whole, rest[ends[rank] : ends[rank + 1]]])))
    return parts


def remaining(count: int, dealt: Sequence[tuple[int, int]], block: int, unit: int = 1) -> Positions:
    """The positions of an epoch of `count` left after `dealt`: pairs (ranks, samples each has taken)."""
    left = np.arange(count, dtype=np.int64)
    for world_size, taken in dealt:
        parts = [part[taken:] for part in deal(left, world_size, block, unit)]
        left = np.sort(np.concatenate(parts))
    return left
