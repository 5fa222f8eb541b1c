"""Work on a stream in batches, some of them ahead of where its reader is."""

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
_AHEAD = 4
"""Batches that are worked on or wait, at least: one a core, where there are more. Each is some hundred kB."""


def work_ahead(
    items: Iterable[T], work: Callable[[list[T]], R], batch: int = BATCH
) -> Iterator[tuple[list[T], R]]:
    """Batches of `items` in order, each with what `work` gave for it.

    `work` runs in threads, for a few batches at once, while the caller deals with earlier ones: it pays where
    `work` releases the GIL. What it raises is raised here, in order.
    """
    stream = iter(items)
    waiting: deque[tuple[list[T], Future[R]]] = deque()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        try:
            while taken := list(islice(stream, batch)):
                waiting.append((taken, pool.submit(work, taken)))
                if len(waiting) > max(_AHEAD, cores):
                    first, done = waiting.popleft()
                    yield first, done.result()
            while waiting:
                first, done = waiting.popleft()
                yield first, done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
