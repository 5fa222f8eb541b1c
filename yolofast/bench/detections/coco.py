"""COCO evaluation compared with the fastest packages for it: same files, same number of threads.

Before anything is timed, every participant evaluates once and has to agree with our metrics; which metrics
and arrays are equal to the last bit is reported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from yolofast.bench.chart import Bar, BarPanel
from yolofast.bench.detections.coco_set import CocoSet
from yolofast.bench.figures import OURS, labelled, machine, ratio, spread
from yolofast.bench.process import Participant
from yolofast.bench.protocol import Participants, interleave
from yolofast.errors import ConfigError, DataError, DatasetNotFoundError
from yolofast.process_memory import peak_resident_mib

FAST_PEERS = ("hotcoco", "ultrafast-pycocotools")
SLOW_PEERS = ("faster-coco-eval", "pycocotools")
PEERS = (*FAST_PEERS, *SLOW_PEERS)
WAYS = {
    "json": "load and evaluate both files",
    "batches": "arrays: update in batches of 64 images, compute",
    "one update": "arrays: one update, compute",
}
"""What ours is asked to do; peers do the first."""
ARRAYS = ("precision", "recall", "scores")


@dataclass(frozen=True)
class MapComparison:
    """What is compared: a ground truth and results, omitted means the `generated` ones.

    Slow peers evaluate once, the others in `rounds` rounds, and in `fresh` new processes.
    """

    gt: Path | None = None
    dt: Path | None = None
    generated: CocoSet = field(default_factory=CocoSet)
    peers: tuple[str, ...] = ()
    peers_python: Path = Path(sys.executable)
    threads: int = 1
    rounds: int = 9
    fresh: int = 5

    def __post_init__(self) -> None:
        if (self.gt is None) != (self.dt is None):
            raise ConfigError("gt and dt: got only one, expected both files, or none for a generated set.")
        for name, path in (("gt", self.gt), ("dt", self.dt)):
            if path is not None and not path.is_file():
                raise DatasetNotFoundError(f"{name}: {path}: no such file. Give a COCO json file.")


def compare_map(work: MapComparison) -> dict[str, Any]:
    """Seconds and memory of every participant.

    Returns JSON values. `seconds`: what was done -> median, p20, p80 (ours by the keys of `WAYS`, a peer by
    its name), warm. `fresh_seconds`: from the start of an interpreter to the metrics of one evaluation,
    `peak_mib` the peak memory of such a process. `ratio`: peer / ours for each of our ways. `compute_share`:
    compute() over update + compute in batches, and over the evaluation from files. `checks`: peer -> which of
    stats and arrays are equal to the last bit. `versions`, `left_out`.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when ours fails or a peer's metrics differ.
    """
    with Participants(work.peers_python) as participants:
        if work.gt is None or work.dt is None:
            gt, dt = work.generated.write(participants.scratch)
        else:
            gt, dt = work.gt, work.dt
        job = {"gt": str(gt.absolute()), "dt": str(dt.absolute()), "threads": work.threads}
        for name in (OURS, *work.peers):
            each = {**job, "participant": name, "once": False}
            participants.start(name, ".coco", each, threads=work.threads)
        checks, once = _check(participants)
        fast = {name: each for name, each in participants.present.items() if name not in SLOW_PEERS}
        answers = interleave(_runs(fast), work.rounds)
        fresh = interleave({name: partial(_fresh, participants, name, job) for name in fast}, work.fresh)
        size = {"gt_bytes": gt.stat().st_size, "dt_bytes": dt.stat().st_size}
    seconds = {name: [answer["seconds"] for answer in each] for name, each in answers.items()}
    seconds |= {name: [each] for name, each in once.items()}
    compute = [answer["compute_seconds"] for answer in answers["batches"]]
    fresh_seconds = {name: [each[0] for each in found] for name, found in fresh.items()}
    peers = [name for name in seconds if name not in WAYS]
    return {
        "what": f"{gt.name}, {dt.name}" if work.gt else _described(work.generated),
        **size,
        "threads": work.threads,
        "rounds": work.rounds,
        "machine": machine(),
        "seconds": {name: spread(each) for name, each in seconds.items()},
        "ratio": {way: {peer: ratio(seconds[peer], seconds[way]) for peer in peers} for way in WAYS},
        "fresh_seconds": {name: spread(each) for name, each in fresh_seconds.items()},
        "fresh_ratio": {
            n: ratio(each, fresh_seconds[OURS]) for n, each in fresh_seconds.items() if n != OURS
        },
        "peak_mib": {name: spread([each[1] for each in found]) for name, found in fresh.items()},
        "compute_share": {
            "of update and compute": ratio(compute, seconds["batches"]),
            "of the evaluation from files": ratio(compute, seconds["json"]),
        },
        "checks": checks,
        "versions": participants.versions,
        "left_out": participants.left_out,
    }


def _described(generated: CocoSet) -> str:
    digits = "rounded numbers" if generated.style == "rounded" else "all digits"
    return f"{generated.images:,} images, {generated.detections:,} detections, {digits}"


def _check(participants: Participants) -> tuple[dict[str, dict[str, bool]], dict[str, float]]:
    """What of each peer's first evaluation equals ours, and the seconds of the slow ones'."""
    present, scratch = participants.present, participants.scratch

    def saved(participant: Participant) -> dict[str, Any]:
        path = scratch / "evaluated.npz"
        participant.ask("save", to=str(path))
        with np.load(path) as arrays:
            return dict(arrays)

    found: dict[str, dict[str, Any]] = {}
    once: dict[str, float] = {}
    for name, each in tqdm(present.items(), desc="check", unit="package", leave=False, disable=None):
        answer = each.ask("run", way="json")
        if name in SLOW_PEERS:
            once[name] = float(answer["seconds"])
        found[name] = saved(each)
    checks = {}
    ours = found.pop(OURS)
    for name, theirs in found.items():
        if not np.allclose(ours["stats"], theirs["stats"], rtol=0, atol=1e-9):
            raise DataError(
                f"{name}: its metrics differ from ours, so there is nothing to time: "
                f"{theirs['stats'].tolist()}, ours {ours['stats'].tolist()}"
            )
        checks[name] = {key: bool(np.array_equal(ours[key], theirs[key])) for key in ("stats", *ARRAYS)}
    for way in list(WAYS)[1:]:
        present[OURS].ask("run", way=way)
        stats = saved(present[OURS])["stats"]
        # Boxes went from left, top, width, height to corners and back, which rounds.
        if not np.allclose(stats, ours["stats"], rtol=0, atol=1e-6):
            raise DataError(
                f"{way}: got {stats.tolist()}, expected those of the files, {ours['stats'].tolist()}"
            )
    return checks, once


def _runs(participants: Mapping[str, Participant]) -> dict[str, Callable[[], Mapping[str, Any]]]:
    """A round's requests: ours in each way, then the peers'."""
    ours = participants[OURS]
    runs = {way: partial(ours.ask, "run", way=way) for way in WAYS}
    return runs | {n: partial(each.ask, "run", way="json") for n, each in participants.items() if n != OURS}


def _fresh(participants: Participants, name: str, job: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds from the start of an interpreter to its metrics, and its peak memory in MiB."""
    started = time.perf_counter()
    once = {**job, "participant": name, "once": True}
    with participants.launch(name, ".coco", once, threads=job["threads"]) as launched:
        return time.perf_counter() - started, peak_resident_mib(launched.pid)


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: seconds, ratios, fresh processes and memory."""
    lines = [f"{figures['what']}; {figures['threads']} threads, {figures['rounds']} alternating rounds"]
    for name, each in figures["seconds"].items():
        ours = name in WAYS
        label = f"yolofast, {WAYS[name]}" if ours else f"{labelled(name, figures['versions'])}, both files"
        bounds = f"{each['p20']:.3f} .. {each['p80']:.3f}"
        gains = [f"{figures['ratio'][way][name]['median']:.2f}x" for way in WAYS if not ours]
        compared = f"  ours {', '.join(gains)} as fast" if gains else ""
        lines.append(f"  {label:58} {each['median']:7.3f} s  {bounds:>15}{compared}")
    for name, each in figures["fresh_seconds"].items():
        memory = figures["peak_mib"][name]["median"]
        gain = figures["fresh_ratio"].get(name)
        compared = f"  ours {gain['median']:.2f}x as fast" if gain else ""
        label = f"{name}, fresh process"
        lines.append(f"  {label:58} {each['median']:7.3f} s, peak {memory:.0f} MiB{compared}")
    for what, share in figures["compute_share"].items():
        lines.append(f"  compute() after batches: {share['median']:.1%} {what}")
    for name, equal in figures["checks"].items():
        other = [key for key, same in equal.items() if not same]
        lines.append(f"  {name}: {'all figures and arrays equal' if not other else f'{other} differ'}")
    lines += [f"  {name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def panels(figures: Mapping[str, Any]) -> Sequence[BarPanel]:
    """Warm, fresh and memory; without the slow peers, whose bars would dwarf the rest."""

    def label(name: str) -> str:
        if name in WAYS:
            return f"yolofast, {'files' if name == 'json' else name}"
        return labelled(name, figures["versions"])

    def bars(key: str, ratios: Mapping[str, Any]) -> list[Bar]:
        return [
            Bar(label(name), each, ours=name == OURS or name in WAYS, ratio=ratios.get(name))
            for name, each in figures[key].items()
            if name not in SLOW_PEERS
        ]

    return [
        BarPanel(f"{figures['what']}: seconds, warm", bars("seconds", figures["ratio"]["json"])),
        BarPanel("seconds, from the start of an interpreter", bars("fresh_seconds", figures["fresh_ratio"])),
        BarPanel("peak memory of that process, MiB", bars("peak_mib", {})),
    ]
