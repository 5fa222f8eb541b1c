"""The executor that renders plans on the CPU: in the engine's threads, into memory that is used again."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.load.dataset import YOLODataset
from yolofast.load.execute._engine import RenderJobs
from yolofast.load.execute.executor import Block
from yolofast.load.execute.pool import Pool
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch


class _Pending(NamedTuple):
    """A batch in work."""

    positions: Positions
    jobs: RenderJobs


class CpuExecutor:
    """Renders batches ahead, `prefetch` of them in work or ready.

    dataset   what the plans are of
    prefetch  batches in work or ready
    tensors   yield torch tensors that share the arrays' memory
    pinned    with `tensors`: batches in page-locked memory
    """

    def __init__(self, dataset: YOLODataset, prefetch: int, *, tensors: bool, pinned: bool) -> None:
        self.dataset, self.prefetch = dataset, prefetch
        self.tensors, self.pinned = tensors, tensors and pinned
        self._buffers = _Buffers(prefetch + 2)

    def batches(
        self, pool: Pool, epoch: int, blocks: Iterator[Block], monitor: DataFlowMonitor | None
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch's blocks: see `Executor`."""
        pending: deque[_Pending] = deque()
        submitted = self._submit_all(pool, blocks)
        exhausted = False
        while True:
            pool.check()
            while not exhausted and len(pending) < self.prefetch:
                following = next(submitted, None)
                exhausted = following is None
                if following is not None:
                    pending.append(following)
            if not pending:
                return
            yield self._finish(pool, epoch, pending, monitor)

    def _submit_all(self, pool: Pool, blocks: Iterator[Block]) -> Iterator[_Pending]:
        """The batches, each submitted when it is asked for."""
        for block in blocks:
            for _, plan in block:
                pool.engine.expect(plan.tile_image)
            for positions, plan in block:
                out = self._buffers.take((len(plan), 3, *plan.size), pinned=self.pinned)
                jobs = RenderJobs(plan, out)
                pool.submit(jobs)
                yield _Pending(positions, jobs)

    def _finish(
        self, pool: Pool, epoch: int, pending: deque[_Pending], monitor: DataFlowMonitor | None
    ) -> Batch:
        """Wait for the oldest batch in work."""
        started = time.perf_counter()
        positions, jobs = pending[0]
        pool.finish(jobs)
        plan = self.dataset.mend(pool.engine, jobs, epoch, positions) if jobs.failures() else jobs.plan
        waited = time.perf_counter() - started
        batch = self.dataset.batch_of(plan, jobs.out)
        labelled = time.perf_counter() - started - waited
        if monitor is not None:
            ready = sum(pool.is_done(each.jobs) for each in pending)
            stages = jobs.seconds() | {"labels": labelled}
            monitor.record_batch(len(batch), wait_s=waited, queue_depth=ready, stages=stages)
        pending.popleft()
        return self._as_tensors(batch) if self.tensors else batch

    def _as_tensors(self, batch: Batch) -> Batch:
        from yolofast.load.torch_dataloader import as_tensors

        return as_tensors(batch)


class _Buffers:
    """Memory for batches, used again when nobody holds it any more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lent: list[tuple[memoryview, weakref.ref[NDArray[np.uint8]]]] = []

    def take(self, shape: tuple[int, ...], *, pinned: bool) -> NDArray[np.uint8]:
        """A uint8 array of `shape` that nobody else holds."""
        if pinned:
            import torch

            # torch's allocator keeps page-locked memory itself, and knows which copies still read it.
            return np.asarray(torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy())
        size = int(np.prod(shape))
        free = (at for at, (memory, user) in enumerate(self._lent) if user() is None and len(memory) >= size)
        at = next(free, None)
        memory = np.empty(size, dtype=np.uint8).data if at is None else self._lent.pop(at)[0]
        # Views of this array, and views of those, hold the array itself, because what it shows is no array.
        array = np.frombuffer(memory, dtype=np.uint8, count=size)
        self._lent.append((memory, weakref.ref(array)))
        del self._lent[: -self._most]  # whoever still holds one keeps it
        return array.reshape(shape)
