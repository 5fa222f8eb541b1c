"""Pictures on a device: the planes of a block's images in one buffer, and who fills it.

`StagedPictures` decodes in the engine's threads, into page-locked chunks that are copied to the device.
Another way to get pictures there, such as a decoder that runs on the device, is another `PictureSource`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from yolofast.kernels.packed_pictures import PackedPictures
from yolofast.load.execute._engine import PackJobs
from yolofast.load.execute.device_stream import Mark, SideStream
from yolofast.load.execute.pool import Pool

CHUNK_BYTES = 32 * 2**20
MIN_CHUNKS, MAX_CHUNKS = 4, 16
"""Chunks that are filled, copied or free."""
MAX_MEASURED = 1000
"""Images whose sizes give the average size of a picture."""
DEFAULT_BYTES_PER_PIXEL = 1.5
"""Of decoded planes (4:2:0), until some pictures have been packed."""
GROWTH = 1.5


class Pictures:
    """The pictures of some images on a device.

    packed   the pictures, in the order in which their images were added; missing until `put`
    reasons  image -> why it cannot be read
    """

    def __init__(self, images: NDArray[np.int64], planes: torch.Tensor, stream: SideStream) -> None:
        self.packed: PackedPictures[torch.Tensor] = PackedPictures.missing(planes, 0)
        self.reasons: dict[int, str] = {}
        self._stream = stream
        self._row_of: dict[int, int] = {}
        self._is_known = np.empty(0, dtype=bool)  # there, or unreadable
        self._used = 0
        self.add(images)

    def add(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add images whose pictures are still to come; returns those that were not there before."""
        added = [image for image in images.tolist() if image not in self._row_of]
        for image in added:
            self._row_of[image] = len(self._row_of)
        self.packed = self.packed.append_missing(len(added))
        self._is_known = np.concatenate([self._is_known, np.zeros(len(added), dtype=bool)])
        return np.array(added, dtype=np.int64)

    def rows_of(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each image in `packed`."""
        return np.array([self._row_of[image] for image in images.tolist()], dtype=np.int64)

    def reserve(self, size: int) -> int:
        """Take `size` bytes of the planes' memory, which grows if necessary; returns where they begin."""
        planes = self.packed.planes
        begin, self._used = self._used, self._used + size
        if self._used > len(planes):
            grown = self._stream.empty((max(self._used, int(GROWTH * len(planes))),), torch.uint8)
            self._stream.copy(grown[:begin], planes[:begin])
            self.packed = replace(self.packed, planes=grown)
        return begin

    def put(self, images: NDArray[np.int64], planes: torch.Tensor, packed: PackedPictures[Any]) -> None:
        """Queue the copy of `planes`, in which the pictures of images lie as `packed` says.

        Missing ones of `packed` are passed over. `planes` may not change until a later mark of the stream.
        """
        begin = self.reserve(len(planes))
        self._stream.copy(self.packed.planes[begin : begin + len(planes)], planes)
        there = packed.is_there
        at = self.rows_of(images[there])
        self.packed.put(at, packed.select(there), begin)
        self._is_known[at] = True

    def fail(self, image: int, reason: str) -> None:
        """Record that an image cannot be read."""
        self.reasons[image] = reason
        self._is_known[self._row_of[image]] = True

    def have(self, images: NDArray[np.int64]) -> bool:
        """Whether each of the images is there, or is known to be unreadable."""
        return bool(self._is_known[self.rows_of(images)].all())


class PictureSource(Protocol):
    """Gets pictures onto a device.

    seconds  spent by threads since it was last reset, by stage
    """

    seconds: dict[str, float]

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for earlier."""

    def advance(self, *, wait: bool) -> None:
        """Do what can be done without waiting; with `wait`, wait until at least one more step is done."""


class _Chunk(NamedTuple):
    """Page-locked memory, and the end of the copy that last read it."""

    memory: torch.Tensor
    copied: Mark | None


class _Filling(NamedTuple):
    """A chunk that the engine's threads are filling."""

    chunk: _Chunk
    memory: torch.Tensor
    pictures: Pictures
    jobs: PackJobs


class StagedPictures:
    """Decodes images in a pool's threads and copies their planes to a device in chunks.

    shapes       int32 [n, 2] (height, width) of every upright image
    cover        longer side, in pixels, at which the pool's engine decodes
    prefetch     pictures that the chunks have room for, within MAX_CHUNKS: how far the threads work ahead of
                 the consumer
    chunk_bytes  size of a chunk; a larger picture gets memory of its own
    """

    def __init__(
        self,
        pool: Pool,
        stream: SideStream,
        shapes: NDArray[np.int32],
        cover: int,
        prefetch: int,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._pool, self._stream = pool, stream
        self._shapes, self._cover = shapes, cover
        self._chunk_bytes = chunk_bytes
        self._free: deque[_Chunk] = deque()  # least recently used first
        self._filling: deque[_Filling] = deque()
        self._asked: deque[tuple[Pictures, int]] = deque()
        self._sizes: dict[int, int] = {}  # of pictures that did not fit
        self._seen_bytes = self._seen_pixels = 0.0
        measured = np.arange(0, len(shapes), -(-len(shapes) // MAX_MEASURED))
        needed = int(prefetch * self._bytes(measured).mean()) // chunk_bytes
        needed += 2  # one is filled, one is copied
        self._unallocated = min(max(needed, MIN_CHUNKS), MAX_CHUNKS)

    # ------------------------------------------------------------ sizes

    def _pixels(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Pixels of the luma planes of images at the DCT scale at which they are decoded."""
        shapes = self._shapes[images].astype(np.float64)
        eighths = np.ceil(8 * np.minimum(1.0, self._cover / shapes.max(axis=1))) / 8
        return np.asarray(shapes.prod(axis=1) * eighths**2)

    def _bytes(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        rate = self._seen_bytes / self._seen_pixels if self._seen_pixels else DEFAULT_BYTES_PER_PIXEL
        return self._pixels(images) * rate

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""
        return int(self._bytes(images).sum())

    # ------------------------------------------------------------ from file to device

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for earlier."""
        self._pool.engine.expect(images)
        self._asked.extend((pictures, image) for image in images.tolist())

    def advance(self, *, wait: bool) -> None:
        """Do what can be done without waiting; with `wait`, wait until at least one more step is done."""
        while self._filling and self._pool.is_done(self._filling[0].jobs):
            self._upload()
            wait = False
        self._fill(wait=wait)
        if wait:
            self._pool.finish(self._filling[0].jobs)
            self._upload()
            self._fill(wait=False)

    def _fill(self, *, wait: bool) -> None:
        """Give the threads chunks to fill; with `wait`, at least one if there is anything to decode."""
        while self._asked:
            chunk = self._take_chunk(wait=wait and not self._filling)
            if chunk is None:
                return
            pictures, images, size = self._next_images(len(chunk.memory))
            memory = chunk.memory if size <= len(chunk.memory) else self._stream.host_memory(size)
            jobs = PackJobs(images, memory.numpy())
            self._filling.append(_Filling(chunk, memory, pictures, jobs))
            self._pool.submit(jobs)

    def _take_chunk(self, *, wait: bool) -> _Chunk | None:
        """Memory that no copy is reading."""
        if self._unallocated:
            self._unallocated -= 1
            return _Chunk(self._stream.host_memory(self._chunk_bytes), None)
        if not self._free:
            return None
        copied = self._free[0].copied
        if copied is not None and not copied.is_done():
            if not wait:
                return None
            copied.wait()
        return self._free.popleft()

    def _next_images(self, room: int) -> tuple[Pictures, NDArray[np.int64], int]:
        """The next images of one `Pictures` that probably fit into `room` bytes, and the bytes they need."""
        pictures, first = self._asked[0]
        together = []
        for other, image in self._asked:
            if other is not pictures:
                break
            together.append(image)
        sizes = self._bytes(np.array(together, dtype=np.int64))
        for at, image in enumerate(together):
            sizes[at] = self._sizes.get(image, sizes[at])
        room = max(room, self._sizes.get(first, 0))
        count = max(1, int(np.searchsorted(np.cumsum(sizes), room, side="right")))
        for image in together[:count]:
            self._asked.popleft()
            self._sizes.pop(image, None)
        return pictures, np.array(together[:count], dtype=np.int64), room

    def _upload(self) -> None:
        """Queue the copy of the oldest chunk, which is full."""
        chunk, memory, pictures, jobs = self._filling.popleft()
        for stage, seconds in jobs.seconds().items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        failures = {image: reason for _, image, reason in jobs.failures()}
        for image, reason in failures.items():
            pictures.fail(image, reason)
        there = jobs.packed.is_there
        self._seen_bytes += float(jobs.sizes[there].sum())
        self._seen_pixels += float(self._pixels(jobs.images[there]).sum())
        did_not_fit = [at for at in np.flatnonzero(~there).tolist() if jobs.images[at] not in failures]
        for at in reversed(did_not_fit):  # into the next chunk: they are decoded already
            image = int(jobs.images[at])
            self._sizes[image] = int(jobs.sizes[at])
            self._asked.appendleft((pictures, image))
        pictures.put(jobs.images, memory[: jobs.used], jobs.packed)
        self._free.append(_Chunk(chunk.memory, self._stream.mark()))
