"""Which positions of an epoch each rank gets, and which are left when a run resumes with more or fewer ranks.

Ranks get whole blocks of positions, because the samples of a block share their images. Blocks that do not
make a full round, and the rest of partly taken blocks, are split in equal parts. Every position goes to
exactly one rank, and no rank has more than one `unit` more than another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEFAULT_BLOCK = 256

Positions = NDArray[np.int64]


def shard_positions(positions: Positions, world_size: int, block: int, unit: int = 1) -> list[Positions]:
    """The shards of ascending `positions`: one array per rank, ascending.

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
    shards = []
    for rank in range(world_size):
        whole = [blocks[number] for number in full[rank::world_size]]
        shards.append(np.sort(np.concatenate([*whole, rest[ends[rank] : ends[rank + 1]]])))
    return shards


def remaining_positions(
    count: int, stages: Sequence[tuple[int, int]], block: int, unit: int = 1
) -> Positions:
    """The positions of an epoch of `count` that are left, ascending.

    `stages`: (ranks, samples that each rank took) of every stretch of the epoch so far; what one stage left
    was sharded anew for the next.
    """
    left = np.arange(count, dtype=np.int64)
    for world_size, taken in stages:
        shards = [shard[taken:] for shard in shard_positions(left, world_size, block, unit)]
        left = np.sort(np.concatenate(shards))
    return left
