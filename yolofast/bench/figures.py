"""The figures of a comparison: medians, ratios, what they were measured on, and the file that keeps them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from yolofast.bench.peers.serve import versions
from yolofast.files import write_json

OURS = "yolofast"
Spread = dict[str, float]
"""median, p20 and p80."""


def spread(values: ArrayLike) -> Spread:
    """The median, and the 20th and 80th percentile."""
    low, middle, high = np.percentile(np.asarray(values), [20, 50, 80])
    return {"median": round(float(middle), 4), "p20": round(float(low), 4), "p80": round(float(high), 4)}


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Spread of the ratio within each round, over the rounds that both have."""
    rounds = min(len(numerators), len(denominators))
    return spread(np.array(numerators[:rounds]) / np.array(denominators[:rounds]))


def compared_times(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Spread]]:
    """`ms`: the spread of each participant's milliseconds; `ratio`: of each peer's / ours.

    `times`: participant -> milliseconds in every round; ours is "yolofast".
    """
    return {
        "ms": {name: spread(each) for name, each in times.items()},
        "ratio": {name: ratio(each, times[OURS]) for name, each in times.items() if name != OURS},
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.processor() or "unknown"),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def labelled(name: str, versions: Mapping[str, str]) -> str:
    """A participant's name with the version of the package it is named after."""
    of_package = (v for package, v in versions.items() if package.startswith((name, f"nvidia-{name}")))
    return f"{name} {version}" if (version := next(of_package, "")) else name


def short_number(value: float) -> str:
    """Three significant digits; whole numbers with thousands separators from 1000 on."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def write_result(
    path: Path,
    entries: Mapping[str, Any],
    packages: tuple[str, ...],
    more_versions: Mapping[str, str] | None = None,
) -> Path:
    """Write `path` (JSON): the entries with the machine, versions, commit of its repository and date.

    `packages` are those of this interpreter; `more_versions` come from other environments. Returns `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=path.parent
    ).stdout.strip()
    document = {
        "machine": machine(),
        "versions": {**versions(packages), **(more_versions or {})},
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "entries": dict(entries),
    }
    write_json(path, document)
    return path
