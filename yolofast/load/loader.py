"""Loader: batches of a `YOLODataset`, made ahead by a pool of native threads, or by these and a device.

The consumer's own thread plans (that is quick) and hands the plans to an executor (`cpu_executor`,
`device_executor`); no process is started. What is prefetched is bounded by `prefetch` batches; memory for
batches is used again once the consumer has let go of them.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from yolofast.config import at_least
from yolofast.errors import ConfigError, DataError
from yolofast.load.dataset import YOLODataset
from yolofast.load.execute.cpu import CpuExecutor
from yolofast.load.execute.executor import Executor
from yolofast.load.execute.pool import Pool
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import DEFAULT_BLOCK, Positions, deal, remaining
from yolofast.load.plan.sizes import FixedSize, RectangularSizes
from yolofast.types import Batch, BatchPlan

if TYPE_CHECKING:
    import torch

MAX_THREADS = 16
Jpeg = Literal["cpu", "nvjpeg"]
"""Who decodes JPEG files."""


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
    device       a torch device, 'cuda' say: decoded planes go there, and batches are rendered there beside
                 the consumer's work, with the pixels that the CPU would have rendered. Images and targets
                 are tensors on it, which the consumer's current stream may use at once; `tensors` and
                 `pin_memory` are for batches that are rendered on the CPU (None). 'cpu' goes the same way
                 without a GPU
    dtype        with `device`, of the images: torch.uint8 (default), or float16, bfloat16 or float32 in 0..1
    jpeg         with a CUDA device, who decodes JPEG files: 'cpu', or 'nvjpeg' on the device, whose pixels
                 differ by rounding; files that it refuses are decoded on the CPU

    Samples and their order depend only on the dataset's seed, the epoch and the position: not on threads,
    `prefetch`, or where a run was interrupted (`state_dict`). The pool stops when the loader is closed,
    collected or the interpreter exits. After a fork the child gets a pool of its own.

    Raises `DataError` from iteration when too many images are unreadable; `ConfigError` for a device that
    torch, or this build of yolofast, has no use of; `MissingExtraError` where nvJPEG is asked for and not
    there.
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
        self._pool: Pool | None = None
        self._end_pool: weakref.finalize[..., Any] | None = None
        self._executor = self._make_executor(device, dtype, jpeg)
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

    def _make_executor(
        self, device: str | torch.device | None, dtype: torch.dtype | None, jpeg: Jpeg
    ) -> Executor:
        if jpeg not in get_args(Jpeg):
            raise ConfigError(f"jpeg: got {jpeg!r}, expected one of {', '.join(get_args(Jpeg))}.")
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
        blocks = (list(self._plans(block, epoch)) for block in self._blocks(self._batches(self._dealt)))
        batches = self._executor.batches(pool, epoch, blocks, self.monitor)
        try:
            for batch in batches:
                self._taken += self.batch_size
                yield batch
                del batch  # so that its memory can be used again
                if self.epoch != epoch:  # set_epoch was called meanwhile: this epoch is over
                    return
            self.epoch, self._dealt, self._taken = epoch + 1, [], 0
        finally:
            batches.close()
            pool.reset()

    def _open_pool(self) -> Pool:
        if self._pool is None or not self._pool.is_open():
            self.close()
            self._pool = Pool(self.dataset.make_engine(), self.threads)
            # At exit too: a thread must not wait in native code while the interpreter is taken down.
            self._end_pool = weakref.finalize(self, Pool.close, self._pool)
        return self._pool
