"""Every reader and writer against another checkout, interleaved: writes results/readers.json.

    git worktree add ../before COMMIT && (cd ../before && python setup.py build_ext --inplace)
    python benchmarks/compare_readers.py /data/coco_sized --before ../before

YOLO, COCO and VOC at the size of coco_sized.py; CSV, Open Images and LabelMe with a quarter of its images. A
reader is timed from the scan of the folder to the last image, a writer by its whole command, each in a fresh
process with all files in the page cache. `user_s` is the processor time of the program alone: that of the
file system, which the wall clock includes, depends on what was written and deleted before.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from coco_sized import make
from folders import REPOSITORY, RESULTS

from yolofast.bench.figures import write_result
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.prepare import convert_dataset
from yolofast.types import ImageRecord

FORMATS = ("yolo", "coco", "voc", "csv", "openimages", "labelme")
WRITERS = {
    "write yolo": ("prepare", "coco", "--out"),
    "write coco": ("convert", "yolo", "--to", "coco", "--out"),
    "write voc": ("convert", "yolo", "--to", "voc", "--out"),
}
READ = """
import sys
from pathlib import Path
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset
dataset = open_dataset(scan_dataset(Path(sys.argv[1])))
print(sum(len(item.record.boxes) for item in dataset.read() if item.record))
"""
SIDES = ("before", "after")


def _records(root: Path, every: int) -> Iterator[tuple[ImageRecord, tuple[str, ...]]]:
    dataset = open_dataset(scan_dataset(root / "yolo"))
    for number, item in enumerate(dataset.read()):
        if item.record is not None and number % every == 0:
            yield item.record, dataset.names


def _link(image: Path, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    os.link(image, folder / image.name)
    return image.name


def _make_csv(root: Path, out: Path) -> None:
    with (out / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for record, names in _records(root, 4):
            name = _link(record.path, out / "images")
            for box, label in zip(record.boxes.round(2).tolist(), record.classes.tolist(), strict=True):
                rows.writerow([name, record.width, record.height, names[label], *box])


def _make_openimages(root: Path, out: Path) -> None:
    with (out / "train-annotations-bbox.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax"])
        for record, names in _records(root, 4):
            stem = Path(_link(record.path, out / "train")).stem
            size = np.array([record.width, record.height] * 2)
            shares = (record.boxes / size).round(6).tolist()
            for (x1, y1, x2, y2), label in zip(shares, record.classes.tolist(), strict=True):
                rows.writerow([stem, "xclick", names[label], 1, x1, x2, y1, y2])


def _make_labelme(root: Path, out: Path) -> None:
    for record, names in _records(root, 4):
        name = _link(record.path, out)
        boxes = zip(record.boxes.round(2).tolist(), record.classes.tolist(), strict=True)
        shapes = [
            {"label": names[label], "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"}
            for (x1, y1, x2, y2), label in boxes
        ]
        content = {
            "version": "5.0.0",
            "imagePath": name,
            "imageWidth": record.width,
            "imageHeight": record.height,
            "shapes": shapes,
        }
        (out / name).with_suffix(".json").write_text(json.dumps(content))


def make_formats(root: Path) -> None:
    """The datasets of the other formats beside `yolo` and `coco`, unless they are there."""
    for name in FORMATS[2:]:
        out = root / name
        if (root / f"{name}.done").exists():
            continue
        shutil.rmtree(out, ignore_errors=True)
        if name == "voc":
            convert_dataset(root / "yolo", out, to="voc")
        else:
            out.mkdir()
            globals()[f"_make_{name}"](root, out)
        (root / f"{name}.done").touch()


def _run(arguments: list[str], checkout: Path) -> tuple[float, float, str]:
    """Seconds of wall clock and of processor time (user), and the last line of the output."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)}\n{done.stderr[-2000:]}")
    lines = done.stdout.strip().splitlines() or [""]
    return seconds, now.ru_utime - used.ru_utime, lines[-1]


def compare(root: Path, checkouts: dict[str, Path], rounds: int, only: str) -> dict[str, Any]:
    """One entry for each reader and writer: seconds of both sides in all rounds, and the ratio of medians.

    `only` selects those whose names contain it ("read", "write voc").
    """
    entries: dict[str, Any] = {}
    jobs = {f"read {name}": ["-c", READ, str(root / name)] for name in FORMATS}
    for name, (command, folder, *rest) in WRITERS.items():
        jobs[name] = ["-m", "yolofast.cli", command, str(root / folder), *rest]
    outputs = Path(tempfile.mkdtemp(prefix="written-", dir=root))
    for name, arguments in ((n, a) for n, a in jobs.items() if only in n):
        wall: dict[str, list[float]] = {side: [] for side in SIDES}
        user: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(rounds + 1):  # the first fills the page cache
            said = {}
            for side in SIDES if turn % 2 else reversed(SIDES):
                target = outputs / str(len(list(outputs.iterdir())))
                line = [*arguments, str(target)] if name in WRITERS else arguments
                seconds, busy, said[side] = _run(line, checkouts[side])
                if turn:
                    wall[side].append(round(seconds, 3))
                    user[side].append(round(busy, 3))
            if name not in WRITERS and said["before"] != said["after"]:
                raise SystemExit(f"{name}: {said} boxes")
        entries[name] = {
            "wall_s": wall,
            "user_s": user,
            "wall_ratio": round(float(np.median(wall["after"]) / np.median(wall["before"])), 3),
            "user_ratio": round(float(np.median(user["after"]) / np.median(user["before"])), 3),
        }
        print(name, entries[name]["wall_ratio"], entries[name]["user_ratio"], wall, flush=True)
    shutil.rmtree(outputs)
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds the datasets, or where they are made")
    parser.add_argument("--before", type=Path, required=True, help="the other checkout, built")
    parser.add_argument("--after", type=Path, default=REPOSITORY, help="default: this checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="those whose names contain this, added to the results")
    options = parser.parse_args()
    root = make(options.root.resolve())
    make_formats(root)
    checkouts = {"before": options.before.resolve(), "after": options.after.resolve()}
    entries = compare(root, checkouts, options.rounds, options.only)
    results = RESULTS / "readers.json"
    if options.only and results.exists():
        entries = json.loads(results.read_text())["entries"] | entries
    print(write_result(results, entries, ("numpy", "yolofast")))


if __name__ == "__main__":
    main()
