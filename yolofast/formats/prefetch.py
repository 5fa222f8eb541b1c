"""Processes a stream in batches, a few batches ahead of its consumer."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from itertools import islice
from typing import TypeVar

from yolofast.threads import map_in_threads

T = TypeVar("T")
R = TypeVar("R")

BATCH = 512
_MIN_PREFETCH = 4
"""Batches in flight or waiting (a few hundred kB each); with more cores, one per core."""


def prefetch_batches(
    items: Iterable[T], work: Callable[[list[T]], R], batch: int = BATCH
) -> Generator[tuple[list[T], R], None, None]:
    """Batches of `items` in order, each with the result of `work`.

    `work` runs in threads on a few batches while the caller consumes earlier ones, which pays off where it
    releases the GIL. Its exceptions are raised here, in order.
    """
    stream = iter(items)
    batches: Iterable[list[T]] = iter(lambda: list(islice(stream, batch)), [])
    cores = os.cpu_count() or 1
    return map_in_threads(
        lambda taken: (taken, work(taken)), batches, cores, ahead=max(_MIN_PREFETCH, cores) + 1
    )
