"""COCO evaluation beside the fastest packages for it: same files, same number of threads, interleaved rounds.

Before anything is timed, every side evaluates once and has to give our figures and arrays to the last bit.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from yolofast.bench import rounds
from yolofast.bench.loaders import machine, spread
from yolofast.bench.process import Side
from yolofast.bench.rounds import OURS
from yolofast.bench.work import CocoSet
from yolofast.errors import ConfigError, DataError

FAST_PEERS = ("hotcoco", "ultrafast-pycocotools")
SLOW_PEERS = ("faster-coco-eval", "pycocotools")
PEERS = (*FAST_PEERS, *SLOW_PEERS)
WAYS = {
    "json": "load and evaluate both files",
    "batches": "arrays: update in batches of 64 images, compute",
    "one update": "arrays: one update, compute",
}
"""What our side is asked to do; peers do the first."""
ARRAYS = ("precision", "recall", "scores")


@dataclass(frozen=True)
class MapComparison:
    """What is compared: a ground truth and results, by default generated ones.

    Slow peers evaluate once, the others in `rounds` rounds, and in `fresh` new processes.
    """

    gt: Path | None = None
    dt: Path | None = None
    made: CocoSet = field(default_factory=CocoSet)
    peers: tuple[str, ...] = ()
    peers_python: Path = Path(sys.executable)
    threads: int = 1
    rounds: int = 9
    fresh: int = 5

    def __post_init__(self) -> None:
        if (self.gt is None) != (self.dt is None):
            raise ConfigError("got only one of gt and dt: give both files, or none for a generated set")


def compare_map(work: MapComparison) -> dict[str, Any]:
    """Seconds and memory of every side.

    Returns plain values for JSON. `seconds`: what was done -> median, p20, p80 (ours by the keys of `WAYS`,
    a peer by its name), warm. `fresh_seconds`: from the start of an interpreter to the figures of one
    evaluation, `peak_mib` the most memory of such a process. `ratio`: peer / ours for each of our ways.
    `compute_share`: compute() over update + compute in batches, and over the evaluation from files.
    `checks`: peer -> which of stats and arrays are equal to the last bit. `versions`, `left_out`.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when ours fails or a peer gives other
    figures.
    """
    rounds.check_interpreter(work.peers_python)
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolofast-bench-")))
        gt, dt = work.made.write(scratch) if work.gt is None or work.dt is None else (work.gt, work.dt)
        job = {"bench": "map", "gt": str(gt.absolute()), "dt": str(dt.absolute()), "once": False}
        sides = rounds.start_all(
            stack, work.peers, job, scratch, left_out, peers_python=work.peers_python, threads=work.threads
        )
        checks, once = _checked(sides, scratch)
        fast = {name: side for name, side in sides.items() if name not in SLOW_PEERS}
        seconds, compute = _rounds(fast, work.rounds)
        fresh, peak = _fresh(fast, {**job, "once": True}, scratch, work)
        size = {"gt_bytes": gt.stat().st_size, "dt_bytes": dt.stat().st_size}
    peers = [name for name in fast if name != OURS]
    seconds |= {name: [each] for name, each in once.items()}
    return {
        "what": f"{gt.name}, {dt.name}" if work.gt else _described(work.made),
        **size,
        "threads": work.threads,
        "rounds": work.rounds,
        "machine": machine(),
        "seconds": {name: spread(each) for name, each in seconds.items()},
        "ratio": {
            way: {peer: rounds.ratio(seconds[peer], seconds[way]) for peer in [*peers, *once]} for way in WAYS
        },
        "fresh_seconds": {name: spread(each) for name, each in fresh.items()},
        "fresh_ratio": {peer: rounds.ratio(fresh[peer], fresh[OURS]) for peer in peers},
        "peak_mib": {name: spread(each) for name, each in peak.items()},
        "compute_share": {
            "of update and compute": spread(np.array(compute) / np.array(seconds["batches"])),
            "of the evaluation from files": spread(np.array(compute) / np.array(seconds["json"])),
        },
        "checks": checks,
        "versions": {k: v for side in sides.values() for k, v in side.hello["versions"].items()},
        "left_out": left_out,
    }


def _described(made: CocoSet) -> str:
    digits = "rounded numbers" if made.style == "rounded" else "all digits"
    return f"{made.images:,} images, {made.detections:,} detections, {digits}"


def _checked(sides: Mapping[str, Side], scratch: Path) -> tuple[dict[str, dict[str, bool]], dict[str, float]]:
    """What of each peer's first evaluation equals ours, and the seconds of the slow ones'."""
    found: dict[str, dict[str, Any]] = {}
    once: dict[str, float] = {}
    for name, side in tqdm(sides.items(), desc="check", unit="side", leave=False):
        answer = side.ask("run", way="json")
        if name in SLOW_PEERS:
            once[name] = float(answer["seconds"])
        path = scratch / f"{name}-found.npz"
        side.ask("save", to=str(path))
        with np.load(path) as saved:
            found[name] = dict(saved)
    checks = {}
    for name, theirs in found.items():
        if name == OURS:
            continue
        equal = {key: bool(np.array_equal(found[OURS][key], theirs[key])) for key in ("stats", *ARRAYS)}
        if not np.allclose(found[OURS]["stats"], theirs["stats"], rtol=0, atol=1e-9):
            raise DataError(
                f"{name} gives other figures than ours, so there is nothing to time: "
                f"{theirs['stats'].tolist()}, ours {found[OURS]['stats'].tolist()}"
            )
        checks[name] = equal
    for way in list(WAYS)[1:]:
        sides[OURS].ask("run", way=way)
        sides[OURS].ask("save", to=str(scratch / "arrays.npz"))
        with np.load(scratch / "arrays.npz") as saved:
            # Boxes went from left, top, width, height to corners and back, which rounds.
            if not np.allclose(saved["stats"], found[OURS]["stats"], rtol=0, atol=1e-6):
                raise DataError(f"{way}: got {saved['stats'].tolist()}, expected what the files give")
    return checks, once


def _rounds(sides: Mapping[str, Side], count: int) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of ours by way and of the peers by name, and of compute() after the batches."""
    seconds: dict[str, list[float]] = {name: [] for name in (*WAYS, *sides) if name != OURS}
    compute: list[float] = []
    for _ in tqdm(range(count), desc="rounds", unit="round", leave=False):
        for way in WAYS:
            answer = sides[OURS].ask("run", way=way)
            seconds[way].append(answer["seconds"])
            if way == "batches":
                compute.append(answer["compute_seconds"])
        for name, side in sides.items():
            if name != OURS:
                seconds[name].append(side.ask("run", way="json")["seconds"])
    return seconds, compute


def _fresh(
    sides: Iterable[str], job: Mapping[str, Any], scratch: Path, work: MapComparison
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds from the start of an interpreter to its figures, and the MiB it held at most."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peak: dict[str, list[float]] = {name: [] for name in seconds}
    for _ in tqdm(range(work.fresh), desc="fresh processes", unit="round", leave=False):
        for name in seconds:
            started = time.perf_counter()
            with rounds.start(
                name, job, scratch, peers_python=work.peers_python, threads=work.threads, label=f"{name}-once"
            ) as side:
                seconds[name].append(time.perf_counter() - started)
                peak[name].append(side.hello["peak_bytes"] / 2**20)
    return seconds, peak


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: seconds, ratios, fresh processes and memory."""
    lines = [f"{figures['what']}; {figures['threads']} threads, {figures['rounds']} alternating rounds"]
    for name, each in figures["seconds"].items():
        own = name in WAYS
        said = f"yolofast, {WAYS[name]}" if own else f"{name} {figures['versions'][name]}, both files"
        bounds = f"{each['p20']:.3f} .. {each['p80']:.3f}"
        gains = [f"{figures['ratio'][way][name]['median']:.2f}x" for way in WAYS if not own]
        behind = f"  ours {', '.join(gains)} as fast" if gains else ""
        lines.append(f"  {said:58} {each['median']:7.3f} s  {bounds:>15}{behind}")
    for name, each in figures["fresh_seconds"].items():
        memory = figures["peak_mib"][name]["median"]
        gain = figures["fresh_ratio"].get(name)
        behind = f"  ours {gain['median']:.2f}x as fast" if gain else ""
        said = f"{name}, fresh process"
        lines.append(f"  {said:58} {each['median']:7.3f} s, {memory:.0f} MiB at most{behind}")
    for what, share in figures["compute_share"].items():
        lines.append(f"  compute() after batches: {share['median']:.1%} {what}")
    for name, equal in figures["checks"].items():
        other = [key for key, same in equal.items() if not same]
        lines.append(f"  {name}: {'all figures and arrays equal' if not other else f'{other} differ'}")
    lines += [f"  {name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def panels(figures: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Warm, fresh and memory, for `bench.chart.draw_bars`; the slow ones would hide the rest."""
    own = {way: f"yolofast, {'files' if way == 'json' else way}" for way in WAYS}
    warm = {
        own.get(name, f"{name} {figures['versions'].get(name)}"): (each, name in WAYS)
        for name, each in figures["seconds"].items()
        if name not in SLOW_PEERS
    }
    ratio = {f"{n} {figures['versions'][n]}": each for n, each in figures["ratio"]["json"].items()}

    def by_side(key: str) -> dict[str, tuple[Any, bool]]:
        return {name: (each, name == OURS) for name, each in figures[key].items()}

    return [
        {"title": f"{figures['what']}: seconds, warm", "bars": warm, "ratio": ratio},
        {
            "title": "seconds, from the start of an interpreter",
            "bars": by_side("fresh_seconds"),
            "ratio": figures["fresh_ratio"],
        },
        {"title": "most memory of that process, MiB", "bars": by_side("peak_mib"), "ratio": {}},
    ]
