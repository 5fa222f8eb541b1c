"""Loader: batches of a `YOLODataset`, rendered ahead by a pool of native threads.

The consumer's own thread plans (that is quick) and hands the plans to the pool; no process is started and
nothing is copied. What is prefetched is bounded by `prefetch` batches; memory for batches is used again once
the consumer has let go of them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.config import at_least
from yolofast.errors import ConfigError, DataError, YolofastError
from yolofast.load._engine import Engine, RenderJobs
from yolofast.load.dataset import YOLODataset
from yolofast.load.dealing import DEFAULT_BLOCK, Positions, deal, remaining
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.sizes import FixedSize, RectangularSizes
from yolofast.types import Batch, BatchPlan

MAX_THREADS = 16
WAIT_SLICE_S = 0.1  # how long Ctrl-C may have to wait


class _Pending(NamedTuple):
    """A batch in work."""

    positions: Positions
    jobs: RenderJobs


class Loader:
    """Iterates over the batches of an epoch; when it came to the end, the next iteration is the next epoch's.

    An iteration that is left early starts over next time; only a loaded state goes on in the middle.

    dataset      what to load
    batch_size   samples a batch
    threads      of the pool; 0 = load in the consumer's thread; default one a core, at most 16
    prefetch     batches in work or ready
    drop_last    leave out a last batch that is not full; with several ranks, all have as many batches
    rank, world_size  this process's share: every position goes to exactly one rank, and samples do not
                 depend on the number of ranks
    tensors      yield torch tensors (zero copy) instead of numpy arrays
    pin_memory   with `tensors`: batches in page-locked memory
    monitor      takes in times, queue depth and memory

    Samples and their order depend only on the dataset's seed, the epoch and the position: not on threads,
    `prefetch`, or where a run was interrupted (`state_dict`). The pool stops when the loader is closed,
    collected or the interpreter exits. After a fork the child gets a pool of its own.

    Raises `DataError` from iteration when too many images are unreadable.
    """

    def __init__(
        self,
        dataset: YOLODataset,
        batch_size: int = 16,
        *,
        threads: int | None = None,
        prefetch: int = 4,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        tensors: bool = False,
        pin_memory: bool = False,
        monitor: DataFlowMonitor | None = None,
    ) -> None:
        threads = min(MAX_THREADS, os.cpu_count() or 1) if threads is None else threads
        at_least(
            batch_size=(batch_size, 1),
            threads=(threads, 0),
            prefetch=(prefetch, 1),
            world_size=(world_size, 1),
            rank=(rank, 0),
        )
        if rank >= world_size:
            raise ConfigError(f"rank: got {rank}, expected less than the world_size of {world_size}.")
        if not isinstance(dataset.sizes, FixedSize) and dataset.batch != batch_size:
            raise ConfigError(
                f"batch_size: got {batch_size}, but the dataset's sizes are for batches of {dataset.batch}. "
                "Make them equal."
            )
        self.dataset, self.batch_size, self.threads = dataset, batch_size, threads
        self.prefetch, self.drop_last = prefetch, drop_last
        self.rank, self.world_size = rank, world_size
        self.tensors, self.pin_memory, self.monitor = tensors, pin_memory, monitor
        self.epoch = 0
        self._dealt: list[tuple[int, int]] = []  # how this epoch was dealt before this loader took it on
        self._taken = 0  # samples of this epoch that the consumer has taken; a short batch counts as full
        self._pool: _Pool | None = None
        self._end_pool: weakref.finalize[..., Any] | None = None
        self._buffers = _Buffers(prefetch + 2)
        self._active: weakref.ref[Iterator[Batch]] | None = None

    # ------------------------------------------------------------ protocol

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self._batches([]))

    def __iter__(self) -> Iterator[Batch]:
        self._end_iteration()
        self._taken = 0
        iterator = self._iterate()
        self._active = weakref.ref(iterator)
        return iterator

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. The epoch of a loaded state goes on where it was."""
        at_least(epoch=(epoch, 0))
        if epoch != self.epoch:
            self.epoch, self._dealt, self._taken = epoch, [], 0

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer is: plain numbers, the same on every rank.

        A loader that loads it yields the very batches that would have come next, also with another number
        of ranks (then the same samples, dealt anew).
        """
        epoch, dealt = self.epoch, list(self._dealt)
        if self._taken:
            before = dealt.pop()[1] if dealt and dealt[-1][0] == self.world_size else 0
            dealt.append((self.world_size, before + self._taken))
        left = self._remaining(dealt)
        if not len(left) or (self.drop_last and not self._batches(dealt)):
            epoch, dealt, left = epoch + 1, [], self._remaining([])
        return {
            "seed": self.dataset.seed,
            "epoch": epoch,
            "position": len(self.dataset) - len(left),
            "dealt": [list(pair) for pair in dealt],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken; an iteration under way ends.

        Raises `DataError` for a state of another run.
        """
        try:
            seed, epoch = int(state["seed"]), int(state["epoch"])
            position = int(state["position"])
            dealt = [(int(world), int(taken)) for world, taken in state.get("dealt", [[1, position]])]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a loader's state: {error!r}; expected what state_dict() gives.") from None
        if epoch < 0 or any(world < 1 or taken < 0 for world, taken in dealt):
            raise DataError(f"not a loader's state: {state}; expected what state_dict() gives.")
        if seed != self.dataset.seed:
            raise DataError(f"the state is of seed {seed}, this loader's is {self.dataset.seed}.")
        left = len(self._remaining(dealt))
        if len(self.dataset) - left != position:
            raise DataError(
                f"the state has {position} samples behind it, which does not fit a dataset of "
                f"{len(self.dataset)}. Resume with the dataset and settings of the run."
            )
        self._end_iteration()
        self.epoch, self._dealt, self._taken = epoch, dealt, 0

    def close(self) -> None:
        """Stop the pool; an iteration under way fails, the next one starts the pool again."""
        if self._end_pool is not None:
            self._end_pool()
        self._pool = self._end_pool = None

    def _end_iteration(self) -> None:
        active = self._active() if self._active is not None else None
        if active is not None:
            active.close()  # type: ignore[attr-defined]

    # ------------------------------------------------------------ which samples

    def _layout(self) -> tuple[int, int]:
        """(block, unit) of `deal`."""
        if isinstance(self.dataset.sizes, RectangularSizes):
            return self.batch_size, self.batch_size
        augment = self.dataset.augment
        block = (augment.mosaic_block if augment is not None else 0) or DEFAULT_BLOCK
        if isinstance(self.dataset.sizes, FixedSize):
            return block, 1
        # Every batch has a size of its own, so batches are not cut apart.
        return -(-block // self.batch_size) * self.batch_size, self.batch_size

    def _remaining(self, dealt: list[tuple[int, int]]) -> Positions:
        return remaining(len(self.dataset), dealt, *self._layout())

    def _batches(self, dealt: list[tuple[int, int]]) -> list[Positions]:
        """The positions of every batch of this rank that is left after `dealt`."""
        begun = 0
        if dealt and dealt[-1][0] == self.world_size:  # go on with that deal instead of dealing anew
            *dealt, (_, begun) = dealt
        parts = [part[begun:] for part in deal(self._remaining(dealt), self.world_size, *self._layout())]
        mine = parts[self.rank]
        if self.drop_last:
            full = min(map(len, parts)) // self.batch_size
            mine = mine[: full * self.batch_size]
        return [mine[at : at + self.batch_size] for at in range(0, len(mine), self.batch_size)]

    def _blocks(self, batches: list[Positions]) -> Iterator[list[Positions]]:
        """Runs of batches whose samples share images: about a block long."""
        size, _ = self._layout()
        block: list[Positions] = []
        samples = 0
        for batch in batches:
            block.append(batch)
            samples += len(batch)
            if samples >= size:
                yield block
                block, samples = [], 0
        if block:
            yield block

    def _plans(self, batches: list[Positions], epoch: int) -> Iterator[tuple[Positions, BatchPlan]]:
        """Every batch with its plan; neighbours of one size are planned at once."""
        for _, run in groupby(batches, lambda batch: self.dataset.sizes.at(epoch, int(batch[0]))):
            together = list(run)
            plan = self.dataset.plan(epoch, np.concatenate(together))
            ends = np.cumsum([len(batch) for batch in together]).tolist()
            for batch, end in zip(together, ends, strict=True):
                yield batch, plan[end - len(batch) : end]

    # ------------------------------------------------------------ iteration

    def _iterate(self) -> Iterator[Batch]:
        epoch = self.epoch
        pool = self._open_pool()
        pending: deque[_Pending] = deque()
        plans = self._submit_all(pool, epoch)
        try:
            exhausted = False
            while True:
                pool.check()
                while not exhausted and len(pending) < self.prefetch:
                    submitted = next(plans, None)
                    exhausted = submitted is None
                    if submitted is not None:
                        pending.append(submitted)
                if not pending:
                    break
                batch = self._finish(pool, epoch, pending)
                self._taken += self.batch_size
                yield batch
                del batch  # so that its memory can be used again
                if self.epoch != epoch:  # set_epoch was called meanwhile: this epoch is over
                    return
            self.epoch, self._dealt, self._taken = epoch + 1, [], 0
        finally:
            plans.close()
            pool.reset()

    def _submit_all(self, pool: _Pool, epoch: int) -> Any:
        """Generator of the epoch's batches, each submitted when it is asked for."""
        for block in self._blocks(self._batches(self._dealt)):
            plans = list(self._plans(block, epoch))
            for _, plan in plans:
                pool.engine.expect(plan.tile_image)
            for batch, plan in plans:
                out = self._buffers.take((len(plan), 3, *plan.size), pinned=self.tensors and self.pin_memory)
                jobs = RenderJobs(plan, out)
                if self.threads:
                    pool.engine.submit(jobs)
                yield _Pending(batch, jobs)

    def _finish(self, pool: _Pool, epoch: int, pending: deque[_Pending]) -> Batch:
        """Wait for the oldest batch in work."""
        started = time.perf_counter()
        positions, jobs = pending[0]
        if self.threads:
            while not pool.engine.wait(jobs, WAIT_SLICE_S):
                pool.check()
        else:
            pool.engine.run(jobs)
        plan = self.dataset.mend(pool.engine, jobs, epoch, positions) if jobs.failures() else jobs.plan
        waited = time.perf_counter() - started
        batch = self.dataset.batch_of(plan, jobs.out)
        labelled = time.perf_counter() - started - waited
        if self.monitor is not None:
            ready = sum(pool.engine.wait(p.jobs, 0.0) for p in pending) if self.threads else 0
            stages = jobs.seconds() | {"labels": labelled}
            self.monitor.record_batch(len(batch), wait_s=waited, queue_depth=ready, stages=stages)
        pending.popleft()
        return self._as_tensors(batch) if self.tensors else batch

    def _as_tensors(self, batch: Batch) -> Batch:
        from yolofast.load.torch_loader import as_tensors

        return as_tensors(batch)

    def _open_pool(self) -> _Pool:
        if self._pool is None or not self._pool.is_open():
            self.close()
            self._pool = _Pool(self.dataset.make_engine(), self.threads)
            # At exit too: a thread must not wait in native code while the interpreter is taken down.
            self._end_pool = weakref.finalize(self, _Pool.close, self._pool)
        return self._pool


class _Pool:
    """Threads that run the engine, and what went wrong in them."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._pid, self._closed = os.getpid(), False
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=_work, args=(engine, self._errors), name=f"yolofast-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def is_open(self) -> bool:
        """Whether there are threads to work, in this process: a forked child has none of its parent's."""
        return not self._closed and not self._errors and self._pid == os.getpid()

    def check(self) -> None:
        """Raise what keeps the pool from working."""
        if self._pid != os.getpid():
            raise YolofastError("a forked process goes on with its parent's iteration. Begin one of its own.")
        if self._errors:
            raise YolofastError(f"a loader thread failed: {self._errors[0]}") from self._errors[0]
        if self._closed:
            raise YolofastError("the loader was closed during an iteration. Begin a new one.")

    def reset(self) -> None:
        """Drop what is queued and wait for what is in work."""
        if self._pid != os.getpid():
            return
        if threading.current_thread() in self._threads:
            self.close()  # the collector ended an iteration in this thread, which cannot wait for itself
        else:
            self.engine.reset()

    def close(self) -> None:
        """Stop the threads."""
        if self._pid != os.getpid():
            return
        self._closed = True
        self.engine.stop()
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()


def _work(engine: Engine, errors: list[BaseException]) -> None:
    """A thread's life. It knows the engine only, so that a loader that nobody holds is collected."""
    try:
        engine.work()
    except BaseException as error:  # whatever it is, the consumer has to hear of it
        errors.append(error)


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
