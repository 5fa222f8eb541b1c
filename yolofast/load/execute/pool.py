"""The threads behind a loader: they run the engine, and what goes wrong in them reaches the consumer."""

from __future__ import annotations

import os
import threading

from yolofast.errors import YolofastError
from yolofast.load.execute._engine import Engine, Jobs

WAIT_SLICE_S = 0.1  # how long Ctrl-C may have to wait


class Pool:
    """Threads that run an engine, and what went wrong in them. Without any, jobs are done by who waits."""

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
        """Wait for submitted jobs, or do them."""
        if self._threads:
            while not self.engine.wait(jobs, WAIT_SLICE_S):
                self.check()
        else:
            self.engine.run(jobs)

    def is_open(self) -> bool:
        """Whether there are threads to work, in this process: a forked child has none of its parent's."""
        return not self._closed and not self._errors and self._pid == os.getpid()

    def check(self) -> None:
        """Raise what keeps the pool from working."""
        if self._pid != os.getpid():
            raise YolofastError("a forked process goes on with its parent's iteration. Begin one of its own.")
        if self._errors:
            raise YolofastError(f"a loader thread failed: {self._errors[0]}") from self._errors[0]
        if self._closed:
            raise YolofastError("the loader was closed during an iteration. Begin a new one.")

    def reset(self) -> None:
        """Drop what is queued and wait for what is in work."""
        if self._pid != os.getpid():
            return
        if threading.current_thread() in self._threads:
            self.close()  # the collector ended an iteration in this thread, which cannot wait for itself
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
    """A thread's life. It knows the engine only, so that a loader that nobody holds is collected."""
    try:
        engine.work()
    except BaseException as error:  # whatever it is, the consumer has to hear of it
        errors.append(error)
