"""The threads behind a loader: they run the engine, and their errors reach the consumer."""

from __future__ import annotations

import os
import threading

from yolofast.errors import YolofastError
from yolofast.load.execute._engine import Engine, Jobs

WAIT_SLICE_S = 0.1
"""How long Ctrl-C may have to wait."""


class Pool:
    """Threads that run an engine, and their errors. Without threads, jobs run in the thread that waits."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._pid, self._closed = os.getpid(), False
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=_work, args=(engine, self._errors), name=f"yolofast-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._threads)

    def submit(self, jobs: Jobs) -> None:
        """Queue jobs for the threads, if there are any."""
        if self._threads:
            self.engine.submit(jobs)

    def is_done(self, jobs: Jobs) -> bool:
        """Whether the threads are done with submitted jobs."""
        return bool(self._threads) and self.engine.wait(jobs, 0.0)

    def finish(self, jobs: Jobs) -> None:
        """Wait for submitted jobs; without threads, run them."""
        if self._threads:
            while not self.engine.wait(jobs, WAIT_SLICE_S):
                self.check()
        else:
            self.engine.run(jobs)

    def is_running(self) -> bool:
        """Whether the pool works in this process: a forked child has none of its parent's threads."""
        return not self._closed and not self._errors and self._pid == os.getpid()

    def check(self) -> None:
        """Raise the error that keeps the pool from working, if any."""
        if self._pid != os.getpid():
            raise YolofastError("a forked process cannot continue its parent's iteration. Start a new one.")
        if self._errors:
            raise YolofastError(f"a loader thread failed: {self._errors[0]}") from self._errors[0]
        if self._closed:
            raise YolofastError("the loader was closed during an iteration. Start a new one.")

    def reset(self) -> None:
        """Drop what is queued and wait for what is in progress."""
        if self._pid != os.getpid():
            return
        if threading.current_thread() in self._threads:
            self.close()  # the garbage collector ended an iteration in this thread, which cannot join itself
        else:
            self.engine.reset()

    def close(self) -> None:
        """Stop the threads."""
        if self._pid != os.getpid():
            return
        self._closed = True
        self.engine.stop()
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()


def _work(engine: Engine, errors: list[BaseException]) -> None:
    """What a thread runs. It holds the engine only, so that an unused loader is collected."""
    try:
        engine.work()
    except BaseException as error:  # of any kind: it is raised in the consumer's thread
        errors.append(error)
