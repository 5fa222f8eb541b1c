"""The executor that renders plans on the CPU: in the engine's threads, into reused memory."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.load.execute._engine import RenderJobs
from yolofast.load.execute.executor import Block, PlannedDataset, final_targets, hooked_labels, make_batch
from yolofast.load.execute.pool import Pool
from yolofast.load.execute.repair import repair
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch


class _Pending(NamedTuple):
    """A batch that the threads render."""

    positions: Positions
    jobs: RenderJobs
    labels_s: float
    """Seconds spent on its labels before they were rendered."""


class CpuExecutor:
    """Prefetches batches, rendered in the pool's threads.

    dataset   the plans are about its images
    prefetch  batches being rendered or ready
    tensors   yield torch tensors that share the arrays' memory
    pinned    with `tensors`: batches in page-locked memory
    """

    def __init__(self, dataset: PlannedDataset, prefetch: int, *, tensors: bool, pinned: bool) -> None:
        self.dataset, self.prefetch = dataset, prefetch
        self.tensors, self.pinned = tensors, tensors and pinned
        self._buffers = _Buffers(prefetch + 2)

    def batches(
        self, pool: Pool, epoch: int, blocks: Iterator[Block], monitor: DataFlowMonitor | None
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch's blocks: see `Executor`."""
        pending: deque[_Pending] = deque()
        submitted = self._submit(pool, epoch, blocks)
        while True:
            pool.check()
            pending.extend(islice(submitted, self.prefetch - len(pending)))
            if not pending:
                return
            yield self._finish(pool, epoch, pending, monitor)

    def _submit(self, pool: Pool, epoch: int, blocks: Iterator[Block]) -> Iterator[_Pending]:
        """The batches in order, each submitted when the next one is requested."""
        for block in blocks:
            for _, plan in block:
                pool.engine.expect(plan.tile_image)
            for positions, plan in block:
                out = self._buffers.take((len(plan), 3, *plan.size), pinned=self.pinned)
                started = time.perf_counter()
                hooked = hooked_labels(self.dataset, plan, epoch, positions)
                labelled = time.perf_counter() - started
                jobs = RenderJobs(plan, out, hooked)
                pool.submit(jobs)
                yield _Pending(positions, jobs, labelled)

    def _finish(
        self, pool: Pool, epoch: int, pending: deque[_Pending], monitor: DataFlowMonitor | None
    ) -> Batch:
        """Wait for the oldest pending batch."""
        positions, jobs, labelled = pending[0]
        ready = 0 if monitor is None else sum(pool.is_done(each.jobs) for each in pending)
        started = time.perf_counter()
        pool.finish(jobs)
        plan = repair(self.dataset, pool, jobs, epoch, positions)
        waited = time.perf_counter() - started
        targets = final_targets(self.dataset, pool.engine, plan, jobs)
        batch = make_batch(self.dataset.index, plan, jobs.out, targets)
        labelled += time.perf_counter() - started - waited
        if monitor is not None:
            stages = jobs.seconds() | {"labels": labelled}
            monitor.record_batch(len(batch), wait_s=waited, queue_depth=ready, stages=stages)
        pending.popleft()
        return self._as_tensors(batch) if self.tensors else batch

    def _as_tensors(self, batch: Batch) -> Batch:
        from yolofast.load.tensors import as_tensors

        return as_tensors(batch)


class _Buffers:
    """Memory for batches, reused when nobody holds it any more."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lent: list[tuple[memoryview, weakref.ref[NDArray[np.uint8]]]] = []

    def take(self, shape: tuple[int, ...], *, pinned: bool) -> NDArray[np.uint8]:
        """An uninitialised uint8 array of `shape` that nobody else holds."""
        if pinned:
            import torch

            # torch's allocator keeps page-locked memory itself, and knows which copies still read it.
            return np.asarray(torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy())
        size = int(np.prod(shape))
        free = (at for at, (memory, user) in enumerate(self._lent) if user() is None and len(memory) >= size)
        at = next(free, None)
        memory = np.empty(size, dtype=np.uint8).data if at is None else self._lent.pop(at)[0]
        # Views of this array, and views of those, hold the array itself, because its memory is not an array.
        array = np.frombuffer(memory, dtype=np.uint8, count=size)
        self._lent.append((memory, weakref.ref(array)))
        del self._lent[: -self._count]  # an array that is still held keeps its memory
        return array.reshape(shape)
