"""Pictures on a device: the planes of a block's images in one buffer, and who fills it.

`StagedPictures` decodes in the engine's threads, into page-locked chunks that are copied to the device.
Another way to the same, such as a decoder on the device that takes compressed files, is another
`PictureSource`.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from yolofast.load.execute._engine import PackJobs
from yolofast.load.execute.device_stream import Mark, SideStream
from yolofast.load.execute.pool import Pool

CHUNK_BYTES = 32 * 2**20
CHUNKS = (4, 16)
"""Chunks that are written, copied or free, at least and at most."""
SAMPLED = 1000
"""Images whose sizes say how large a picture is on average."""
COLUMNS = 11
PLANE_OFFSETS = slice(0, 3)
USUAL_BYTES = 1.5
"""Bytes of a picture a pixel, 4:2:0, until some have been seen."""
GROWTH = 1.5


class Pictures:
    """The pictures of some images on a device.

    planes   uint8 [N] on the device: their planes
    rows     int64 [n, 11], a row an image: offsets of y, cb, cr in `planes`, stride of y and of chroma,
             height, width, height and width of chroma, chroma factors across and down; as `PackJobs.rows`
    places   float64 [n, 2, 3] as in `types.Picture`
    reasons  image -> why it cannot be read
    """

    def __init__(self, images: NDArray[np.int64], planes: torch.Tensor, stream: SideStream) -> None:
        self.planes, self._stream = planes, stream
        self.rows = np.empty((0, COLUMNS), dtype=np.int64)
        self.places = np.empty((0, 2, 3))
        self.reasons: dict[int, str] = {}
        self._row_of: dict[int, int] = {}
        self._is_there = np.empty(0, dtype=bool)
        self._used = 0
        self.add(images)

    def add(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows for images that are still to come; returns those that had none."""
        fresh = [image for image in images.tolist() if image not in self._row_of]
        for image in fresh:
            self._row_of[image] = len(self._row_of)
        more = len(fresh)
        self.rows = np.concatenate([self.rows, np.full((more, COLUMNS), -1)])
        self.places = np.concatenate([self.places, np.zeros((more, 2, 3))])
        self._is_there = np.concatenate([self._is_there, np.zeros(more, dtype=bool)])
        return np.array(fresh, dtype=np.int64)

    def rows_of(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which row each image has."""
        return np.array([self._row_of[image] for image in images.tolist()], dtype=np.int64)

    def reserve(self, size: int) -> int:
        """Where there are `size` more bytes in `planes`, which is replaced by a larger one if need be."""
        begin, self._used = self._used, self._used + size
        if self._used > len(self.planes):
            size = max(self._used, int(GROWTH * len(self.planes)))
            grown = self._stream.empty((size,), torch.uint8)
            self._stream.copy(grown[:begin], self.planes[:begin])
            self.planes = grown
        return begin

    def put(self, images: NDArray[np.int64], rows: NDArray[np.int64], places: NDArray[np.float64]) -> None:
        """The planes of images are there, or on their way in the stream that will render them."""
        at = self.rows_of(images)
        self.rows[at], self.places[at], self._is_there[at] = rows, places, True

    def fail(self, image: int, reason: str) -> None:
        """An image cannot be read."""
        self.reasons[image] = reason
        self._is_there[self._row_of[image]] = True

    def have(self, images: NDArray[np.int64]) -> bool:
        """Whether each of the images is there, or is known to be unreadable."""
        return bool(self._is_there[self.rows_of(images)].all())


class PictureSource(Protocol):
    """Who gets pictures onto a device.

    seconds  spent by threads since somebody last emptied it, by stage
    """

    seconds: dict[str, float]

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for before."""

    def advance(self, *, wait: bool) -> None:
        """Move on what can be moved at once; with `wait`, until something more has come."""


class _Chunk(NamedTuple):
    """Page-locked memory, and the copy that read it last."""

    memory: torch.Tensor
    copied: Mark | None


class _Filling(NamedTuple):
    """A chunk that the engine's threads write to."""

    chunk: _Chunk
    memory: torch.Tensor
    pictures: Pictures
    jobs: PackJobs


class StagedPictures:
    """Decodes images in a pool's threads and copies their planes to a device in chunks.

    shapes       int32 [n, 2] (height, width) of every upright image
    cover        longer side, in pixels, at which the pool's engine decodes
    ahead        so many pictures have room in the chunks, if 16 of them are enough for that: by so much the
                 threads are ahead of a consumer that does not ask
    chunk_bytes  a picture that needs more gets a chunk of its own
    """

    def __init__(
        self,
        pool: Pool,
        stream: SideStream,
        shapes: NDArray[np.int32],
        cover: int,
        ahead: int,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self._pool, self._stream = pool, stream
        self._shapes, self._cover = shapes, cover
        self._chunk_bytes = chunk_bytes
        self._free: deque[_Chunk] = deque()  # longest unused first
        self._filling: deque[_Filling] = deque()
        self._asked: deque[tuple[Pictures, int]] = deque()
        self._sizes: dict[int, int] = {}  # of pictures that did not fit
        self._seen_bytes = self._seen_pixels = 0.0
        some = np.arange(0, len(shapes), -(-len(shapes) // SAMPLED))
        needed = int(ahead * self._bytes(some).mean()) // chunk_bytes + 2  # one is written, one is copied
        self._unused = min(max(needed, CHUNKS[0]), CHUNKS[1])

    # ------------------------------------------------------------ sizes

    def _pixels(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of the luma planes of images at the DCT scale at which they are decoded."""
        shapes = self._shapes[images].astype(np.float64)
        eighths = np.ceil(8 * np.minimum(1.0, self._cover / shapes.max(axis=1))) / 8
        return np.asarray(shapes.prod(axis=1) * eighths**2)

    def _bytes(self, images: NDArray[np.int64]) -> NDArray[np.float64]:
        rate = self._seen_bytes / self._seen_pixels if self._seen_pixels else USUAL_BYTES
        return self._pixels(images) * rate

    def estimate(self, images: NDArray[np.int64]) -> int:
        """About how many bytes the planes of images take."""
        return int(self._bytes(images).sum())

    # ------------------------------------------------------------ the way of a picture

    def ask(self, pictures: Pictures, images: NDArray[np.int64]) -> None:
        """Have images of `pictures` decoded and put there, after those that were asked for before."""
        self._pool.engine.expect(images)
        self._asked.extend((pictures, image) for image in images.tolist())

    def advance(self, *, wait: bool) -> None:
        """Move on what can be moved at once; with `wait`, until something more has come."""
        while self._filling and self._pool.is_done(self._filling[0].jobs):
            self._upload()
            wait = False
        self._fill(wait=wait)
        if wait:
            self._pool.finish(self._filling[0].jobs)
            self._upload()
            self._fill(wait=False)

    def _fill(self, *, wait: bool) -> None:
        """Give the threads chunks to fill; with `wait`, one at least if there is anything to decode."""
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
        """Memory that no copy reads any more."""
        if self._unused:
            self._unused -= 1
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
        """The next images of one `Pictures` that will about fit, and how much room they need for that."""
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
        there = jobs.rows[:, 0] >= 0
        self._seen_bytes += float(jobs.sizes[there].sum())
        self._seen_pixels += float(self._pixels(jobs.images[there]).sum())
        did_not_fit = [at for at in np.flatnonzero(~there).tolist() if jobs.images[at] not in failures]
        for at in reversed(did_not_fit):  # into the next chunk: they are decoded already
            image = int(jobs.images[at])
            self._sizes[image] = int(jobs.sizes[at])
            self._asked.appendleft((pictures, image))
        begin = pictures.reserve(jobs.used)
        self._stream.copy(pictures.planes[begin : begin + jobs.used], memory[: jobs.used])
        rows = jobs.rows[there]
        offsets = rows[:, PLANE_OFFSETS]
        offsets[offsets >= 0] += begin
        pictures.put(jobs.images[there], rows, jobs.places[there])
        self._free.append(_Chunk(chunk.memory, self._stream.mark()))
