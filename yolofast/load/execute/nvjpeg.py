"""Pictures on a device by nvJPEG: compressed files are copied to the device and decoded there.

A thread reads files and has them decoded, a group at a time, to scratch memory; the consumer's thread then
queues the copy of the planes. Files that nvJPEG refuses are decoded on the CPU like all other images, with
the same errors. nvJPEG decodes at full size, even where the CPU would decode at a reduced size because
batches show less.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from yolofast.errors import ConfigError
from yolofast.kernels.packed_pictures import PackedPictures
from yolofast.kernels.torch_nvjpeg import NvJpegDecoder
from yolofast.load.execute.device_pictures import DEFAULT_BYTES_PER_PIXEL, Pictures, PictureSource
from yolofast.load.execute.device_stream import Mark, SideStream
from yolofast.load.execute.executor import PlannedDataset
from yolofast.load.execute.pool import WAIT_SLICE_S, Pool

if TYPE_CHECKING:
    from yolofast.load.execute.device import DeviceExecutor

MAX_GROUP_IMAGES = 64
"""Files per group: enough for a hardware decoder, few enough that the first ones are ready early."""
MAX_GROUP_BYTES = 128 * 2**20
"""Approximate bytes of a group's planes; a single picture may be larger."""
SCRATCHES = 3
"""Groups in work: one is copied, one is decoded, one waits."""


@dataclass
class _Scratch:
    """Memory on the device that a group is decoded to, and the end of the copy that last read it."""

    memory: torch.Tensor
    copied: Mark | None = None


@dataclass
class _Group:
    """Files that are decoded together."""

    pictures: Pictures
    images: NDArray[np.int64]
    scratch: _Scratch
    finished: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    size: int = 0
    packed: PackedPictures[torch.Tensor] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class NvJpegGroups:
    """A decoder with its memory, kept from epoch to epoch, for one iteration at a time.

    Groups are decoded in a thread, one after the other.
    """

    def __init__(self, dataset: PlannedDataset, decoder: NvJpegDecoder) -> None:
        self.dataset, self.decoder = dataset, decoder
        self._scratches = [_Scratch(decoder.empty(0)) for _ in range(SCRATCHES)]
        self.free = deque(self._scratches)  # least recently used first
        self._changed = threading.Condition()
        self._queue: deque[_Group] = deque()
        self._is_working = False

    def reset(self) -> None:
        """Drop what an earlier iteration has left queued, and wait for the group in work."""
        with self._changed:
            self._queue.clear()
            self._changed.wait_for(lambda: not self._is_working)
        self.free = deque(self._scratches)

    def submit(self, group: _Group) -> None:
        """Have a group decoded."""
        with self._changed:
            self._queue.append(group)
            if self._is_working:
                return
            # Not a daemon: at exit, the group in work is finished before CUDA is shut down.
            threading.Thread(target=self._work, name="yolofast-nvjpeg", daemon=False).start()
            self._is_working = True

    def _work(self) -> None:
        """Ends when there is nothing more to do, so that no thread outlives its loader."""
        while True:
            with self._changed:
                if not self._queue:
                    self._is_working = False
                    self._changed.notify_all()
                    return
                group = self._queue.popleft()
            try:
                self._decode(group)
            except BaseException as error:  # raised again in the consumer's thread
                group.error = error
            group.finished.set()

    def _decode(self, group: _Group) -> None:
        paths = [self.dataset.index.paths[image] for image in group.images.tolist()]
        started = time.perf_counter()
        group.size = self.decoder.prepare(paths, self.dataset.index.shapes[group.images])
        read = time.perf_counter()
        if len(group.scratch.memory) < group.size:
            group.scratch.memory = self.decoder.empty(group.size)
        group.packed = self.decoder.decode_to(group.scratch.memory).packed
        group.seconds = {"read": read - started, "decode": time.perf_counter() - read}


class NvJpegPictures:
    """A `PictureSource` that gives files to nvJPEG, and to `fallback` those that it refuses."""

    def __init__(self, groups: NvJpegGroups, pool: Pool, stream: SideStream, fallback: PictureSource) -> None:
        groups.reset()
        self._groups, self._pool, self._stream, self._fallback = groups, pool, stream, fallback
        self._asked: deque[tuple[Pictures, NDArray[np.int64]]] = deque()
        self._running: deque[_Group] = deque()
        self._refused: list[tuple[Pictures, NDArray[np.int64]]] = []  # that `fallback` was asked for
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Spent by threads since it was last reset, by stage."""
        both = (self._seconds, self._fallback.seconds)
        return {name: sum(each.get(name, 0.0) for each in both) for name in {**both[0], **both[1]}}

    @seconds.setter
    def seconds(self, seconds: dict[str, float]) -> None:
        self._seconds, self._fallback.seconds = seconds, {}

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""
        return int(self._bytes(images).sum())

    def _bytes(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        shapes = self._groups.dataset.index.shapes[images].astype(np.float64)
        return np.asarray(DEFAULT_BYTES_PER_PIXEL * shapes.prod(axis=1))

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for earlier."""
        while len(images):
            fitting = int(np.searchsorted(np.cumsum(self._bytes(images)), MAX_GROUP_BYTES, side="right"))
            count = min(max(1, fitting), MAX_GROUP_IMAGES)
            self._asked.append((pictures, images[:count]))
            images = images[count:]

    def advance(self, *, wait: bool) -> None:
        """Do what can be done without waiting; with `wait`, wait until at least one more step is done."""
        while self._running and self._running[0].finished.is_set():
            self._take()
            wait = False
        self._submit(wait=wait and not self._running)
        self._refused = [each for each in self._refused if not each[0].have(each[1])]
        wait_for_fallback = wait and not self._running and bool(self._refused)
        self._fallback.advance(wait=wait_for_fallback)
        if wait and self._running:
            while not self._running[0].finished.wait(WAIT_SLICE_S):
                self._pool.check()
            self._take()
            self._submit(wait=False)
            self._fallback.advance(wait=False)

    def _submit(self, *, wait: bool) -> None:
        """Give groups to the thread; with `wait`, at least one if there is any."""
        while self._asked and self._groups.free:
            copied = self._groups.free[0].copied
            if copied is not None and not copied.is_done():
                if not wait:
                    return
                copied.wait()
            wait = False
            group = _Group(*self._asked.popleft(), self._groups.free.popleft())
            self._running.append(group)
            self._groups.submit(group)

    def _take(self) -> None:
        """Queue the copy of the oldest group, which is decoded."""
        group = self._running.popleft()
        if group.error is not None:
            self._groups.free.append(group.scratch)
            raise group.error
        for stage, seconds in group.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        assert group.packed is not None  # set by a group that finished without an error
        group.pictures.put(group.images, group.scratch.memory[: group.size], group.packed)
        group.scratch.copied = self._stream.mark()
        self._groups.free.append(group.scratch)
        refused = group.images[~group.packed.is_there]
        if len(refused):
            self._refused.append((group.pictures, refused))
            self._fallback.ask(group.pictures, refused)


def use_nvjpeg(executor: DeviceExecutor, threads: int) -> None:
    """Have an executor's JPEG files decoded by nvJPEG; `threads` CPU threads read and check them.

    Raises:
        ConfigError: the dataset caches decoded pictures, so there are no files to decode; no CUDA device.
        MissingExtraError: nvJPEG was not found.
    """
    dataset, device = executor.dataset, executor.device
    if dataset.cache is not None:
        raise ConfigError(
            "jpeg: got 'nvjpeg' for a dataset whose decoded pictures are cached. Take one of them: "
            "cache='none', or jpeg='cpu'."
        )
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    groups = NvJpegGroups(dataset, NvJpegDecoder(device, threads=threads, stream=stream))
    make_fallback = executor.make_source

    def make_source(pool: Pool, stream: SideStream) -> PictureSource:
        return NvJpegPictures(groups, pool, stream, make_fallback(pool, stream))

    executor.make_source = make_source
