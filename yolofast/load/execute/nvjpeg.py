"""Pictures on a device by nvJPEG: compressed files go there, and are decoded there.

A thread reads files and has them decoded, a group at a time, to scratch memory; whoever asks for pictures
then has the planes copied among the others. What nvJPEG refuses takes the way of all other images, with its
errors. Pictures are decoded at full size, also where the CPU would decode them reduced because batches show
less.
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
from yolofast.kernels.torch_nvjpeg import NvJpegDecoder
from yolofast.load.execute.device_pictures import PLANE_OFFSETS, USUAL_BYTES, Pictures, PictureSource
from yolofast.load.execute.device_stream import Mark, SideStream
from yolofast.load.execute.executor import PlannedDataset
from yolofast.load.execute.pool import WAIT_SLICE_S, Pool

if TYPE_CHECKING:
    from yolofast.load.execute.device import DeviceExecutor

GROUP_IMAGES = 64
"""Files of a group at most: enough for a hardware decoder, few enough to go on with the first ones early."""
GROUP_BYTES = 128 * 2**20
"""Planes of a group, about, at most; one picture may be larger."""
SCRATCHES = 3
"""Groups in work: one is copied, one decoded, one waits."""


@dataclass
class _Scratch:
    """Memory on the device that a group is decoded to, and the copy that read it last."""

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
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 11), dtype=np.int64))
    places: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2, 3)))
    seconds: dict[str, float] = field(default_factory=dict)


class NvJpegWorkshop:
    """A decoder with its memory, kept from epoch to epoch, for one iteration at a time.

    Groups are decoded in a thread, one after the other.
    """

    def __init__(self, dataset: PlannedDataset, decoder: NvJpegDecoder) -> None:
        self.dataset, self.decoder = dataset, decoder
        self._scratches = [_Scratch(decoder.empty(0)) for _ in range(SCRATCHES)]
        self.free = deque(self._scratches)  # longest unused first
        self._changed = threading.Condition()
        self._queue: deque[_Group] = deque()
        self._is_working = False

    def reset(self) -> None:
        """Drop what an iteration before has left, and wait for what is in work."""
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
            # No daemon: at exit, what is in work ends before CUDA is taken down.
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
            except BaseException as error:  # whatever it is, the consumer has to hear of it
                group.error = error
            group.finished.set()

    def _decode(self, group: _Group) -> None:
        paths = [self.dataset.index.paths[image] for image in group.images.tolist()]
        started = time.perf_counter()
        group.size = self.decoder.prepare(paths, self.dataset.index.shapes[group.images])
        read = time.perf_counter()
        if len(group.scratch.memory) < group.size:
            group.scratch.memory = self.decoder.empty(group.size)
        group.rows, group.places, _ = self.decoder.decode_to(group.scratch.memory)
        group.seconds = {"read": read - started, "decode": time.perf_counter() - read}


class NvJpegPictures:
    """A `PictureSource` that gives files to nvJPEG, and to `rest` what it refuses."""

    def __init__(self, workshop: NvJpegWorkshop, pool: Pool, stream: SideStream, rest: PictureSource) -> None:
        workshop.reset()
        self._workshop, self._pool, self._stream, self._rest = workshop, pool, stream, rest
        self._asked: deque[tuple[Pictures, NDArray[np.int64]]] = deque()
        self._running: deque[_Group] = deque()
        self._refused: list[tuple[Pictures, NDArray[np.int64]]] = []  # that `rest` has been asked for
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Spent by threads since somebody last emptied it, by stage."""
        both = (self._seconds, self._rest.seconds)
        return {name: sum(each.get(name, 0.0) for each in both) for name in {**both[0], **both[1]}}

    @seconds.setter
    def seconds(self, seconds: dict[str, float]) -> None:
        self._seconds, self._rest.seconds = seconds, {}

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""
        return int(self._bytes(images).sum())

    def _bytes(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        shapes = self._workshop.dataset.index.shapes[images].astype(np.float64)
        return np.asarray(USUAL_BYTES * shapes.prod(axis=1))

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for before."""
        while len(images):
            fitting = int(np.searchsorted(np.cumsum(self._bytes(images)), GROUP_BYTES, side="right"))
            count = min(max(1, fitting), GROUP_IMAGES)
            self._asked.append((pictures, images[:count]))
            images = images[count:]

    def advance(self, *, wait: bool) -> None:
        """Move on what can be moved at once; with `wait`, until something more has come."""
        while self._running and self._running[0].finished.is_set():
            self._take()
            wait = False
        self._submit(wait=wait and not self._running)
        self._refused = [each for each in self._refused if not each[0].have(each[1])]
        wait_for_rest = wait and not self._running and bool(self._refused)
        self._rest.advance(wait=wait_for_rest)
        if wait and self._running:
            while not self._running[0].finished.wait(WAIT_SLICE_S):
                self._pool.check()
            self._take()
            self._submit(wait=False)
            self._rest.advance(wait=False)

    def _submit(self, *, wait: bool) -> None:
        """Give groups to the thread; with `wait`, one at least, if there is one."""
        while self._asked and self._workshop.free:
            copied = self._workshop.free[0].copied
            if copied is not None and not copied.is_done():
                if not wait:
                    return
                copied.wait()
            wait = False
            group = _Group(*self._asked.popleft(), self._workshop.free.popleft())
            self._running.append(group)
            self._workshop.submit(group)

    def _take(self) -> None:
        """Queue the copy of the oldest group, which is decoded."""
        group = self._running.popleft()
        if group.error is not None:
            self._workshop.free.append(group.scratch)
            raise group.error
        for stage, seconds in group.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        begin = group.pictures.reserve(group.size)
        planes = group.pictures.planes[begin : begin + group.size]
        self._stream.copy(planes, group.scratch.memory[: group.size])
        group.scratch.copied = self._stream.mark()
        self._workshop.free.append(group.scratch)
        there = group.rows[:, 0] >= 0
        rows = group.rows[there]
        offsets = rows[:, PLANE_OFFSETS]
        offsets[offsets >= 0] += begin
        group.pictures.put(group.images[there], rows, group.places[there])
        if not there.all():
            refused = group.images[~there]
            self._refused.append((group.pictures, refused))
            self._rest.ask(group.pictures, refused)


def use_nvjpeg(executor: DeviceExecutor, threads: int) -> None:
    """Have JPEG files of an executor decoded by nvJPEG; `threads` read and check them.

    Raises:
        ConfigError: the dataset keeps decoded pictures, so that there are no files to decode; no CUDA device.
        MissingExtraError: there is no nvJPEG.
    """
    dataset, device = executor.dataset, executor.device
    if dataset.cache is not None:
        raise ConfigError(
            "jpeg: got 'nvjpeg' for a dataset whose decoded pictures are cached. Take one of them: "
            "cache='none', or jpeg='cpu'."
        )
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    workshop = NvJpegWorkshop(dataset, NvJpegDecoder(device, threads=threads, stream=stream))
    others = executor.make_source

    def make_source(pool: Pool, stream: SideStream) -> PictureSource:
        return NvJpegPictures(workshop, pool, stream, others(pool, stream))

    executor.make_source = make_source
