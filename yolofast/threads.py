"""Work on a stream in threads, with results in order and a bounded number of them ahead of the consumer."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(
    work: Callable[[T], R], items: Iterable[T], threads: int | None = None, *, ahead: int | None = None
) -> Generator[R, None, None]:
    """`work(item)` of every item, in order. It pays where `work` releases the GIL.

    threads  omitted means one per core
    ahead    items read whose results the consumer has not taken yet; omitted means two per thread

    What `work` raises is raised here, in its turn. Closing the generator drops what has not begun and waits
    for what has.
    """
    threads = threads or os.cpu_count() or 1
    ahead = ahead or 2 * threads
    stream = iter(items)
    pending: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            pending.extend(pool.submit(work, item) for item in islice(stream, ahead - len(pending)))
            if not pending:
                return
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
