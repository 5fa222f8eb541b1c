"""Exclusive locks between processes, held on open files: a process that ends or is killed lets go."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from typing import IO, Any


@contextlib.contextmanager
def file_lock(file: IO[Any], *, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the exclusive lock of an open file while the block runs; yields whether it is held.

    on_wait  omitted means do not wait: False is yielded when another process holds the lock. Otherwise it is
             called once before waiting for that process

    Raises `OSError` when the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is None:
            yield False
            return
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield True
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: a process forked meanwhile shares the file
