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

from yolofast.config_fields import at_least
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


WARM_UP = 5
"""Records at the start of a run that are reported apart: queues fill, caches warm, models compile."""


@dataclass
class _Phase:
    """Sums over a stretch of a run: its warm-up, or what follows."""

    began: float | None = None
    last: float = 0.0
    batches: int = 0
    batch_samples: int = 0
    samples: int = 0
    timed_samples: int = 0
    """Those recorded after `began`, and so within the time that is known."""
    wait_s: float = 0.0
    timed_wait_s: float = 0.0
    depths: float = 0.0
    min_depth: int | None = None
    stages: dict[str, float] = field(default_factory=dict)
    calls: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Name -> number of calls, total seconds."""

    @property
    def wall_s(self) -> float:
        return 0.0 if self.began is None else self.last - self.began

    @property
    def mean_wait_s(self) -> float:
        return self.wait_s / self.batches if self.batches else math.nan


class DataFlowMonitor:
    """Stage times, waiting, queue depth, samples per second and memory of a data flow.

    A `Loader` calls `record_batch`; a consumer measures its own work:

        with monitor.measure("processing"):
            train_step(batch)

    interval_s   seconds between two points of the history at the start; it grows with the run
    warm_up      batches (or measured blocks with samples) at the start that are reported apart. All averages,
                 rates and shares are those of the steady state behind them; before it begins, of the warm-up

    All methods can be called from any thread. Raises `ConfigError` for an interval that is not above 0, or a
    negative `warm_up`.
    """

    def __init__(self, interval_s: float = 0.5, warm_up: int = WARM_UP) -> None:
        if not 0 < interval_s < math.inf:
            raise ConfigError(f"interval_s: got {interval_s}, expected seconds above 0.")
        at_least(warm_up=(warm_up, 0))
        self._interval_s = interval_s
        self._lock = threading.RLock()
        self._warm_up_left = warm_up
        self._warm_up, self._steady = _Phase(), _Phase()
        self._point_began: float | None = None
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
            phase = self._recorded
            phase.batches += 1
            phase.batch_samples += samples
            phase.wait_s += wait_s
            phase.depths += queue_depth
            phase.min_depth = queue_depth if phase.min_depth is None else min(phase.min_depth, queue_depth)
            for name, seconds in stages.items():
                phase.stages[name] = phase.stages.get(name, 0.0) + seconds
            if self._point_began is not None:
                self._open.depths += queue_depth
                self._open.batches += 1
            self._advance(samples, wait_s)

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
                made = self._recorded.calls
                calls, total = made.get(name, (0, 0.0))
                made[name] = calls + 1, total + seconds
                if samples:
                    self._advance(samples, 0.0)

    def timed(self, name: str = PROCESSING) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorator: every call of the function is a `measure(name)`."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def measured(*args: P.args, **kwargs: P.kwargs) -> R:
                with self.measure(name):
                    return function(*args, **kwargs)

            return measured

        return decorate

    @property
    def _recorded(self) -> _Phase:
        """The phase that is being recorded."""
        return self._warm_up if self._warm_up_left else self._steady

    @property
    def _reported(self) -> _Phase:
        """The phase that figures are of."""
        return self._steady if self._steady.samples else self._warm_up

    def _advance(self, samples: int, wait_s: float) -> None:
        """Count samples. Time runs from the first record, so startup does not count in rates."""
        phase, now = self._recorded, time.perf_counter()
        phase.samples += samples
        phase.last = now
        if phase.began is None:
            phase.began = now
        else:
            phase.timed_samples += samples
            phase.timed_wait_s += wait_s
        if self._warm_up_left:
            self._warm_up_left -= 1
            if not self._warm_up_left:
                self._steady.began = self._steady.last = now
        if self._point_began is None:
            self._point_began = now
            return
        self._open.samples += samples
        if now - self._point_began >= self._interval_s:
            self._history.append(self._closed(now))
            self._open = FlowPoint()
            self._point_began = now
        if len(self._history) >= 2 * HISTORY:
            self._history = merge_pairs(self._history)
            self._interval_s *= 2

    def _closed(self, now: float) -> FlowPoint:
        """The current point, up to now."""
        point, began = self._open, self._point_began or now
        return FlowPoint(now - began, point.samples, point.depths, point.batches, resident_mib())

    # ------------------------------------------------------------ reporting

    @property
    def avg_loading_time(self) -> float:
        """Mean seconds per batch that the consumer waited; NaN before the first batch."""
        with self._lock:
            return self._reported.mean_wait_s

    @property
    def avg_processing_time(self) -> float:
        """Mean seconds per block measured as 'processing'; NaN when there is none."""
        with self._lock:
            calls, seconds = self._reported.calls.get(PROCESSING, (0, 0.0))
        return seconds / calls if calls else math.nan

    @property
    def peak_memory_usage(self) -> float:
        """Peak resident memory of this process since it started, in MiB."""
        return peak_resident_mib()

    @property
    def total_samples_processed(self) -> int:
        """Samples in all batches and measured blocks, the warm-up included."""
        return self._warm_up.samples + self._steady.samples

    @property
    def throughput(self) -> float:
        """Samples per second between the first and the last record; NaN until there are two."""
        with self._lock:
            phase = self._reported
            return phase.timed_samples / phase.wall_s if phase.wall_s > 0 else math.nan

    def report(self) -> dict[str, Any]:
        """All figures so far, ready for JSON: seconds, MiB, shares 0..1; None where there is no figure yet.

        `stages` has total_s, ms_per_sample and share (of worker time) of each; `measured` has calls,
        total_s and mean_s of the consumer's own blocks; `limited_by` is 'loader', 'consumer' or None, and
        `advice` what to do about it. `batches`, `total_samples_processed` and memory are of the whole run,
        all other figures of its steady state; `warm_up` has batches, wall_s and avg_loading_time of what
        came before it.
        """
        with self._lock:
            phase, warm_up = self._reported, self._warm_up
            worker_s = sum(phase.stages.values())
            stages = {
                name: {
                    "total_s": seconds,
                    "ms_per_sample": _ratio(1000 * seconds, phase.batch_samples),
                    "share": _ratio(seconds, worker_s),
                }
                for name, seconds in phase.stages.items()
            }
            measured = {
                name: {"calls": calls, "total_s": seconds, "mean_s": seconds / calls}
                for name, (calls, seconds) in phase.calls.items()
            }
            wait_share = _ratio(phase.timed_wait_s, phase.wall_s)
            limited_by = _limited_by(wait_share, phase, worker_s) if phase is self._steady else None
            return {
                "avg_loading_time": _number(self.avg_loading_time),
                "avg_processing_time": _number(self.avg_processing_time),
                "peak_memory_usage": self.peak_memory_usage,
                "total_samples_processed": self.total_samples_processed,
                "throughput": _number(self.throughput),
                "batches": warm_up.batches + self._steady.batches,
                "wall_s": phase.wall_s,
                "wait_share": wait_share,
                "limited_by": limited_by,
                "advice": advice(limited_by, phase.stages),
                "queue_depth": {"mean": _ratio(phase.depths, phase.batches), "min": phase.min_depth},
                "memory_mb": {"start": self._start_mb, "peak": self.peak_memory_usage},
                "warm_up": {
                    "batches": warm_up.batches,
                    "wall_s": warm_up.wall_s,
                    "avg_loading_time": _number(warm_up.mean_wait_s),
                },
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
            last = max(self._warm_up.last, self._steady.last)
            is_open = self._point_began is not None and last > self._point_began
            points = [*self._history, *([self._closed(last)] if is_open else [])]
        if is_open and len(points) > 1:  # the rate of a moment would dwarf all others
            points[-2:] = [points[-2].merged(points[-1])]
        if not points:
            raise DataError(
                "data flow: got fewer than two records, expected a run to plot. Load more batches."
            )
        report = self.report()
        title = " ".join(filter(None, (verdict(report), report["advice"])))
        warm_up_s = self._warm_up.wall_s if self._reported is self._steady else 0.0
        return plot_flow(title, points, report["stages"], Path(path), warm_up_s=warm_up_s)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _limited_by(wait_share: float | None, phase: _Phase, worker_s: float) -> str | None:
    """The side that the other one waits for."""
    if wait_share is None or not phase.batches:
        return None
    workers_wait = phase.stages.get(WORKER_WAIT, 0.0) / worker_s if worker_s > 0 else 0.0
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


_ADVICE = {
    "read": "Most of the loader's time goes into reading files: --cache ram or disk, or a faster disk.",
    "decode": "Most of the loader's time goes into decoding: --cache ram or disk, `prepare --max-side`, or "
    "more --workers if cores are idle.",
    "render": "Most of the loader's time goes into rendering: more --workers if cores are idle, or "
    "--loader-device cuda.",
    "hooks": "Most of the loader's time goes into your hooks: compile them (docs/hooks.md), or take more "
    "--workers.",
}


def advice(limited_by: str | None, stages: Mapping[str, float]) -> str | None:
    """What would help, in a sentence; None when too little is known. `stages`: seconds of worker time."""
    if limited_by is None:
        return None
    if limited_by == "consumer":
        return "More --workers or a --cache would not help."
    working = {name: seconds for name, seconds in stages.items() if name != WORKER_WAIT}
    slowest = max(working, key=working.__getitem__, default="")
    return _ADVICE.get(slowest, "More --workers may help if cores are idle.")


def format_report(report: Mapping[str, Any]) -> str:
    """A report of `DataFlowMonitor.report` as text."""
    depth, memory, warm_up = report["queue_depth"], report["memory_mb"], report["warm_up"]
    stretch = "then" if report["batches"] > warm_up["batches"] else "all of them in"
    lines = [
        " ".join(filter(None, (verdict(report), report["advice"]))),
        f"{report['total_samples_processed']} samples in {report['batches']} batches, of which "
        f"{warm_up['batches']} to warm up ({warm_up['wall_s']:.1f} s, "
        f"{_shown(warm_up['avg_loading_time'], '.4f')} s of waiting per batch)",
        f"{stretch} {report['wall_s']:.1f} s at {_shown(report['throughput'], '.1f')} samples/s:",
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
