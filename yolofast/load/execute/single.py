"""Samples one at a time, in the caller's thread: what indexing a dataset gives."""

from __future__ import annotations

import os
from typing import Any

from yolofast.load.execute.executor import (
    PlannedDataset,
    final_targets,
    hooked_labels,
    make_batch,
    make_engine,
    render_plan,
)
from yolofast.load.execute.pool import Pool
from yolofast.load.execute.repair import repair
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch

IDLE_BYTES = 256 * 2**20
"""Decoded pictures kept for the samples that may be asked for next."""


class SampleRenderer:
    """Renders samples of one dataset with an engine that each process makes for itself.

    The dataset is an argument, not an attribute: it owns the renderer, and a cycle of the two would keep its
    memory until the garbage collector comes. Pickling leaves the engine behind.
    """

    def __init__(self) -> None:
        self._pool: tuple[int, Pool] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_pool": None}

    def render(
        self, dataset: PlannedDataset, epoch: int, positions: Positions, size: tuple[int, int]
    ) -> Batch:
        """The samples at `positions`, which have one size (height, width).

        Raises `DataError` when too many images are unreadable, `HookError` when a hook fails.
        """
        known = self._pool
        if known is None or known[0] != os.getpid():  # a forked process may inherit locks that stay held
            known = self._pool = os.getpid(), Pool(make_engine(dataset, IDLE_BYTES), threads=0)
        pool, plan = known[1], dataset.plan(epoch, positions, size)
        try:
            jobs = render_plan(pool.engine, plan, hooked=hooked_labels(dataset, plan, epoch, positions))
            plan = repair(dataset, pool, jobs, epoch, positions)
            targets = final_targets(dataset, pool.engine, plan, jobs)
        except BaseException:
            self._pool = None  # its engine may wait for ever for an image whose decoding was interrupted
            raise
        if dataset.cache is not None:
            dataset.cache.report_damage()
        return make_batch(dataset.index, plan, jobs.out, targets)
