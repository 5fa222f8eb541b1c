"""How the comparisons of `yolofast.bench` start their sides and go round them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.bench.loaders import left_out_when_failing, ours_must_work, spread
from yolofast.bench.peers import detections as side_script
from yolofast.bench.process import Side
from yolofast.errors import ConfigError

OURS = "yolofast"


def start(
    name: str,
    job: Mapping[str, Any],
    scratch: Path,
    *,
    peers_python: Path,
    threads: int = 1,
    label: str | None = None,
) -> Side:
    """A side by the name that `side.py` knows; ours in this interpreter, others in the peers'.

    Raises `DataError` when it cannot be started or leaves itself out.
    """
    ours = name == OURS
    variables = {key: str(threads) for key in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS")}
    if ours:
        package_root = str(Path(side_script.__file__).resolve().parents[2])
        variables["PYTHONPATH"] = os.pathsep.join(
            filter(None, [package_root, os.environ.get("PYTHONPATH", "")])
        )
    command = [sys.executable if ours else str(peers_python), side_script.__file__]
    command.append(json.dumps({**job, "side": name, "threads": threads}))
    return Side(label or name, command, scratch, threads=threads, variables=variables)


def start_all(
    stack: contextlib.ExitStack,
    peers: Sequence[str],
    job: Mapping[str, Any],
    scratch: Path,
    left_out: dict[str, str],
    *,
    peers_python: Path,
    threads: int = 1,
) -> dict[str, Side]:
    """Our side and the peers' by name, until `stack` closes; why a peer could not start goes to `left_out`.

    Raises `DataError` when ours cannot.
    """
    sides: dict[str, Side] = {}
    for name in (OURS, *peers):
        with ours_must_work() if name == OURS else left_out_when_failing(name, left_out, peers_python):
            started = start(name, job, scratch, peers_python=peers_python, threads=threads)
            sides[name] = stack.enter_context(started)
    return sides


def check_interpreter(peers_python: Path) -> None:
    """Raises `ConfigError` when there is no such file."""
    if not peers_python.exists():
        raise ConfigError(f"peers_python: {peers_python}: no such file. Give the peers' interpreter.")


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Spread of their time / our time over the rounds that both have."""
    rounds = min(len(theirs), len(ours))
    return spread(np.array(theirs[:rounds]) / np.array(ours[:rounds]))
