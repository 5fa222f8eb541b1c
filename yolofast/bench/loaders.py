"""How many samples a second the loader gives, alone or side by side with other loaders.

Speed is compared in one way: rounds A B A B ..., every side in a process of its own on the same core,
never two at once; medians and spreads, and a ratio a round. Before that, every peer shows that its samples
are the same kind of thing as ours.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.bench.dataset import Copied, copy_for_bench
from yolofast.bench.loader_side import BATCH, FLOORS, LoaderWork
from yolofast.bench.peers import loaders as peers
from yolofast.bench.process import Side, cores
from yolofast.config import AugmentConfig, Cache
from yolofast.errors import ConfigError, DataError
from yolofast.types import Split

OURS = "yolofast"
ROUNDS = 7
ROUND_SECONDS = 2.0
FLOOR_SHARE = 0.25
"""Length of a round of decode alone, as a share of a round of the others."""
WARM_UP = 256
"""Samples a side makes first: more than any buffer of recent images holds."""
CALIBRATE = 64
SHOWN = 16
CHECKED = 128
"""Training samples whose boxes are counted in the check; of `SHOWN` the pixels are looked at."""
MOST_PIXEL_DIFFERENCE = 4.0
MOST_LEVEL_DIFFERENCE = 30.0
MOST_BOX_RATIO = 2.0


def measure_loader(
    data: Path,
    split: Split,
    *,
    imgsz: int,
    threads: int,
    augment: AugmentConfig | None,
    seconds: float,
    cache: Cache = "none",
) -> dict[str, Any]:
    """Samples a second of our loader in this process over at least `seconds`; file read to batch.

    As many epochs as the time lasts. The first epoch is not measured when it fills a cache; else a few
    batches come first. The clock starts with nothing made ahead. Returns images_per_s and what was
    measured.
    """
    loader = LoaderWork(data, split, imgsz, threads, augment, cache).loader()
    count = len(loader.dataset)
    _load(loader, samples=count if cache != "none" else min(count, BATCH))
    started = time.perf_counter()
    images = _load(loader, until=started + seconds)
    elapsed = time.perf_counter() - started
    return {
        "images_per_s": images / elapsed,
        "images": images,
        "seconds": elapsed,
        "threads": threads,
        "imgsz": imgsz,
        "augment": augment is not None,
        "cache": cache,
        "dataset_images": count,
        "data": str(data),
    }


def _load(loader: Any, *, samples: int = 0, until: float = 0.0) -> int:
    """Take batches until both are reached, and say how many samples came."""
    made = 0
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        for batch in loader:
            made += len(batch)
            if made >= samples and time.perf_counter() >= until:
                return made
    raise AssertionError("epochs never end")


@dataclass(frozen=True)
class Comparison:
    """What is compared: `augment` True is the default training augmentation, False the letterbox."""

    data: Path
    split: Split
    imgsz: int = 640
    augment: bool = True
    cache: Cache = "none"
    peers: tuple[str, ...] = tuple(peers.PEERS)
    peers_python: Path = Path(sys.executable)
    threads: int = 1
    rounds: int = ROUNDS
    seconds: float = ROUND_SECONDS


def compare_loaders(work: Comparison) -> dict[str, Any]:
    """Our loader and its peers, one thread and one core each, interleaved; images/s and ratios.

    Runs on copies of at most `bench_dataset.MOST` of the split's images, so that no peer can write to the
    dataset. With `threads` above 1 our loader runs with so many threads and cores as well.

    Returns plain values for JSON: `images_per_s` (ours, one thread, median over the rounds), `sides`
    (name -> images_per_s with median, p20 and p80, busy = processor time / time, threads, versions),
    `ratio` (peer -> ours / peer, over the rounds), `scaling` (threads -> ours / ours with one), `floor`
    (decode alone), `stages_ms` (our stages, milliseconds of worker time a sample), `checks` (peer -> how
    its samples differ from ours), `left_out` (peer -> why), and what was measured.

    Raises `ConfigError` for a wrong setting and `DataError` when the dataset or our own side fails.
    """
    _check_settings(work)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolofast-bench-")))
        # A mosaic pipeline that remembers recent images must not be able to remember all of them.
        least = 4 * peers.BUFFER if work.augment and work.cache == "none" else 1
        copied = copy_for_bench(work.data, work.split, scratch / "dataset", least)
        left_out: dict[str, str] = {}
        sides = _started(work, copied, scratch, stack, left_out)
        checks = _checked(work, sides, scratch, left_out)
        sides = [side for side in sides if side.name not in left_out]
        answers, stages = _rounds(work, sides, left_out)
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
        **_figures({s.name: s for s in sides if s.name not in left_out}, answers),
        "stages_ms": stages,
        "checks": checks,
        "left_out": left_out,
    }


def _check_settings(work: Comparison) -> None:
    unknown = [name for name in work.peers if name not in peers.PEERS]
    if unknown:
        raise ConfigError(f"peers: got '{unknown[0]}', expected some of {', '.join(peers.PEERS)}.")
    if not work.peers_python.exists():
        raise ConfigError(f"peers_python: {work.peers_python}: no such file. Give the peers' interpreter.")
    cores(work.threads)


def _includes(cache: Cache) -> str:
    source = (
        "file read (from the page cache) and decode" if cache == "none" else f"read from the {cache} cache"
    )
    return f"{source}, transform to uint8 RGB planes, labels; not the copy to a training device"


# ---------------------------------------------------------------- starting and checking


def _started(
    work: Comparison, copied: Copied, scratch: Path, stack: contextlib.ExitStack, left_out: dict[str, str]
) -> list[Side]:
    """Our sides, the peers that can do the job, and the floor."""
    sides: list[Side] = []
    package_root = str(Path(peers.__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))

    def own(name: str, side: str, threads: int = 1) -> None:
        job = {
            "side": side,
            "data": str(copied.data_yaml),
            "split": work.split,
            "imgsz": work.imgsz,
            "threads": threads,
            "augment": work.augment,
            "cache": work.cache,
        }
        command = [sys.executable, "-m", "yolofast.bench.loader_side", json.dumps(job)]
        started = Side(name, command, scratch, threads=threads, variables={"PYTHONPATH": search})
        sides.append(stack.enter_context(started))

    with ours_must_work():
        own(OURS, OURS)
        if work.threads > 1:
            own(_threaded(work.threads), OURS, work.threads)
    for name in work.peers:
        job = peers.Job(
            name, str(copied.folder), copied.classes, work.imgsz, augment=work.augment, cache=work.cache
        )
        command = [str(work.peers_python), peers.__file__, json.dumps(vars(job))]
        with left_out_when_failing(name, left_out, work.peers_python):
            sides.append(stack.enter_context(Side(name, command, scratch)))
    for name in FLOORS:
        with left_out_when_failing(name, left_out):
            own(name, name)
    return sides


def _threaded(threads: int) -> str:
    return f"{OURS}, {threads} threads"


@contextlib.contextmanager
def ours_must_work() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{OURS}'s own side failed: {error}") from None


@contextlib.contextmanager
def left_out_when_failing(name: str, left_out: dict[str, str], python: Path | None = None) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        missing = python is not None and "No module named" in str(error)
        hint = f" for {python}. Install it there, or give --peers-python." if missing else ""
        left_out[name] = f"{error}{hint}"


def _checked(
    work: Comparison, sides: Sequence[Side], scratch: Path, left_out: dict[str, str]
) -> dict[str, dict[str, float]]:
    """How far the samples of each peer are from ours; one that is too far off is left out."""

    def samples(side: Side) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        path = scratch / f"{side.name}.npz"
        side.ask("save", count=CHECKED, images=SHOWN, to=str(path))
        with np.load(path) as saved:
            return saved["images"], saved["boxes"]

    with ours_must_work():
        ours = samples(sides[0])
    checks: dict[str, dict[str, float]] = {}
    for side in sides:
        if side.name not in work.peers:
            continue
        with left_out_when_failing(side.name, left_out):
            checks[side.name] = compare_samples(ours, samples(side), same_pixels=not work.augment)
    return checks


def compare_samples(
    ours: tuple[NDArray[np.uint8], NDArray[np.int64]],
    theirs: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    same_pixels: bool,
) -> dict[str, float]:
    """How two sets of (images uint8 [k, 3, S, S], boxes a sample int64 [n]) differ.

    `same_pixels` True: the same images in the same order, so the mean absolute difference of the pixels
    counts. False: random samples, so their mean level and their mean number of boxes count.

    Raises `DataError` when they are not the same job.
    """
    (image_a, boxes_a), (image_b, boxes_b) = ours, theirs
    if image_a.shape != image_b.shape or image_b.dtype != np.uint8:
        raise DataError(
            f"its samples are {image_b.dtype} {image_b.shape}, expected {image_a.dtype} {image_a.shape}"
        )
    found = {"boxes": float(boxes_b.mean()), "boxes_ours": float(boxes_a.mean())}
    if same_pixels:
        found["pixel_difference"] = float(np.abs(image_a.astype(np.int16) - image_b).mean())
        limit = found["pixel_difference"] <= MOST_PIXEL_DIFFERENCE
        limit &= bool((boxes_a == boxes_b).mean() > 0.95)
    else:
        found["level"], found["level_ours"] = float(image_b.mean()), float(image_a.mean())
        limit = abs(found["level"] - found["level_ours"]) <= MOST_LEVEL_DIFFERENCE
        more, fewer = max(found["boxes"], found["boxes_ours"]), min(found["boxes"], found["boxes_ours"])
        limit &= more <= MOST_BOX_RATIO * fewer + 0.5
    if not limit:
        said = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        raise DataError(f"its samples are not what ours are: {said}")
    return found


# ---------------------------------------------------------------- rounds


Answers = dict[str, list[Mapping[str, Any]]]
"""Side -> its answer in every round."""


def _rounds(
    work: Comparison, sides: Sequence[Side], left_out: dict[str, str]
) -> tuple[Answers, dict[str, float]]:
    """Warm up, then run the rounds. What every side answered, and milliseconds a sample of our stages.

    A peer that ends is left out.
    """
    samples: dict[str, int] = {}
    answers: Answers = {side.name: [] for side in sides}
    for side in sides:
        with ours_must_work() if _is_ours(side) else left_out_when_failing(side.name, left_out):
            samples[side.name] = _samples_a_round(side, work.seconds)
    before = sides[0].ask("stages")
    for _ in range(work.rounds):
        for side in (s for s in sides if s.name not in left_out):
            with ours_must_work() if _is_ours(side) else left_out_when_failing(side.name, left_out):
                answers[side.name].append(side.ask("run", count=samples[side.name]))
    made = sum(answer["samples"] for answer in answers[OURS])
    after = sides[0].ask("stages")
    return answers, {name: 1e3 * (after[name] - before.get(name, 0.0)) / made for name in after}


def _is_ours(side: Side) -> bool:
    return side.name.startswith(OURS)


def _samples_a_round(side: Side, seconds: float) -> int:
    """How many samples take `seconds`, once everything is warm: caches, buffers, compiled code."""
    side.ask("run", count=min(WARM_UP, max(1, side.hello.get("images", WARM_UP))))
    answer = side.ask("run", count=CALIBRATE)
    rate = float(answer["samples"]) / float(answer["seconds"])
    return max(1, round(rate * seconds * (FLOOR_SHARE if side.name in FLOORS else 1.0)))


def spread(values: Any) -> dict[str, float]:
    """Median and 20th and 80th percentile."""
    low, middle, high = np.percentile(values, [20, 50, 80])
    return {"median": round(float(middle), 3), "p20": round(float(low), 3), "p80": round(float(high), 3)}


def _figures(sides: Mapping[str, Side], answers: Answers) -> dict[str, Any]:
    rates = {n: np.array([a["samples"] / a["seconds"] for a in answers[n]]) for n in sides}
    described = {
        name: {
            "images_per_s": spread(rates[name]),
            "busy": spread([a["cpu_seconds"] / a["seconds"] for a in answers[name]]),
            "threads": side.threads,
            "versions": side.hello["versions"],
        }
        for name, side in sides.items()
    }
    ours = rates[OURS]
    return {
        "images_per_s": described[OURS]["images_per_s"]["median"],
        "threads": 1,
        "sides": {n: d for n, d in described.items() if n not in FLOORS},
        "floor": {n: d for n, d in described.items() if n in FLOORS},
        "ratio": {n: spread(ours / rates[n]) for n in sides if n in peers.PEERS},
        "scaling": {str(s.threads): spread(rates[n] / ours) for n, s in sides.items() if s.threads > 1},
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
