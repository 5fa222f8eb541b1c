"""Our loader compared with other loaders: samples per second, each on one thread and one core."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.bench.figures import OURS, machine, ratio, spread
from yolofast.bench.loaders.dataset import Copied, copy_for_bench
from yolofast.bench.loaders.ours import FLOORS
from yolofast.bench.peers.loaders import BUFFER, PEERS, LoaderJob
from yolofast.bench.process import Participant, cores
from yolofast.bench.protocol import Participants, interleave, leave_out_on_failure
from yolofast.config import Cache
from yolofast.errors import ConfigError, DataError
from yolofast.types import Split

ROUNDS = 7
ROUND_SECONDS = 2.0
FLOOR_SHARE = 0.25
"""Length of a round of decode alone, as a share of a round of the loaders."""
WARM_UP = 256
"""Samples that each participant makes first: more than any buffer of recent images holds."""
CALIBRATE = 64
SHOWN = 16
CHECKED = 128
"""Training samples whose boxes are counted in the check; the pixels of the first `SHOWN` are compared."""
MAX_PIXEL_DIFFERENCE = 4.0
MAX_LEVEL_DIFFERENCE = 30.0
MAX_BOX_RATIO = 2.0

Samples = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images uint8 [k, 3, S, S], and boxes per sample int64 [n]."""


@dataclass(frozen=True)
class LoaderComparison:
    """What is compared: `augment` True is the default training augmentation, False the letterbox."""

    data: Path
    split: Split
    imgsz: int = 640
    augment: bool = True
    cache: Cache = "none"
    peers: tuple[str, ...] = tuple(PEERS)
    peers_python: Path = Path(sys.executable)
    threads: int = 1
    rounds: int = ROUNDS
    seconds: float = ROUND_SECONDS


def compare_loaders(work: LoaderComparison) -> dict[str, Any]:
    """Our loader and its peers, one thread and one core each, interleaved; images/s and ratios.

    Runs on copies of at most `dataset.MAX_IMAGES` of the split's images, so that no peer can write to the
    dataset. With `threads` above 1 our loader also runs with that many threads and cores.

    Returns JSON values: `images_per_s` (ours, one thread, median over the rounds), `sides` (participant ->
    images_per_s with median, p20 and p80, busy = processor time / time, threads, versions), `ratio` (peer ->
    ours / peer, over the rounds), `scaling` (threads -> ours / ours with one), `floor` (decode alone),
    `stages_ms` (our stages, milliseconds of worker time per sample), `checks` (peer -> how its samples differ
    from ours), `left_out` (peer -> why), and what was measured.

    Raises `ConfigError` for a wrong setting and `DataError` when the dataset or our own loader fails.
    """
    unknown = [name for name in work.peers if name not in PEERS]
    if unknown:
        raise ConfigError(f"peers: got '{unknown[0]}', expected some of {', '.join(PEERS)}.")
    cores(work.threads)
    with Participants(work.peers_python) as participants:
        # A mosaic pipeline that keeps recent images must not be able to keep all of them.
        min_files = 4 * BUFFER if work.augment and work.cache == "none" else 1
        copied = copy_for_bench(work.data, work.split, participants.scratch / "dataset", min_files)
        _start(work, copied, participants)
        checks = _check(work, participants)
        answers, stages = _measure(work, participants)
        figures = _figures(participants.present, answers)
    return {
        "data": str(work.data),
        "split": work.split,
        "images": copied.images,
        "files": copied.files,
        "imgsz": work.imgsz,
        "augment": work.augment,
        "cache": work.cache,
        "rounds": work.rounds,
        "round_seconds": work.seconds,
        "includes": _includes(work.cache),
        "machine": machine(),
        **figures,
        "stages_ms": stages,
        "checks": checks,
        "left_out": participants.left_out,
    }


def _includes(cache: Cache) -> str:
    source = (
        "file read (from the page cache) and decode" if cache == "none" else f"read from the {cache} cache"
    )
    return f"{source}, transform to uint8 RGB planes, labels; not the copy to a training device"


def _start(work: LoaderComparison, copied: Copied, participants: Participants) -> None:
    """Start our loader, the peers that can do the work, and decode alone."""

    def start_ours(name: str, threads: int = 1, floor: str | None = None) -> None:
        job = {
            "floor": floor,
            "data": str(copied.data_yaml),
            "split": work.split,
            "imgsz": work.imgsz,
            "threads": threads,
            "augment": work.augment,
            "cache": work.cache,
        }
        participants.start(name, "yolofast.bench.loaders.ours", job, threads=threads, python=None)

    start_ours(OURS)
    if work.threads > 1:
        start_ours(f"{OURS}, {work.threads} threads", work.threads)
    for name in work.peers:
        job = LoaderJob(
            name, str(copied.folder), copied.classes, work.imgsz, augment=work.augment, cache=work.cache
        )
        participants.start(name, ".loaders", vars(job))
    for name in FLOORS:
        start_ours(name, floor=name)


# ---------------------------------------------------------------- checking


def _check(work: LoaderComparison, participants: Participants) -> dict[str, dict[str, float]]:
    """How far the samples of each peer are from ours; one that is too far off is left out."""
    present = participants.present

    def samples(name: str) -> Samples:
        path = participants.scratch / f"{name}.npz"
        present[name].ask("save", count=CHECKED, images=SHOWN, to=str(path))
        with np.load(path) as saved:
            return saved["images"], saved["boxes"]

    with leave_out_on_failure(OURS, participants.left_out):
        ours = samples(OURS)
    checks: dict[str, dict[str, float]] = {}
    for name in (name for name in work.peers if name in present):
        with leave_out_on_failure(name, participants.left_out):
            checks[name] = compare_samples(ours, samples(name), same_pixels=not work.augment)
    return checks


def compare_samples(ours: Samples, theirs: Samples, *, same_pixels: bool) -> dict[str, float]:
    """How two sets of (images uint8 [k, 3, S, S], boxes per sample int64 [n]) differ.

    `same_pixels` True: the same images in the same order, so the mean absolute difference of the pixels is
    checked. False: random samples, so their mean level and their mean number of boxes are.

    Raises `DataError` when they differ too much to be the same work.
    """
    (image_a, boxes_a), (image_b, boxes_b) = ours, theirs
    if image_a.shape != image_b.shape or image_b.dtype != np.uint8:
        raise DataError(
            f"its samples are {image_b.dtype} {image_b.shape}, expected {image_a.dtype} {image_a.shape}"
        )
    found = {"boxes": float(boxes_b.mean()), "boxes_ours": float(boxes_a.mean())}
    if same_pixels:
        found["pixel_difference"] = float(np.abs(image_a.astype(np.int16) - image_b).mean())
        same = found["pixel_difference"] <= MAX_PIXEL_DIFFERENCE
        same &= bool((boxes_a == boxes_b).mean() > 0.95)
    else:
        found["level"], found["level_ours"] = float(image_b.mean()), float(image_a.mean())
        same = abs(found["level"] - found["level_ours"]) <= MAX_LEVEL_DIFFERENCE
        more, fewer = max(found["boxes"], found["boxes_ours"]), min(found["boxes"], found["boxes_ours"])
        same &= more <= MAX_BOX_RATIO * fewer + 0.5
    if not same:
        listed = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        raise DataError(f"its samples differ from ours: {listed}")
    return found


# ---------------------------------------------------------------- measuring


Answers = Mapping[str, list[Mapping[str, Any]]]
"""Participant -> its answer in every round."""


def _measure(work: LoaderComparison, participants: Participants) -> tuple[Answers, dict[str, float]]:
    """Warm up, then run the rounds: all answers, and milliseconds per sample of our stages.

    A peer that fails is left out.
    """
    runs = {}
    for name, participant in participants.present.items():
        with leave_out_on_failure(name, participants.left_out):
            count = _samples_per_round(participant, work.seconds)
            runs[name] = partial(participant.ask, "run", count=count)
    ours = participants.present[OURS]
    before = ours.ask("stages")
    answers = interleave(runs, work.rounds, left_out=participants.left_out)
    after = ours.ask("stages")
    made = sum(answer["samples"] for answer in answers[OURS])
    return answers, {name: 1e3 * (after[name] - before.get(name, 0.0)) / made for name in after}


def _samples_per_round(participant: Participant, seconds: float) -> int:
    """How many samples take `seconds`, once everything is warm: caches, buffers, compiled code."""
    participant.ask("run", count=min(WARM_UP, max(1, participant.hello.get("images", WARM_UP))))
    answer = participant.ask("run", count=CALIBRATE)
    rate = float(answer["samples"]) / float(answer["seconds"])
    return max(1, round(rate * seconds * (FLOOR_SHARE if participant.name in FLOORS else 1.0)))


def _figures(present: Mapping[str, Participant], answers: Answers) -> dict[str, Any]:
    rates = {name: [a["samples"] / a["seconds"] for a in answers[name]] for name in present}
    described = {
        name: {
            "images_per_s": spread(rates[name]),
            "busy": spread([a["cpu_seconds"] / a["seconds"] for a in answers[name]]),
            "threads": participant.threads,
            "versions": participant.hello["versions"],
        }
        for name, participant in present.items()
    }
    ours = rates[OURS]
    return {
        "images_per_s": described[OURS]["images_per_s"]["median"],
        "threads": 1,
        "sides": {name: each for name, each in described.items() if name not in FLOORS},
        "floor": {name: each for name, each in described.items() if name in FLOORS},
        "ratio": {name: ratio(ours, rates[name]) for name in present if name in PEERS},
        "scaling": {
            str(each.threads): ratio(rates[name], ours) for name, each in present.items() if each.threads > 1
        },
    }
