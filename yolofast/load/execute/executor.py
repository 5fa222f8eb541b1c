"""What an executor is to a loader: plans in, batches out, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Protocol

from yolofast.load.execute.pool import Pool
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch, BatchPlan

Block = list[tuple[Positions, BatchPlan]]
"""Batches whose samples share images: the positions and the plan of each."""


class Executor(Protocol):
    """Who turns plans into pixels."""

    def batches(
        self, pool: Pool, epoch: int, blocks: Iterator[Block], monitor: DataFlowMonitor | None
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch's blocks. The engine's threads may still be at work for it when it ends or
        is closed: the pool is to be reset then."""
