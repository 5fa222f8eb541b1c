"""Suppression beside torchvision's and Ultralytics': same boxes, one thread a side, interleaved rounds.

Before anything is timed, every side does each case once and has to find what ours finds.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.bench import rounds
from yolofast.bench.loaders import machine, spread
from yolofast.bench.nms_checks import compare_detections, compare_kept
from yolofast.bench.process import Side
from yolofast.bench.rounds import OURS
from yolofast.bench.work import CLASSES, CONF, detector_head, random_boxes

PEERS = ("torchvision", "ultralytics")
IOU = 0.7
MAX_DET = 300
HEADS: Mapping[str, tuple[int, int]] = {"realistic": (8, 5_000), "crowded": (60, 29_500)}
"""Kind of head -> objects and candidates an image."""


@dataclass(frozen=True)
class NmsComparison:
    """What is compared: suppression of so many random boxes, and `postprocess` of so many images."""

    boxes: tuple[int, ...] = (5_000, 30_000)
    images: int = 16
    peers: tuple[str, ...] = ()
    peers_python: Path = Path(sys.executable)
    rounds: int = 7
    seconds: float = 0.2


@dataclass(frozen=True)
class _Case:
    what: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    peers: tuple[str, ...]


def compare_nms(work: NmsComparison) -> dict[str, Any]:
    """Milliseconds of every case on every side.

    Returns plain values for JSON: `entries` (case -> what, ms of each side with median, p20 and p80, ratio
    peer / ours over the rounds, checks: what was found equal), `versions` (of ours and the peers'
    packages), `left_out` (peer -> why), and how it was measured.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when ours fails or a peer finds something
    else than ours.
    """
    rounds.check_interpreter(work.peers_python)
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolofast-bench-")))
        cases = _cases(work, scratch)
        sides = rounds.start_all(
            stack, work.peers, {"bench": "nms"}, scratch, left_out, peers_python=work.peers_python
        )
        entries = {key: _compared(key, case, sides, work, scratch) for key, case in cases.items()}
    return {
        "threads": 1,
        "rounds": work.rounds,
        "round_seconds": work.seconds,
        "iou": IOU,
        "machine": machine(),
        "entries": entries,
        "versions": {k: v for side in sides.values() for k, v in side.hello["versions"].items()},
        "left_out": left_out,
    }


def _cases(work: NmsComparison, scratch: Path) -> dict[str, _Case]:
    def saved(name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        paths = {key: str(scratch / f"{name}-{key}.npy") for key in arrays}
        for key, array in arrays.items():
            np.save(paths[key], array)
        return paths

    cases: dict[str, _Case] = {}
    for count in work.boxes:
        inputs = saved(f"boxes-{count}", random_boxes(count, CLASSES))
        cases[f"batched_nms {count}"] = _Case(
            f"batched_nms, {count:,} boxes, {CLASSES} classes",
            {"work": "batched_nms", "iou": IOU},
            inputs,
            ("torchvision",),
        )
    least = min(work.boxes)
    inputs = saved("boxes-one-class", random_boxes(least, 1))
    for kernel, peers in (("nms", ("torchvision",)), ("soft_nms", ())):
        cases[kernel] = _Case(
            f"{kernel}, {least:,} boxes, one class", {"work": kernel, "iou": IOU}, inputs, peers
        )
    for kind, (objects, candidates) in HEADS.items():
        head = detector_head(work.images, objects, candidates)
        shape = ", ".join(map(str, head.shape))
        each = int((head[:, 4:] > np.float32(CONF)).sum()) // len(head)
        cases[f"postprocess {kind}"] = _Case(
            f"postprocess, {kind} head [{shape}], {each:,} candidates an image",
            {"work": "postprocess", "iou": IOU, "conf": CONF, "max_det": MAX_DET},
            saved(kind, {"head": head}),
            ("ultralytics",),
        )
    return cases


def _compared(
    key: str, case: _Case, sides: Mapping[str, Side], work: NmsComparison, scratch: Path
) -> dict[str, Any]:
    taking_part = {n: s for n, s in sides.items() if n == OURS or n in case.peers}
    found: dict[str, Mapping[str, NDArray[Any]]] = {}
    for name, side in taking_part.items():
        path = scratch / f"{name}-found.npz"
        side.ask("prepare", name=key, case=case.settings, inputs=case.inputs, to=str(path))
        with np.load(path) as saved:
            found[name] = dict(saved)
    checks = {n: _checked(case, found[OURS], theirs, n) for n, theirs in found.items() if n != OURS}
    calls = {name: _calls_a_round(side, key, work.seconds) for name, side in taking_part.items()}
    times: dict[str, list[float]] = {name: [] for name in taking_part}
    for _ in range(work.rounds):
        for name, side in taking_part.items():
            answer = side.ask("run", name=key, count=calls[name])
            times[name].append(1e3 * answer["seconds"] / calls[name])
    return {
        "what": case.what,
        "threads": 1,
        "rounds": work.rounds,
        "ms": {name: spread(each) for name, each in times.items()},
        "ratio": {name: rounds.ratio(times[name], times[OURS]) for name in checks},
        "found": len(found[OURS]["kept" if "kept" in found[OURS] else "scores"]),
        "checks": checks,
    }


def _checked(
    case: _Case, ours: Mapping[str, NDArray[Any]], theirs: Mapping[str, NDArray[Any]], name: str
) -> dict[str, int]:
    if "kept" in ours:
        return compare_kept(ours, theirs, name, np.load(case.inputs["scores"]))
    return compare_detections(
        ours, theirs, name, np.load(case.inputs["head"]), conf=CONF, iou=IOU, max_det=MAX_DET
    )


def _calls_a_round(side: Side, key: str, seconds: float) -> int:
    side.ask("run", name=key, count=1)
    once = float(side.ask("run", name=key, count=1)["seconds"])
    return max(1, int(seconds / max(once, 1e-9)))


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: milliseconds of each case and side with 20th and 80th percentile, and peer / ours."""
    lines = [
        f"IoU {figures['iou']}, one thread on one core each, {figures['rounds']} alternating rounds",
        f"  {'':26} {'ms':>9}  {'p20 .. p80':>17}  peer / ours",
    ]
    for entry in figures["entries"].values():
        lines.append(entry["what"])
        for name, each in entry["ms"].items():
            compared = ""
            if name in entry["ratio"]:
                gain = entry["ratio"][name]
                same = ", ".join(f"{count} {kind}" for kind, count in entry["checks"][name].items() if count)
                compared = f"  {gain['median']:.2f}x ({gain['p20']:.2f} .. {gain['p80']:.2f}); {same}"
            label = f"{name} {figures['versions'][name]}"
            bounds = f"{each['p20']:.3f} .. {each['p80']:.3f}"
            lines.append(f"  {label:26} {each['median']:9.3f}  {bounds:>17}{compared}")
    lines += [f"{name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def panels(figures: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The comparisons with a peer, for `bench.chart.draw_bars`."""
    return [
        {
            "title": entry["what"],
            "bars": {f"{n} {figures['versions'][n]}": (each, n == OURS) for n, each in entry["ms"].items()},
            "ratio": {f"{n} {figures['versions'][n]}": gain for n, gain in entry["ratio"].items()},
        }
        for entry in figures["entries"].values()
        if entry["ratio"]
    ]
