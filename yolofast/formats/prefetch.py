"""Processes a stream in batches, a few batches ahead of its consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

BATCH = 512
_MIN_PREFETCH = 4
"""Batches in flight or waiting (a few hundred kB each); with more cores, one per core."""


def prefetch_batches(
    items: Iterable[T], work: Callable[[list[T]], R], batch: int = BATCH
) -> Iterator[tuple[list[T], R]]:
    """Batches of `items` in order, each with the result of `work`.

    `work` runs in threads on a few batches while the caller consumes earlier ones, which pays off where it
    releases the GIL. Its exceptions are raised here, in order.
    """
    stream = iter(items)
    pending: deque[tuple[list[T], Future[R]]] = deque()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        try:
            while taken := list(islice(stream, batch)):
                pending.append((taken, pool.submit(work, taken)))
                if len(pending) > max(_MIN_PREFETCH, cores):
                    first, done = pending.popleft()
                    yield first, done.result()
            while pending:
                first, done = pending.popleft()
                yield first, done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
