"""Loader: batches of a `YOLODataset`, prefetched by a pool of native threads, or by these and a device.

The consumer's own thread plans (that is quick) and hands the plans to an executor (`execute/cpu.py`,
`execute/device.py`); no process is started. At most `prefetch` batches are prefetched, and memory of batches
is reused once the consumer has let go of them.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Iterator
from inspect import GEN_CLOSED, getgeneratorstate
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from yolofast.config_fields import at_least
from yolofast.errors import ConfigError, DataError
from yolofast.load.dataset import YOLODataset
from yolofast.load.execute.cpu import CpuExecutor
from yolofast.load.execute.executor import Executor, make_engine
from yolofast.load.execute.pool import Pool
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import DEFAULT_BLOCK, Positions, remaining_positions, shard_positions
from yolofast.load.plan.sizes import FixedSize, RectangularSizes
from yolofast.types import Batch, BatchPlan

if TYPE_CHECKING:
    import torch

MAX_THREADS = 16
Jpeg = Literal["cpu", "nvjpeg"]
"""What decodes JPEG files."""


class Loader:
    """Iterates over the batches of an epoch; after the last one, the next iteration is the next epoch's.

    An iteration that is left early counts as an epoch: the next iteration is the next epoch's. Only a loaded
    state resumes in the middle. `set_epoch` starts its epoch over, as does the iteration after a failed one.

    dataset      whose samples
    batch_size   samples per batch; rectangular and multi-scale sizes are per batch, too
    threads      of the pool; 0 = load in the consumer's thread; omitted means one per core, at most 16
    prefetch     batches being rendered or ready
    drop_last    leave out a last batch that is not full; all ranks then have the same number of batches
    rank, world_size  this process's shard: every position goes to exactly one rank, and samples do not
                 depend on the number of ranks
    tensors      yield torch tensors (zero copy) instead of numpy arrays
    pin_memory   with `tensors`: batches in page-locked memory
    monitor      records times, queue depth and memory
    device       a torch device such as 'cuda': decoded planes are copied to it, and batches are rendered on
                 it while the consumer works, with the same pixels as on the CPU. Images and targets are
                 tensors on it, ready for the consumer's current stream; `tensors` and `pin_memory` do not
                 apply. 'cpu' takes the same code path without a GPU. None renders in the pool's threads
    dtype        with `device`, of the images: torch.uint8 (default), or float16, bfloat16 or float32 in 0..1
    jpeg         with a CUDA device, what decodes JPEG files: 'cpu', or 'nvjpeg' on the device, whose pixels
                 differ by rounding; files that it refuses are decoded on the CPU

    Samples and their order depend only on the dataset's seed, the epoch and the position: not on threads,
    `prefetch`, or where a run was interrupted (`state_dict`). The pool stops when the loader is closed or
    collected, or when the interpreter exits. After a fork the child starts a pool of its own.

    Raises from iteration `DataError` when too many images are unreadable, and `HookError` when a hook of the
    dataset fails; `ConfigError` for a device that torch or this build of yolofast cannot use, or with hooks;
    `MissingExtraError` when nvJPEG is requested and missing.
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
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        jpeg: Jpeg = "cpu",
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
        self.dataset, self.batch_size, self.threads = dataset, batch_size, threads
        self._sizes = dataset.sizes(batch_size)
        self.prefetch, self.drop_last = prefetch, drop_last
        self.rank, self.world_size = rank, world_size
        self.tensors, self.pin_memory, self.monitor = tensors, pin_memory, monitor
        self.epoch = 0
        self._stages: list[tuple[int, int]] = []  # of this epoch before the loaded state; see shards
        self._taken = 0  # samples of this epoch that the consumer has taken; a short batch counts as full
        self._again = False  # the next iteration is of this epoch, whatever has been taken of it
        self._pool: Pool | None = None
        self._end_pool: weakref.finalize[..., Any] | None = None
        self._executor = self._make_executor(device, dtype, jpeg)
        self._active: weakref.ref[Generator[Batch, None, None]] | None = None

    # ------------------------------------------------------------ protocol

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return len(self._batches([]))

    def __iter__(self) -> Iterator[Batch]:
        self._end_iteration()
        if self._taken and not self._again:  # left early
            self.epoch, self._stages = self.epoch + 1, []
        self._taken, self._again = 0, False
        iterator = self._iterate()
        self._active = weakref.ref(iterator)
        return iterator

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration. The epoch of a loaded state resumes where it was."""
        at_least(epoch=(epoch, 0))
        self._again = True
        if epoch != self.epoch:
            self.epoch, self._stages, self._taken = epoch, [], 0
        elif self._running() is None:
            self._taken = 0

    def state_dict(self) -> dict[str, Any]:
        """Where the consumer is: plain numbers, the same on every rank.

        A loader that loads it yields exactly the batches that would have come next; with another number of
        ranks, the same samples, sharded anew.
        """
        epoch, stages = self.epoch, list(self._stages)
        if self._taken:
            before = stages.pop()[1] if stages and stages[-1][0] == self.world_size else 0
            stages.append((self.world_size, before + self._taken))
        left = self._remaining(stages)
        if not len(left) or (self.drop_last and not self._batches(stages)):
            epoch, stages, left = epoch + 1, [], self._remaining([])
        return {
            "seed": self.dataset.seed,
            "epoch": epoch,
            "position": len(self.dataset) - len(left),
            "dealt": [list(stage) for stage in stages],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume where `state_dict` was taken; an iteration in progress ends.

        Raises `DataError` for a state of another run.
        """
        try:
            seed, epoch = int(state["seed"]), int(state["epoch"])
            position = int(state["position"])
            stages = [(int(world), int(taken)) for world, taken in state.get("dealt", [[1, position]])]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a loader's state: {error!r}; expected what state_dict() returns.") from None
        if epoch < 0 or any(world < 1 or taken < 0 for world, taken in stages):
            raise DataError(f"not a loader's state: {state}; expected what state_dict() returns.")
        if seed != self.dataset.seed:
            raise DataError(
                f"the state is of a run with seed {seed}, this loader has seed {self.dataset.seed}. "
                "Resume with the dataset and settings of that run."
            )
        left = len(self._remaining(stages))
        if len(self.dataset) - left != position:
            raise DataError(
                f"the state is {position} samples into its epoch, which does not fit a dataset of "
                f"{len(self.dataset)}. Resume with the dataset and settings of that run."
            )
        self._end_iteration()
        self.epoch, self._stages, self._taken = epoch, stages, 0

    def close(self) -> None:
        """Stop the pool; an iteration in progress fails, the next one starts the pool again."""
        if self._end_pool is not None:
            self._end_pool()
        self._pool = self._end_pool = None

    def _running(self) -> Generator[Batch, None, None] | None:
        """The iteration in progress."""
        active = self._active() if self._active is not None else None
        return None if active is None or getgeneratorstate(active) == GEN_CLOSED else active

    def _end_iteration(self) -> None:
        running = self._running()
        if running is not None:
            running.close()

    def _make_executor(
        self, device: str | torch.device | None, dtype: torch.dtype | None, jpeg: Jpeg
    ) -> Executor:
        if jpeg not in get_args(Jpeg):
            raise ConfigError(f"jpeg: got {jpeg!r}, expected one of {', '.join(get_args(Jpeg))}.")
        if device is not None and self.dataset.hooks:
            names = ", ".join(hook.name for hook in self.dataset.hooks)
            raise ConfigError(
                f"device: got '{device}' with the hooks {names}, which run on the CPU. Render batches there: "
                "device=None, or --loader-device cpu."
            )
        if device is not None:
            from yolofast.load.execute.device import DeviceExecutor

            executor = DeviceExecutor(self.dataset, self.batch_size, self.prefetch, device, dtype)
            if jpeg == "nvjpeg":
                from yolofast.load.execute.nvjpeg import use_nvjpeg

                use_nvjpeg(executor, max(1, self.threads))
            return executor
        if jpeg != "cpu":
            raise ConfigError(f"jpeg: got {jpeg!r} without a device. Batches rendered on the CPU take 'cpu'.")
        if dtype is not None:
            raise ConfigError(f"dtype: got {dtype} without a device. Batches rendered on the CPU are uint8.")
        return CpuExecutor(self.dataset, self.prefetch, tensors=self.tensors, pinned=self.pin_memory)

    # ------------------------------------------------------------ which samples

    def _block_and_unit(self) -> tuple[int, int]:
        """`block` and `unit` of `shard_positions`."""
        if isinstance(self._sizes, RectangularSizes):
            return self.batch_size, self.batch_size
        augment = self.dataset.augment
        block = (augment.mosaic_block if augment is not None else 0) or DEFAULT_BLOCK
        if isinstance(self._sizes, FixedSize):
            return block, 1
        # Every batch has its own size, so batches are not split.
        return -(-block // self.batch_size) * self.batch_size, self.batch_size

    def _remaining(self, stages: list[tuple[int, int]]) -> Positions:
        return remaining_positions(len(self.dataset), stages, *self._block_and_unit())

    def _batches(self, stages: list[tuple[int, int]]) -> list[Positions]:
        """The positions of every batch of this rank that is left after `stages`."""
        taken = 0
        if stages and stages[-1][0] == self.world_size:  # continue with its shards instead of sharding anew
            *stages, (_, taken) = stages
        shards = shard_positions(self._remaining(stages), self.world_size, *self._block_and_unit())
        shards = [shard[taken:] for shard in shards]
        mine = shards[self.rank]
        if self.drop_last:
            full = min(map(len, shards)) // self.batch_size
            mine = mine[: full * self.batch_size]
        return [mine[at : at + self.batch_size] for at in range(0, len(mine), self.batch_size)]

    def _blocks(self, batches: list[Positions]) -> Iterator[list[Positions]]:
        """Runs of batches whose samples share images: about a block long."""
        size, _ = self._block_and_unit()
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
        for size, run in groupby(batches, lambda batch: self._sizes.at(epoch, int(batch[0]))):
            same_size = list(run)
            plan = self.dataset.plan(epoch, np.concatenate(same_size), size)
            ends = np.cumsum([len(batch) for batch in same_size]).tolist()
            for batch, end in zip(same_size, ends, strict=True):
                yield batch, plan[end - len(batch) : end]

    # ------------------------------------------------------------ iteration

    def _iterate(self) -> Generator[Batch, None, None]:
        epoch = self.epoch
        pool = self._running_pool()
        blocks = (list(self._plans(block, epoch)) for block in self._blocks(self._batches(self._stages)))
        batches = self._executor.batches(pool, epoch, blocks, self.monitor)
        try:
            for batch in batches:
                if self.dataset.cache is not None:
                    self.dataset.cache.report_damage()
                self._taken += self.batch_size
                yield batch
                del batch  # so that its memory can be reused
                if self.epoch != epoch:  # set_epoch was called meanwhile, which ends this epoch
                    return
            self.epoch, self._stages, self._taken = epoch + 1, [], 0
        except Exception:
            self._again = True
            raise
        finally:
            batches.close()
            pool.reset()

    def _running_pool(self) -> Pool:
        if self._pool is None or not self._pool.is_running():
            self.close()
            self._pool = Pool(make_engine(self.dataset), self.threads)
            # At exit too: no thread may wait in native code while the interpreter shuts down.
            self._end_pool = weakref.finalize(self, Pool.close, self._pool)
        return self._pool
