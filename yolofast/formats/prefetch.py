"""Work on a stream in batches, some of them prefetched for its reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TypeVar

from yolofast.threads import map_in_threads

T = TypeVar("T")
R = TypeVar("R")

BATCH = 512
_MIN_BATCHES = 5
"""Batches in work or waiting for the reader, at least: one per core and one more, where that is more. Each
takes some hundred kB."""


def prefetch_batches(
    items: Iterable[T], work: Callable[[list[T]], R], batch: int = BATCH
) -> Generator[tuple[list[T], R], None, None]:
    """Batches of `items` in order, each with `work(batch)`, which runs in threads while the caller handles
    earlier batches; see `map_in_threads`."""
    stream = iter(items)
    batches: Iterable[list[T]] = iter(lambda: list(islice(stream, batch)), [])
    cores = os.cpu_count() or 1
    return map_in_threads(
        lambda taken: (taken, work(taken)), batches, cores, ahead=max(_MIN_BATCHES, cores + 1)
    )
