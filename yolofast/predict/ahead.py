"""A thread that reads ahead of its consumer, by a bounded number of values."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates `values` in a thread of its own; an iterator and a context manager, which ends the thread.

    At most `room` values wait for the consumer. When there is no room the thread waits, or with `newest`
    drops the oldest value and counts it in `dropped`. An error in the thread is raised to the consumer, once,
    after the values before it. At the end of the block `values` is closed in the thread, where it also ran.
    """

    def __init__(self, values: Iterator[T], *, room: int = 1, newest: bool = False) -> None:
        self.dropped = 0
        self._values, self._room, self._newest = values, room, newest
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="yolofast-ahead", daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            while not self._waiting and not self._ended:
                self._changed.wait()
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def _run(self) -> None:
        try:
            try:
                for value in self._values:
                    if not self._added(value):
                        break
                    del value  # not held while the next one is made
            finally:
                close = getattr(self._values, "close", None)
                if close is not None:
                    close()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _added(self, value: T) -> bool:
        """Whether the consumer goes on; waits for room."""
        with self._changed:
            while len(self._waiting) >= self._room and not self._newest and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(value)
            self._changed.notify_all()
            return True
