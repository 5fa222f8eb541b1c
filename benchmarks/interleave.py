"""The one way speed is compared here: alternating rounds in one process, medians and spreads.

Both sides are first shown to compute the same thing; then rounds A B A B ... so that what else the
machine does falls on both.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.bench.loaders import machine

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 11
ROUND_SECONDS = 0.15


def _calls_per_round(work: Callable[[], object]) -> int:
    work()
    started = time.perf_counter()
    work()
    return max(1, int(ROUND_SECONDS / max(time.perf_counter() - started, 1e-9)))


def compare(
    ours: Callable[[], object], peers: Mapping[str, Callable[[], object]], rounds: int = ROUNDS
) -> dict[str, Any]:
    """Time `ours` against each peer, interleaved. Milliseconds a call; ratio > 1 = ours is faster.

    The ratio is the median over rounds of peer time / our time, with the 20th and 80th percentile.
    """
    sides = {"yolofast": ours, **peers}
    calls = {name: _calls_per_round(work) for name, work in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            started = time.perf_counter()
            for _ in range(calls[name]):
                work()
            times[name].append((time.perf_counter() - started) / calls[name] * 1e3)
    result: dict[str, Any] = {"rounds": rounds, "ms": {n: spread(t) for n, t in times.items()}}
    result["ratio"] = {name: spread(np.array(times[name]) / np.array(times["yolofast"])) for name in peers}
    return result


def spread(values: Any) -> dict[str, float]:
    """Median, and 20th and 80th percentile."""
    low, middle, high = np.percentile(values, [20, 50, 80])
    return {"median": round(float(middle), 4), "p20": round(float(low), 4), "p80": round(float(high), 4)}


def write_result(
    name: str,
    entries: Mapping[str, Any],
    packages: tuple[str, ...],
    more_versions: Mapping[str, str] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Write `NAME.json` with figures, machine, library versions and commit.

    `more_versions` are of what is not installed here as a package.
    """
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=RESULTS.parent
    ).stdout.strip()
    document = {
        "machine": machine(),
        "versions": {**{package: metadata.version(package) for package in packages}, **(more_versions or {})},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "entries": dict(entries),
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
