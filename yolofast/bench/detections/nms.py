"""NMS and postprocessing compared with torchvision and Ultralytics: same boxes, one thread each.

Before anything is timed, every participant runs each case once and has to find what ours finds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.bench.chart import Bar, BarPanel
from yolofast.bench.detections.nms_agreement import compare_detections, compare_kept
from yolofast.bench.detections.nms_inputs import CLASSES, CONF, detector_head, random_boxes
from yolofast.bench.figures import OURS, compared_times, labelled, machine
from yolofast.bench.process import Participant
from yolofast.bench.protocol import Participants, calls_per_round, interleave

PEERS = ("torchvision", "ultralytics")
IOU = 0.7
MAX_DET = 300
HEADS: Mapping[str, tuple[int, int]] = {"realistic": (8, 5_000), "crowded": (60, 29_500)}
"""Kind of head -> objects and candidates per image."""


@dataclass(frozen=True)
class NmsComparison:
    """What is compared: NMS of each number of random boxes, and `postprocess` of a batch of images."""

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
    """Milliseconds of every case for every participant.

    Returns JSON values: `entries` (case -> what, ms of each participant with median, p20 and p80, ratio peer
    / ours over the rounds, checks: what was found equal), `versions` (of our and the peers' packages),
    `left_out` (peer -> why), and how it was measured.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when ours fails or a peer finds something
    other than ours.
    """
    with Participants(work.peers_python) as participants:
        cases = _cases(work, participants.scratch)
        for name in (OURS, *work.peers):
            participants.start(name, ".nms", {"participant": name})
        entries = {key: _compared(key, case, participants, work) for key, case in cases.items()}
    return {
        "threads": 1,
        "rounds": work.rounds,
        "round_seconds": work.seconds,
        "iou": IOU,
        "machine": machine(),
        "entries": entries,
        "versions": participants.versions,
        "left_out": participants.left_out,
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
    fewest = min(work.boxes)
    inputs = saved("boxes-one-class", random_boxes(fewest, 1))
    for kernel, peers in (("nms", ("torchvision",)), ("soft_nms", ())):
        cases[kernel] = _Case(
            f"{kernel}, {fewest:,} boxes, one class", {"work": kernel, "iou": IOU}, inputs, peers
        )
    for kind, (objects, candidates) in HEADS.items():
        head = detector_head(work.images, objects, candidates)
        shape = ", ".join(map(str, head.shape))
        each = int((head[:, 4:] > np.float32(CONF)).sum()) // len(head)
        cases[f"postprocess {kind}"] = _Case(
            f"postprocess, {kind} head [{shape}], {each:,} candidates per image",
            {"work": "postprocess", "iou": IOU, "conf": CONF, "max_det": MAX_DET},
            saved(kind, {"head": head}),
            ("ultralytics",),
        )
    return cases


def _compared(key: str, case: _Case, participants: Participants, work: NmsComparison) -> dict[str, Any]:
    members = {n: each for n, each in participants.present.items() if n == OURS or n in case.peers}
    found: dict[str, Mapping[str, NDArray[Any]]] = {}
    for name, each in members.items():
        path = participants.scratch / f"{name}-found.npz"
        each.ask("prepare", name=key, case=case.settings, inputs=case.inputs, to=str(path))
        with np.load(path) as saved:
            found[name] = dict(saved)
    checks = {n: _checked(case, found[OURS], theirs, n) for n, theirs in found.items() if n != OURS}
    runs = {name: _round(each, key, work.seconds) for name, each in members.items()}
    return {
        "what": case.what,
        "threads": 1,
        "rounds": work.rounds,
        **compared_times(interleave(runs, work.rounds)),
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


def _round(participant: Participant, key: str, seconds: float) -> Callable[[], float]:
    """A round of so many calls as take `seconds`: milliseconds per call."""

    def run(count: int) -> float:
        return float(participant.ask("run", name=key, count=count)["seconds"])

    count = calls_per_round(run, seconds)
    return lambda: 1e3 * run(count) / count


def text_table(figures: Mapping[str, Any]) -> str:
    """A table: milliseconds per case and participant with 20th and 80th percentile, and peer / ours."""
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
            label = labelled(name, figures["versions"])
            bounds = f"{each['p20']:.3f} .. {each['p80']:.3f}"
            lines.append(f"  {label:26} {each['median']:9.3f}  {bounds:>17}{compared}")
    lines += [f"{name}: left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def panels(figures: Mapping[str, Any]) -> Sequence[BarPanel]:
    """The cases that have a peer."""
    return [
        BarPanel(
            entry["what"],
            [
                Bar(
                    labelled(name, figures["versions"]), ms, ours=name == OURS, ratio=entry["ratio"].get(name)
                )
                for name, ms in entry["ms"].items()
            ],
        )
        for entry in figures["entries"].values()
        if entry["ratio"]
    ]
