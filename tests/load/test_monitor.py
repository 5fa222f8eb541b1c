"""DataFlowMonitor: right figures, the right side named, bounded memory, and a chart."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from yolofast.errors import ConfigError, DataError, MissingExtraError
from yolofast.images import read_image
from yolofast.load import monitor as monitor_module
from yolofast.load.monitor import WARM_UP, DataFlowMonitor
from yolofast.load.monitor_chart import STAGE_COLOURS, FlowPoint

SLOW = 2.0
"""Seconds by which the batches of the warm-up take longer."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(monitor_module.time, "perf_counter", clock)
    return clock


def flow(clock: Clock, *, wait_s: float, worker_wait_s: float, batches: int = 20) -> DataFlowMonitor:
    """Batches of 16 that take `wait_s` to wait for and 0.1 s to process, the first five much longer."""
    monitor = DataFlowMonitor(interval_s=0.5)
    for number in range(batches):
        clock.now += wait_s
        if number < WARM_UP:
            clock.now += SLOW
        monitor.record_batch(
            16,
            wait_s=wait_s + SLOW * (number < WARM_UP),
            queue_depth=number % 3,
            stages={"read": 0.02, "decode": 0.3, "render": 0.08, "wait": worker_wait_s},
        )
        with monitor.measure("processing"):
            clock.now += 0.1
    return monitor


def test_figures_of_a_known_flow(clock: Clock) -> None:
    monitor = flow(clock, wait_s=0.06, worker_wait_s=0.0)
    assert monitor.total_samples_processed == 320
    assert monitor.avg_loading_time == pytest.approx(0.06)
    assert monitor.avg_processing_time == pytest.approx(0.1)
    assert monitor.throughput == pytest.approx(100.0), "16 samples in 0.16 s"
    report = json.loads(json.dumps(monitor.report(), allow_nan=False))
    assert report["batches"] == 20
    assert report["warm_up"] == {
        "batches": WARM_UP,
        "wall_s": pytest.approx(4 * (0.16 + SLOW)),
        "avg_loading_time": pytest.approx(0.06 + SLOW),
    }
    assert report["wall_s"] == pytest.approx(15 * 0.16)
    assert report["wait_share"] == pytest.approx(0.06 / 0.16)
    assert report["queue_depth"] == {"mean": pytest.approx(1), "min": 0}
    assert report["stages"]["decode"] == {
        "total_s": pytest.approx(4.5),
        "ms_per_sample": pytest.approx(300 / 16),
        "share": pytest.approx(0.75),
    }
    assert sum(stage["share"] for stage in report["stages"].values()) == pytest.approx(1)
    assert report["measured"]["processing"]["calls"] == 16, "the last batch of the warm-up ends in it"
    for name in ("avg_loading_time", "avg_processing_time", "total_samples_processed", "throughput"):
        assert report[name] == pytest.approx(getattr(monitor, name))


@pytest.mark.parametrize(
    ("wait_s", "worker_wait_s", "side", "sentence"),
    [
        (0.06, 0.0, "loader", "Training waits for data 38% of the time"),
        (0.06, 0.01, "loader", "Training waits for data"),
        (0.02, 0.4, "consumer", "The loader is fast enough"),
        (0.001, 0.0, "consumer", "The loader is fast enough"),
    ],
)
def test_the_side_that_limits_the_flow_is_named(
    clock: Clock, wait_s: float, worker_wait_s: float, side: str, sentence: str
) -> None:
    monitor = flow(clock, wait_s=wait_s, worker_wait_s=worker_wait_s)
    assert monitor.report()["limited_by"] == side
    text = monitor.format_report()
    assert text.startswith(sentence)
    advice = "--cache ram or disk" if side == "loader" else "would not help"
    assert advice in text.splitlines()[0]
    assert f"{WARM_UP} to warm up" in text
    for expected in ("320 samples", "decode", "processing", "samples/s", "MiB"):
        assert expected in text


def test_before_anything_is_recorded(tmp_path: Path) -> None:
    monitor = DataFlowMonitor()
    for value in (monitor.avg_loading_time, monitor.avg_processing_time, monitor.throughput):
        assert math.isnan(value)
    assert monitor.total_samples_processed == 0
    report = json.loads(json.dumps(monitor.report(), allow_nan=False))
    assert report["throughput"] is None
    assert "Too few batches" in monitor.format_report()
    with pytest.raises(DataError, match="fewer than two"):
        monitor.plot(tmp_path / "flow.png")
    monitor.record_batch(4, wait_s=1.0, queue_depth=0, stages={})
    assert math.isnan(monitor.throughput)
    assert monitor.avg_loading_time == 1.0


@pytest.mark.parametrize("batches", [2, WARM_UP])
def test_a_run_that_ends_while_it_warms_up_has_figures_but_no_verdict(clock: Clock, batches: int) -> None:
    monitor = flow(clock, wait_s=0.06, worker_wait_s=0.0, batches=batches)
    report = monitor.report()
    assert (report["batches"], report["warm_up"]["batches"]) == (batches, batches)
    assert report["avg_loading_time"] == pytest.approx(0.06 + SLOW)
    assert report["throughput"] == pytest.approx(16 / (0.16 + SLOW))
    assert (report["limited_by"], report["advice"]) == (None, None)
    assert "Too few batches" in monitor.format_report()


@pytest.mark.parametrize(
    ("slowest", "advice"),
    [
        ("read", "reading files: --cache"),
        ("decode", "decoding: --cache"),
        ("render", "--loader-device cuda"),
        ("hooks", "docs/hooks.md"),
        ("labels", "--workers"),
    ],
)
def test_advice_is_about_the_slowest_stage(clock: Clock, slowest: str, advice: str) -> None:
    monitor = DataFlowMonitor(warm_up=1)
    for _ in range(4):
        clock.now += 1
        monitor.record_batch(8, wait_s=0.9, queue_depth=0, stages={"wait": 0.3, "other": 0.1, slowest: 0.2})
    assert advice in monitor.report()["advice"]
    assert monitor.report()["advice"] in monitor.format_report()


def test_the_decorator_times_calls_and_keeps_the_function(clock: Clock) -> None:
    monitor = DataFlowMonitor()

    @monitor.timed("augment")
    def augment(value: int, *, by: int = 1) -> int:
        """Adds."""
        clock.now += 0.25
        return value + by

    assert augment(1, by=2) == 3
    assert augment.__name__ == "augment"
    assert augment.__doc__ == "Adds."
    assert monitor.report()["measured"]["augment"] == {"calls": 1, "total_s": 0.25, "mean_s": 0.25}
    assert math.isnan(monitor.avg_processing_time), "only 'processing' counts there"


def test_a_block_that_raises_is_timed(clock: Clock) -> None:
    monitor = DataFlowMonitor()

    def step() -> None:
        with monitor.measure("processing"):
            clock.now += 2
            raise KeyError

    with pytest.raises(KeyError):
        step()
    assert monitor.avg_processing_time == 2


def test_a_flow_without_a_loader_counts_its_own_samples(clock: Clock) -> None:
    monitor = DataFlowMonitor()
    for _ in range(5):
        with monitor.measure("processing", samples=8):
            clock.now += 0.5
    assert monitor.total_samples_processed == 40
    assert monitor.throughput == pytest.approx(16)
    assert monitor.report()["warm_up"]["batches"] == 0
    assert monitor.report()["limited_by"] is None


def test_peak_memory_stays_at_the_most_that_was_held() -> None:
    code = """
import numpy as np
from yolofast.load.monitor import DataFlowMonitor
monitor = DataFlowMonitor()
before = monitor.peak_memory_usage
held = np.ones(int(before + 64) * 2**20, np.uint8)
above = monitor.peak_memory_usage
del held
print(before, above, monitor.peak_memory_usage, monitor.report()["memory_mb"]["start"])
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, above, after, start = map(float, told.stdout.split())
    slack = 2  # the kernel adds its counters up now and then only
    assert 0 < start <= before + slack
    assert before + 64 - slack <= above <= after + slack < 2 * before + 128


def test_all_threads_are_counted() -> None:
    monitor = DataFlowMonitor(warm_up=0)

    def work() -> None:
        for _ in range(500):
            with monitor.measure("processing", samples=1):
                monitor.record_batch(2, wait_s=0.001, queue_depth=1, stages={"read": 0.5})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = monitor.report()
    assert report["total_samples_processed"] == 6000
    assert report["batches"] == 2000
    assert report["stages"]["read"]["total_s"] == 1000
    assert report["measured"]["processing"]["calls"] == 2000


def test_the_history_of_a_long_run_stays_small(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monitor_module, "HISTORY", 8)
    monitor = flow(clock, wait_s=0.4, worker_wait_s=0.0, batches=5000)
    history = monitor._history
    assert 8 <= len(history) <= 16
    assert sum(point.samples for point in history) == pytest.approx(5000 * 16, rel=0.15), (
        "merged, not dropped"
    )
    report = monitor.report()
    whole = report["wall_s"] + report["warm_up"]["wall_s"]
    assert sum(point.seconds for point in history) == pytest.approx(whole, rel=0.15)
    pytest.importorskip("matplotlib")
    monitor.plot(tmp_path / "flow.png")


def stage_share(picture: np.ndarray, stage: str) -> float:
    """How much of the bar at the foot of the picture has the stage's colour."""
    bar = picture[int(len(picture) * 0.88)].astype(int)
    drawn = np.flatnonzero((bar < 250).any(axis=1))
    colour = [int(STAGE_COLOURS[stage][0][i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(bar - colour).max(axis=1) < 12).sum() / (drawn[-1] - drawn[0] + 1))


def test_the_picture_shows_each_stages_share(clock: Clock, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monitor = flow(clock, wait_s=0.06, worker_wait_s=0.1, batches=100)
    path = monitor.plot(tmp_path / "new" / "flow.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    picture = read_image(path)
    for stage, share in (("decode", 0.6), ("render", 0.16), ("wait", 0.2)):
        assert stage_share(picture, stage) == pytest.approx(share, abs=0.06)
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("stages", [{}, {"read": 0.0}, {f"own {n}": 1.0 for n in range(9)}])
def test_a_picture_of_unusual_flows(stages: dict[str, float], clock: Clock, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monitor = DataFlowMonitor()
    for _ in range(3):
        clock.now += 4000
        monitor.record_batch(1, wait_s=1, queue_depth=0, stages=stages)
    assert monitor.plot(tmp_path / "flow.png").stat().st_size > 10_000
    assert isinstance(monitor.format_report(), str)


def test_a_picture_of_a_flow_without_a_loader(clock: Clock, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    monitor = DataFlowMonitor()
    for _ in range(30):
        with monitor.measure("processing", samples=8):
            clock.now += 0.5
    assert monitor.plot(tmp_path / "flow.png").stat().st_size > 10_000


def test_the_last_moment_of_a_flow_is_no_point_of_its_own(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that comes 1 ms after the last point would be drawn as thousands of samples per second."""
    drawn: list[list[FlowPoint]] = []
    monkeypatch.setattr(monitor_module, "plot_flow", lambda title, points, *_, **__: drawn.append(points))
    monitor = DataFlowMonitor(interval_s=0.5)
    for seconds in (0.0, 0.6, 0.6, 0.001):
        clock.now += seconds
        monitor.record_batch(8, wait_s=0, queue_depth=1, stages={})
    monitor.plot(tmp_path / "flow.png")
    assert [point.samples for point in drawn[0]] == [8, 16]
    assert [point.seconds for point in drawn[0]] == pytest.approx([0.6, 0.601])


def test_without_matplotlib_the_extra_is_named(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = flow(clock, wait_s=0.06, worker_wait_s=0.0)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"yolofast\[plots\]"):
        monitor.plot(tmp_path / "flow.png")


@pytest.mark.parametrize("interval", [0.0, -1.0, math.nan, math.inf])
def test_settings_that_make_no_sense(interval: float) -> None:
    with pytest.raises(ConfigError, match="interval_s"):
        DataFlowMonitor(interval)
    with pytest.raises(ConfigError, match="warm_up: got -1"):
        DataFlowMonitor(warm_up=-1)
