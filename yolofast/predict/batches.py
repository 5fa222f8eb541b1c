"""Batches for the network out of any source: what is read, decoded and letterboxed, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.images import decode_image, read_header, read_image
from yolofast.load import array_batch, image_batches
from yolofast.predict.sources import Picture, Source, WebAddress
from yolofast.predict.videos import Video, frames

BATCH_PIXELS = 1 << 25
"""Pixels of originals after which a batch takes no other one: 8 images of 4 megapixels."""


class Item(NamedTuple):
    """An original, uint8 [H, W, 3] RGB. `jpeg` is its file where the network's pixels come from that."""

    name: str
    image: NDArray[np.uint8]
    frame: int | None = None
    fps: float | None = None
    jpeg: Path | None = None


class Failure(NamedTuple):
    """What could not be read: the path of a file, or the name of something else."""

    path: Path | str
    error: ImageError


Outcome: TypeAlias = Item | Failure


class Ready(NamedTuple):
    """A batch: `pixels` uint8 [B, 3, H, W] are those of the items in `outcomes`, in order."""

    outcomes: list[Outcome]
    pixels: NDArray[np.uint8]
    milliseconds: float

    @property
    def items(self) -> list[Item]:
        """The originals."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Item)]


def resolved(source: Source) -> Source:
    """`source` with what its address leads to, where it is one address alone: that may be a live stream."""
    if len(source) == 1:
        name, picture = source[0]
        if isinstance(picture, WebAddress):
            return Source([(name, _opened(name, picture))])
    return source


def read_items(source: Source, stride: int) -> Generator[Outcome, None, None]:
    """What is in `source`, read one by one; of videos every `stride`-th frame."""
    for name, picture in source:
        try:
            yield from _items(name, picture, stride)
        except ImageError as error:
            yield Failure(picture if isinstance(picture, Path) else name, error)


def ready_batches(
    outcomes: Iterable[Outcome], *, imgsz: int, batch: int, rect: bool, live: bool
) -> Iterator[Ready]:
    """`outcomes` in batches, in order. The time of `live` ones does not contain the wait for them."""
    started = perf_counter()
    for chunk in _chunks(outcomes, batch):
        if live:
            started = perf_counter()
        items = [outcome for outcome in chunk if isinstance(outcome, Item)]
        if items and items[0].jpeg is not None:
            chunk, pixels = _from_files(chunk, imgsz, rect)
        elif items:
            pixels = array_batch([item.image for item in items], imgsz=imgsz, rect=rect)
        else:
            pixels = np.zeros((0, 3, imgsz, imgsz), np.uint8)
        yield Ready(chunk, pixels, (perf_counter() - started) * 1e3)
        started = perf_counter()


def _opened(name: str, address: WebAddress) -> bytes | Video:
    from yolofast.ingest.web_picture import open_picture

    found = open_picture(address.url)
    return Video(found.url, name, live=not found.has_end) if found.image is None else found.image


def _items(name: str, picture: Picture, stride: int) -> Iterator[Item]:
    if isinstance(picture, WebAddress):
        picture = _opened(name, picture)
        if isinstance(picture, Video) and picture.live:
            raise ImageError(
                f"{name}: is a live stream, which does not end, expected an image. Give it alone."
            )
    if isinstance(picture, Path):
        file = picture if read_header(picture).format == "jpeg" else None
        yield Item(name, read_image(picture), jpeg=file)
    elif isinstance(picture, bytes):
        yield Item(name, decode_image(picture, name))
    elif isinstance(picture, Video):
        for number, image, fps in frames(picture, stride):
            yield Item(f"frame{number} of {name}", image, number, fps)
    else:
        yield Item(name, picture)


def _chunks(outcomes: Iterable[Outcome], batch: int) -> Iterator[list[Outcome]]:
    """At most `batch` outcomes and about `BATCH_PIXELS`; JPEG files are not mixed with others."""
    chunk: list[Outcome] = []
    pixels, jpegs = 0, False
    for outcome in outcomes:
        if isinstance(outcome, Item):
            if pixels and jpegs != (outcome.jpeg is not None):
                yield chunk
                chunk, pixels = [], 0
            jpegs = outcome.jpeg is not None
            pixels += outcome.image.shape[0] * outcome.image.shape[1]
        chunk.append(outcome)
        del outcome  # not held while the batch is in the network
        if len(chunk) == batch or pixels >= BATCH_PIXELS:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk


def _from_files(chunk: list[Outcome], imgsz: int, rect: bool) -> tuple[list[Outcome], NDArray[np.uint8]]:
    """The pixels of JPEG files as in an evaluation: decoded at the size that the network needs."""
    errors: dict[Path, ImageError] = {}
    paths = [outcome.jpeg for outcome in chunk if isinstance(outcome, Item) and outcome.jpeg is not None]
    found = list(
        image_batches(paths, imgsz=imgsz, batch_size=len(paths), rect=rect, on_error=errors.__setitem__)
    )
    pixels = np.asarray(found[0].images) if found else np.zeros((0, 3, imgsz, imgsz), np.uint8)
    left = [
        Failure(outcome.jpeg, errors[outcome.jpeg])
        if isinstance(outcome, Item) and outcome.jpeg in errors
        else outcome
        for outcome in chunk
    ]
    return left, pixels
