"""The label scan compared with Ultralytics', and the cost of the commands that read a whole dataset."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.bench.figures import OURS, ratio, spread
from yolofast.bench.protocol import Participants, interleave
from yolofast.errors import DataError
from yolofast.process_memory import peak_resident_mib
from yolofast.stopwatch import Report

PEER = "ultralytics"
COMMANDS: dict[str, tuple[str, ...]] = {
    "analyze_yolo": ("analyze", "yolo", "--json"),
    "analyze_coco": ("analyze", "coco", "--json"),
    "check_yolo": ("check", "yolo", "--json"),
    "prepare_yolo": ("prepare", "yolo", "--out", "OUT"),
    "prepare_coco": ("prepare", "coco", "--out", "OUT"),
}
"""Entry -> command line; the second argument is a folder of the dataset, `OUT` becomes a new folder."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataComparison:
    """What is measured: `root` holds the same dataset as `yolo/` and as `coco/`, and gets copies.

    Every process may use all cores that this one may. The files should be in the page cache.
    """

    root: Path
    peers_python: Path = Path(sys.executable)
    rounds: int = 3


def measure_data(work: DataComparison, report: Report = _log.info) -> dict[str, Any]:
    """Seconds of the label scan, and seconds and peak memory of every command in a fresh process.

    Returns JSON values: `entries` (`scan`: ours and Ultralytics' interleaved; then the keys of `COMMANDS`)
    and `versions` (of the peer). `report` gets a line on every entry as soon as it is measured.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when a process fails or the scans differ.
    """
    entries: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        participants = stack.enter_context(Participants(work.peers_python))
        # Removed at the end alone: ext4 searches long for free inodes where many were just deleted.
        outputs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prepared-", dir=work.root)))
        entries["scan"], versions = _compare_scans(work, participants)
        report(f"scan: {entries['scan']['seconds']}")
        for name, arguments in COMMANDS.items():
            run = partial(_run_command, work.root, arguments, outputs, participants)
            runs = interleave({OURS: run}, work.rounds)[OURS]
            entries[name] = {
                "what": f"yolofast {' '.join(arguments)}",
                "seconds": spread([seconds for seconds, _ in runs]),
                "peak_mib": max(round(peak) for _, peak in runs),
            }
            report(f"{name}: {entries[name]}")
    return {"entries": entries, "versions": versions}


def _threads() -> int:
    """Every core that this process may use."""
    return len(os.sched_getaffinity(0))


def _compare_scans(work: DataComparison, participants: Participants) -> tuple[dict[str, Any], dict[str, str]]:
    """The entry, and the peer's version."""
    labels = {name: participants.scratch / f"{name}.npz" for name in (OURS, PEER)}

    def scan(name: str) -> Mapping[str, Any]:
        job = {"participant": name, "root": str(work.root / "yolo"), "out": str(labels[name])}
        options = {"threads": _threads(), "variables": {"YOLO_VERBOSE": "false"}}
        with participants.launch(name, ".label_scan", job, **options) as launched:
            return launched.hello

    answers = interleave({name: partial(scan, name) for name in labels}, work.rounds)
    ours, theirs = answers[OURS][-1], answers[PEER][-1]
    if (ours["images"], ours["boxes"]) != (theirs["images"], theirs["boxes"]):
        raise DataError(
            f"the scans differ: {theirs['images']} images and {theirs['boxes']} boxes by {PEER}, "
            f"{ours['images']} and {ours['boxes']} by ours"
        )
    seconds = {name: [float(answer["seconds"]) for answer in each] for name, each in answers.items()}
    return {
        "what": "scan of YOLO labels and image headers, whole process's threads, warm",
        "images": ours["images"],
        "boxes": ours["boxes"],
        "largest_difference": largest_difference(labels[OURS], labels[PEER]),
        "rounds": work.rounds,
        "seconds": {name: spread(each) for name, each in seconds.items()},
        "images_per_s": {n: round(ours["images"] / float(np.median(each))) for n, each in seconds.items()},
        "ratio": ratio(seconds[PEER], seconds[OURS]),
    }, theirs["versions"]


def largest_difference(ours: Path, theirs: Path) -> float:
    """Between the labels of two scans (npz: paths, counts, rows).

    Raises `DataError` when they are not of the same images, numbers of boxes and classes.
    """
    with np.load(ours) as a, np.load(theirs) as b:
        for key in ("paths", "counts"):
            if not np.array_equal(a[key], b[key]):
                raise DataError(
                    f"the scans found different {'images' if key == 'paths' else 'numbers of boxes'}"
                )
        if not np.array_equal(a["rows"][:, 0], b["rows"][:, 0]):
            raise DataError("the scans found different classes")
        return float(np.abs(a["rows"] - b["rows"]).max())


def _run_command(
    root: Path, arguments: Sequence[str], outputs: Path, participants: Participants
) -> tuple[float, float]:
    """Seconds from the start to the end of a process, and its peak memory in MiB."""
    command, dataset, *rest = arguments
    out = Path(tempfile.mkdtemp(dir=outputs)) / "set"
    rest = [str(out) if argument == "OUT" else argument for argument in rest]
    job = {"arguments": [command, str(root / dataset), *rest]}
    started = time.perf_counter()
    with participants.launch(OURS, ".command", job, threads=_threads()) as launched:
        peak = peak_resident_mib(launched.pid)
    return time.perf_counter() - started, peak
