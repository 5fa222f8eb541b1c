"""Time: the stages of a long run, announced and timed without printing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

Report = Callable[[str], None]
"""Takes one line (or a few) about the progress of a run, such as `print`."""


@dataclass
class Stopwatch:
    """Announces stages to `report` and records how long each took."""

    stages: int
    report: Report = _log.info
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce stage `name` as the next of `stages` and time it."""
        self.report(f"\n[{len(self.seconds) + 1}/{self.stages}] {name}: {what}")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.report(f"    {self.seconds[name]:.1f} s")
