"""Ctrl-C, SIGTERM and SIGHUP: a command saves what it can, says one line and ends; a second one ends it at
once.

Imports nothing slow, so that it is in place before the rest is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOGETHER_S = 0.5
"""Signals this close together are one: `timeout` and terminals send them to the process and to its group."""


class Interrupted(KeyboardInterrupt):
    """What a signal raises in the main thread, so that everything is left as after Ctrl-C."""


class Signals:
    """The signals that a command has had: `number` of the first one, `since` on the monotonic clock."""

    number: signal.Signals | None = None
    since = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            if time.monotonic() - self.since > _TOGETHER_S:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.number, self.since = signal.Signals(number), time.monotonic()
        if _is_importing(frame):  # an exception would be swallowed or turned into others there
            self.leave()
        raise Interrupted

    def leave(self) -> None:
        """End the process at once. What it was writing is settled by the next run, as after a kill."""
        with suppress(Exception):
            print(self.line, file=sys.stderr, flush=True)
        os._exit(self.exit_code)

    @property
    def line(self) -> str:
        """What to say at the end."""
        by = "" if self.number in (None, signal.SIGINT) else f" ({self.number.name})"
        return f"yolofast: interrupted{by}"

    @property
    def exit_code(self) -> int:
        """As shells have it: 128 and the number of the signal."""
        return 128 + (self.number or signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextmanager
def handled() -> Iterator[Signals]:
    """Handle signals in a block, in the main thread; those that are ignored, as with nohup, stay so.

    A handler of someone else stays, too.
    """
    signals, unraisable, before = Signals(), sys.unraisablehook, {}

    def left(problem: sys.UnraisableHookArgs) -> None:
        if problem.exc_type is Interrupted:  # in a finalizer, say, out of which no exception gets
            signals.leave()
        unraisable(problem)

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, signals.handle)
        sys.unraisablehook = left
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = unraisable
