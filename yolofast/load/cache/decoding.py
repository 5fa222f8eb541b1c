"""Decoding all images of a dataset into a cache: in threads, and stopped early if they will not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import TypeVar

from tqdm import tqdm

from yolofast.errors import DataError, ImageError
from yolofast.threads import map_in_threads
from yolofast.types import Picture

T = TypeVar("T")
Load = Callable[[int], Picture]
"""Returns the planes of an image, decoded and reduced, with the GIL released; raises `ImageError`."""

CHECK_EVERY = 32
"""Images between two checks whether the rest will fit."""


def decode_all(
    decode: Callable[[int], T], count: int, threads: int, title: str, *, progress: bool
) -> Generator[T, None, None]:
    """`decode(image)` of `count` images in order, from threads. Close it to stop early."""
    with (
        contextlib.closing(map_in_threads(decode, range(count), threads)) as results,
        tqdm(total=count, desc=title, unit="image", leave=False, disable=not progress) as shown,
    ):
        for result in results:
            yield result
            shown.update()


def picture_or_reason(load: Load, image: int) -> Picture | str:
    """The planes of an image, or why it cannot be read."""
    try:
        return load(image)
    except ImageError as error:
        return str(error)


def check_fit(option: str, room: str, advice: str, done: int, count: int, held: int, free: int) -> None:
    """Raises `DataError` when the rest of the images will not fit.

    `done` of `count` images took `held` bytes of `room` (memory or disk space), and `free` bytes are left.
    """
    left = held / done * (count - done)
    if left > free:
        raise DataError(
            f"{option}: {count} images need about {(held + left) / 2**30:.1f} GiB of {room} (judging by the "
            f"first {done}), and {(held + free) / 2**30:.1f} GiB are available. {advice}"
        )
