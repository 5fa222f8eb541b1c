"""DataFlowMonitor: where the time between a file and a training step goes, and which side waits.

The loader reports every batch to it, and the consumer its own work. It keeps sums and a history that gets
coarser as it grows, so a monitor takes the same memory after a minute and after a month.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from yolofast.errors import ConfigError, DataError
from yolofast.load.monitor_chart import WORKER_WAIT, FlowPoint, merge_pairs, plot_flow
from yolofast.process_memory import peak_resident_mib, resident_mib

P = ParamSpec("P")
R = TypeVar("R")

PROCESSING = "processing"
"""The name under which a consumer measures its training step."""
NOTABLE_WAIT = 0.05
"""Share of the time below which a consumer's waiting does not count."""
HISTORY = 512
"""Points kept; at twice as many, neighbouring points are merged."""


@dataclass
class _Sums:
    batches: int = 0
    batch_samples: int = 0
    samples: int = 0
    wait_s: float = 0.0
    first_samples: int = 0
    first_wait_s: float = 0.0
    depths: float = 0.0
    min_depth: int | None = None
    stages: dict[str, float] = field(default_factory=dict)
    calls: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Name -> number of calls, total seconds."""


class DataFlowMonitor:
    """Stage times, waiting, queue depth, samples per second and memory of a data flow.

    A `Loader` calls `record_batch`; a consumer measures its own work:

        with monitor.measure("processing"):
            train_step(batch)

    interval_s   seconds between two points of the history at the start; it grows with the run

    All methods can be called from any thread. Raises `ConfigError` for an interval that is not above 0.
    """

    def __init__(self, interval_s: float = 0.5) -> None:
        if not 0 < interval_s < math.inf:
            raise ConfigError(f"interval_s: got {interval_s}, expected seconds above 0.")
        self._interval_s = interval_s
        self._lock = threading.RLock()
        self._sums = _Sums()
        self._first: float | None = None
        self._last = 0.0
        self._point_began = 0.0
        self._open = FlowPoint()
        self._history: list[FlowPoint] = []
        self._start_mb = resident_mib()

    # ------------------------------------------------------------ recording

    def record_batch(
        self, samples: int, *, wait_s: float, queue_depth: int, stages: Mapping[str, float]
    ) -> None:
        """Record a batch when the consumer gets it.

        wait_s        seconds that the consumer waited for it
        queue_depth   batches that were ready when the consumer asked
        stages        seconds of worker time that each stage spent on it
        """
        with self._lock:
            sums = self._sums
            sums.batches += 1
            sums.batch_samples += samples
            sums.wait_s += wait_s
            sums.depths += queue_depth
            sums.min_depth = queue_depth if sums.min_depth is None else min(sums.min_depth, queue_depth)
            for name, seconds in stages.items():
                sums.stages[name] = sums.stages.get(name, 0.0) + seconds
            if not self._start(samples, wait_s):
                self._open.depths += queue_depth
                self._open.batches += 1
                self._advance(samples)

    @contextmanager
    def measure(self, name: str = PROCESSING, samples: int = 0) -> Iterator[None]:
        """Time a block of the consumer's work, even if it raises.

        `samples` adds to the samples processed: for flows without a `Loader`, which counts them itself.
        """
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._lock:
                calls, total = self._sums.calls.get(name, (0, 0.0))
                self._sums.calls[name] = calls + 1, total + seconds
                if samples and not self._start(samples, 0.0):
                    self._advance(samples)

    def timed(self, name: str = PROCESSING) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorator: every call of the function is a `measure(name)`."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def measured(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.measure(name):
                    return function(*args, **kwargs)

            return measured

        return decorate

    def _start(self, samples: int, wait_s: float) -> bool:
        """Whether this is the first record. Time runs from it, so startup does not count in rates."""
        self._sums.samples += samples
        if self._first is not None:
            return False
        self._first = self._last = self._point_began = time.perf_counter()
        self._sums.first_samples, self._sums.first_wait_s = samples, wait_s
        return True

    def _advance(self, samples: int) -> None:
        self._last = time.perf_counter()
        self._open.samples += samples
        if self._last - self._point_began >= self._interval_s:
            self._history.append(self._closed())
            self._open = FlowPoint()
            self._point_began = self._last
        if len(self._history) >= 2 * HISTORY:
            self._history = merge_pairs(self._history)
            self._interval_s *= 2

    def _closed(self) -> FlowPoint:
        """The current point, as it is now."""
        point = self._open
        return FlowPoint(
            self._last - self._point_began, point.samples, point.depths, point.batches, resident_mib()
        )

    # ------------------------------------------------------------ reporting

    @property
    def avg_loading_time(self) -> float:
        """Mean seconds per batch that the consumer waited; NaN before the first batch."""
        with self._lock:
            return self._sums.wait_s / self._sums.batches if self._sums.batches else math.nan

    @property
    def avg_processing_time(self) -> float:
        """Mean seconds per block measured as 'processing'; NaN when there is none."""
        calls, seconds = self._sums.calls.get(PROCESSING, (0, 0.0))
        return seconds / calls if calls else math.nan

    @property
    def peak_memory_usage(self) -> float:
        """Peak resident memory of this process since it started, in MiB."""
        return peak_resident_mib()

    @property
    def total_samples_processed(self) -> int:
        """Samples in all batches and measured blocks."""
        return self._sums.samples

    @property
    def throughput(self) -> float:
        """Samples per second between the first and the last record; NaN until there are two."""
        with self._lock:
            wall = self._wall_s()
            return (self._sums.samples - self._sums.first_samples) / wall if wall > 0 else math.nan

    def _wall_s(self) -> float:
        return 0.0 if self._first is None else self._last - self._first

    def report(self) -> dict[str, Any]:
        """All figures so far, ready for JSON: seconds, MiB, shares 0..1; None where there is no figure yet.

        `stages` has total_s, ms_per_sample and share (of worker time) of each; `measured` has calls,
        total_s and mean_s of the consumer's own blocks; `limited_by` is 'loader', 'consumer' or None.
        `wall_s`, `wait_share` and `throughput` run from the first record: startup does not count.
        """
        with self._lock:
            sums, wall = self._sums, self._wall_s()
            worker_s = sum(sums.stages.values())
            stages = {
                name: {
                    "total_s": seconds,
                    "ms_per_sample": _ratio(1000 * seconds, sums.batch_samples),
                    "share": _ratio(seconds, worker_s),
                }
                for name, seconds in sums.stages.items()
            }
            measured = {
                name: {"calls": calls, "total_s": seconds, "mean_s": seconds / calls}
                for name, (calls, seconds) in sums.calls.items()
            }
            wait_share = _ratio(sums.wait_s - sums.first_wait_s, wall)
            return {
                "avg_loading_time": _number(self.avg_loading_time),
                "avg_processing_time": _number(self.avg_processing_time),
                "peak_memory_usage": self.peak_memory_usage,
                "total_samples_processed": sums.samples,
                "throughput": _number(self.throughput),
                "batches": sums.batches,
                "wall_s": wall,
                "wait_share": wait_share,
                "limited_by": _limited_by(wait_share, sums, worker_s),
                "queue_depth": {"mean": _ratio(sums.depths, sums.batches), "min": sums.min_depth},
                "memory_mb": {"start": self._start_mb, "peak": self.peak_memory_usage},
                "stages": stages,
                "measured": measured,
            }

    def format_report(self) -> str:
        """The report as a readable table, with a sentence on what limits the flow."""
        return format_report(self.report())

    def plot(self, path: str | Path) -> Path:
        """Plot samples per second, queue depth and memory over time and the stages' shares, as a PNG.

        Raises `MissingExtraError` without matplotlib, and `DataError` when fewer than two batches were
        recorded or `path` cannot be written.
        """
        with self._lock:
            points = [*self._history, *([self._closed()] if self._last > self._point_began else [])]
        if not points:
            raise DataError(
                "data flow: got fewer than two records, expected a run to plot. Load more batches."
            )
        report = self.report()
        return plot_flow(verdict(report), points, report["stages"], Path(path))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _limited_by(wait_share: float | None, sums: _Sums, worker_s: float) -> str | None:
    """The side that the other one waits for."""
    if wait_share is None or not sums.batches:
        return None
    workers_wait = sums.stages.get(WORKER_WAIT, 0.0) / worker_s if worker_s > 0 else 0.0
    return "loader" if wait_share > max(NOTABLE_WAIT, workers_wait) else "consumer"


# ---------------------------------------------------------------- text


def verdict(report: Mapping[str, Any]) -> str:
    """What limits the flow, in a sentence."""
    if report["limited_by"] is None:
        return "Too few batches to tell what limits the flow."
    waiting = f"{report['wait_share']:.0%} of the time"
    if report["limited_by"] == "loader":
        return f"Training waits for data {waiting}: faster loading would speed it up."
    return f"The loader is fast enough: training waits for data {waiting}."


def format_report(report: Mapping[str, Any]) -> str:
    """A report of `DataFlowMonitor.report` as text."""
    depth, memory = report["queue_depth"], report["memory_mb"]
    lines = [
        verdict(report),
        f"{report['total_samples_processed']} samples in {report['batches']} batches, "
        f"{report['wall_s']:.1f} s, {_shown(report['throughput'], '.1f')} samples/s",
        f"consumer waits {_shown(report['avg_loading_time'], '.4f')} s per batch, "
        f"processes {_shown(report['avg_processing_time'], '.4f')} s",
        f"queue depth {_shown(depth['mean'], '.1f')} on average, {_shown(depth['min'], 'd')} minimum",
        f"memory {memory['start']:.0f} MiB at the start, {memory['peak']:.0f} MiB peak",
        "",
        f"{'stage':<12} {'total s':>10} {'ms/sample':>10} {'of worker time':>15}",
    ]
    for name, row in report["stages"].items():
        each, share = _shown(row["ms_per_sample"], ".3f"), _shown(row["share"], ".1%")
        lines.append(f"{name:<12} {row['total_s']:>10.2f} {each:>10} {share:>15}")
    if report["measured"]:
        lines += ["", f"{'measured':<12} {'total s':>10} {'calls':>10} {'s/call':>15}"]
    for name, row in report["measured"].items():
        lines.append(f"{name:<12} {row['total_s']:>10.2f} {row['calls']:>10} {row['mean_s']:>15.4f}")
    return "\n".join(lines)


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
