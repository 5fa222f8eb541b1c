"""The executor that renders plans on a device: planes are copied once per block, a batch is one call.

All of it happens in the consumer's thread when it asks for a batch: it queues copies of what the engine's
threads have decoded, and prefetches renders. None of that waits for the device, so copies and rendering
overlap with the consumer's own work there.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from yolofast.errors import ConfigError, YolofastError
from yolofast.kernels import torch_ops
from yolofast.kernels.torch_render import render_arguments
from yolofast.load.execute.device_pictures import CHUNK_BYTES, Pictures, PictureSource, StagedPictures
from yolofast.load.execute.device_stream import Mark, SideStream
from yolofast.load.execute.executor import Block, PlannedDataset, make_batch
from yolofast.load.execute.pool import Pool
from yolofast.load.execute.repair import note_unreadable
from yolofast.load.monitor import DataFlowMonitor
from yolofast.load.plan.shards import Positions
from yolofast.types import Batch, BatchPlan

ARENA_BYTES = 2**30
"""Size limit of a block's planes on the device; a larger block is split between batches."""
BLOCKS = 2
"""One is rendered while the planes of the next are copied."""
DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)

MakeSource = Callable[[Pool, SideStream], PictureSource]


def checked_device(device: str | torch.device) -> torch.device:
    """The device with its index; `ConfigError` when batches cannot be rendered there."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device: got '{device}', expected cuda, cuda:N or cpu.") from None
    if found.type not in ("cpu", "cuda"):
        raise ConfigError(f"device: got '{device}', expected cuda, cuda:N or cpu.")
    if found.type == "cpu":
        return found
    reason = torch_ops.why_no_cuda()
    if reason is not None:
        raise ConfigError(
            f"device: got '{device}', but {reason}. Without a device, batches come from the CPU."
        )
    count = torch.cuda.device_count()
    if (found.index or 0) >= count:
        raise ConfigError(f"device: got '{device}', but torch sees {count} CUDA devices.")
    return torch.device("cuda", torch.cuda.current_device() if found.index is None else found.index)


class DeviceExecutor:
    """Prefetches batches, rendered on a device, `prefetch` of them.

    dataset     the plans are about its images
    batch_size  samples per batch
    device      see `checked_device`
    dtype       of the images: uint8 (None), or float16, bfloat16 or float32 in 0..1

    The other arguments are for tests and for other ways to get pictures onto the device: bytes of a staging
    chunk and of an arena, the operators, and what makes the source of pictures.
    """

    def __init__(
        self,
        dataset: PlannedDataset,
        batch_size: int,
        prefetch: int,
        device: str | torch.device,
        dtype: torch.dtype | None = None,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        arena_bytes: int = ARENA_BYTES,
        operators: Any = torch.ops.yolofast,
        make_source: MakeSource | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.prefetch = dataset, batch_size, prefetch
        self.device, self.dtype = checked_device(device), dtype or torch.uint8
        if self.dtype not in DTYPES:
            known = ", ".join(str(kind) for kind in DTYPES)
            raise ConfigError(f"dtype: got {dtype}, expected one of {known}.")
        self.chunk_bytes, self.arena_bytes = chunk_bytes, arena_bytes
        self.operators, self.make_source = operators, make_source or self._stage
        self._stream: SideStream | None = None
        self._pid = os.getpid()

    def _stage(self, pool: Pool, stream: SideStream) -> PictureSource:
        shapes, side = self.dataset.index.shapes, self.dataset.decode_side
        return StagedPictures(pool, stream, shapes, side, 2 * self.batch_size, self.chunk_bytes)

    def batches(
        self, pool: Pool, epoch: int, blocks: Iterator[Block], monitor: DataFlowMonitor | None
    ) -> Generator[Batch, None, None]:
        """The batches of an epoch's blocks: see `Executor`."""
        pool.check()
        if self.device.type == "cuda" and self._pid != os.getpid():
            raise YolofastError(
                "a forked process cannot use its parent's CUDA device. "
                "Start it with spawn, or load on the CPU."
            )
        if self._stream is None:
            self._stream = SideStream(self.device)  # the same for all epochs: its memory is reused
        run = _DeviceEpoch(self, pool, self._stream, epoch, blocks)
        while run.has_more():
            yield run.take(monitor)


@dataclass
class _DeviceBlock:
    """A block in progress: its pictures, and its batches that are not rendered yet."""

    pictures: Pictures
    batches: deque[tuple[Positions, BatchPlan]]


@dataclass
class _Ready:
    """A batch whose rendering is queued, and the seconds spent on it by stage."""

    batch: Batch
    mark: Mark
    seconds: dict[str, float]


class _DeviceEpoch:
    """One pass over an epoch."""

    def __init__(
        self, executor: DeviceExecutor, pool: Pool, stream: SideStream, epoch: int, blocks: Iterator[Block]
    ) -> None:
        self.executor, self.dataset = executor, executor.dataset
        self.pool, self.stream, self.epoch = pool, stream, epoch
        self.source = executor.make_source(pool, stream)
        self.blocks = self._cut(blocks)
        self.active: deque[_DeviceBlock] = deque()
        self.ready: deque[_Ready] = deque()
        self.arenas: list[torch.Tensor] = []  # of finished blocks, for reuse

    # ------------------------------------------------------------ blocks

    def _cut(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks as short as possible without copying an image twice, and at most as large as an arena."""
        for block in blocks:
            last = {image: at for at, (_, plan) in enumerate(block) for image in plan.tile_image.tolist()}
            part: Block = []
            held: set[int] = set()
            end = 0
            for at, batch in enumerate(block):
                more = set(batch[1].tile_image.tolist())
                both = np.array(sorted(held | more), dtype=np.int64)
                if part and self.source.estimate(both) > self.executor.arena_bytes:
                    yield part
                    part, held, end = [], set(), at
                part.append(batch)
                held |= more
                end = max(end, at, *(last[image] for image in more))
                if end == at:
                    yield part
                    part, held = [], set()
            if part:
                yield part

    def _start_blocks(self) -> None:
        """Request the pictures of the next blocks."""
        while len(self.active) < BLOCKS or self._unrendered() < self.executor.prefetch:
            batches = next(self.blocks, None)
            if batches is None:
                return
            tiles = np.concatenate([plan.tile_image for _, plan in batches])
            images, first = np.unique(tiles, return_index=True)
            images = images[np.argsort(first)]  # in the order in which they are needed
            pictures = Pictures(images, self._arena(self.source.estimate(images)), self.stream)
            self.active.append(_DeviceBlock(pictures, deque(batches)))
            self.source.ask(pictures, images)

    def _unrendered(self) -> int:
        return len(self.ready) + sum(len(block.batches) for block in self.active)

    def _arena(self, size: int) -> torch.Tensor:
        fitting = [at for at, arena in enumerate(self.arenas) if len(arena) >= size]
        if fitting:
            return self.arenas.pop(fitting[0])
        self.arenas.clear()
        return self.stream.empty((max(size, 1),), torch.uint8)

    # ------------------------------------------------------------ batches

    def has_more(self) -> bool:
        """Whether a batch is left."""
        self._start_blocks()
        return bool(self.ready or self.active)

    def take(self, monitor: DataFlowMonitor | None) -> Batch:
        """The next batch, for the current stream."""
        self.pool.check()
        self._advance(wait=False)
        depth = sum(each.mark.is_done() for each in self.ready)
        started = time.perf_counter()
        while not self.ready:
            self.pool.check()
            self._repair()
            self._advance(wait=not self._can_render())
        waited = time.perf_counter() - started
        ready = self.ready.popleft()
        ready.mark.hand_over(ready.batch.images, ready.batch.targets)
        if monitor is not None:
            count = len(ready.batch)
            monitor.record_batch(count, wait_s=waited, queue_depth=depth, stages=ready.seconds)
        return ready.batch

    def _advance(self, *, wait: bool) -> None:
        self.source.advance(wait=wait)
        while len(self.ready) < self.executor.prefetch and self._can_render():
            block = self.active[0]
            _, plan = block.batches.popleft()
            self.ready.append(self._render(block.pictures, plan))
            if not block.batches:  # all its pictures have arrived: each batch waited for its own
                self.arenas.append(block.pictures.packed.planes)
                self.active.popleft()
                self._start_blocks()

    def _can_render(self) -> bool:
        """Whether the pictures of the next batch have arrived, all of them readable."""
        if not self.active:
            return False
        pictures, plan = self.active[0].pictures, self.active[0].batches[0][1]
        return pictures.have(plan.tile_image) and not self._unreadable(pictures, plan)

    def _unreadable(self, pictures: Pictures, plan: BatchPlan) -> list[int]:
        if not pictures.reasons:
            return []
        return [image for image in np.unique(plan.tile_image).tolist() if image in pictures.reasons]

    def _repair(self) -> None:
        """Plan the next batch again if it shows images that turned out unreadable.

        Only when the consumer waits for it: so warnings, and the error about too many of them, come with the
        same batch as on the CPU.
        """
        pictures = self.active[0].pictures
        positions, plan = self.active[0].batches[0]
        # A substitute may already be known to be unreadable, too: then nothing is in flight any more.
        while pictures.have(plan.tile_image) and (unreadable := self._unreadable(pictures, plan)):
            note_unreadable(self.dataset, self.pool, {each: pictures.reasons[each] for each in unreadable})
            plan = self.dataset.plan(self.epoch, positions, plan.size)
            self.active[0].batches[0] = positions, plan
            self.source.ask(pictures, pictures.add(np.unique(plan.tile_image)))

    def _render(self, pictures: Pictures, plan: BatchPlan) -> _Ready:
        """Queue the rendering of a plan, and the copy of its targets."""
        started = time.perf_counter()
        used, tile_picture = np.unique(pictures.rows_of(plan.tile_image), return_inverse=True)
        images = self.stream.empty((len(plan), 3, *plan.size), self.executor.dtype)
        packed = pictures.packed.select(used)
        arguments = render_arguments(packed, plan, tile_picture)
        self.stream.call(self.executor.operators.render_, images, packed.planes, **arguments)
        rendered = time.perf_counter()
        host = make_batch(self.dataset.index, plan, images, self.dataset.targets(plan))
        targets = self.stream.upload(torch.from_numpy(host.targets))
        batch = Batch(images, targets, host.paths, torch.from_numpy(host.shapes))
        seconds = self.source.seconds | {
            "render": rendered - started,
            "labels": time.perf_counter() - rendered,
        }
        self.source.seconds = {}
        return _Ready(batch, self.stream.mark(), seconds)
