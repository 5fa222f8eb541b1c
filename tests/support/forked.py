"""Commands in forked processes: a parent that has imported everything makes hundreds of starts cheap."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.chaos import Ran
from tqdm import tqdm


@dataclass
class Forked:
    """A forked process that runs `work`, with its output in a file."""

    pid: int
    log: Path
    begun: float

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, seconds: float = 120) -> Ran:
        """Wait for its end. Raises `TimeoutError`, nothing left."""
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - self.begun > seconds:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"still running after {seconds} s: {self.log.read_text()}")
            time.sleep(0.002)
        taken = time.monotonic() - self.begun
        text = self.log.read_text(errors="replace")
        return Ran(os.waitstatus_to_exitcode(status), "", text, taken, usage.ru_maxrss / 1024)


def fork(work: Callable[[], int | None], log: Path) -> Forked:
    """Run `work` in a child, whose exit code is what it returns; what it raises is in the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    begun = time.monotonic()
    pid = os.fork()
    if pid:
        return Forked(pid, log, begun)
    code = 70
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        output = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        logging.root.handlers.clear()
        tqdm.set_lock(
            threading.RLock()
        )  # its own is shared by forked processes, and stays held by a killed one
        code = work() or 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def command(log: Path, *words: object) -> Forked:
    """`yolofast WORDS...` in a forked process."""
    from yolofast.cli import main

    return fork(lambda: main([str(word) for word in words]), log)
