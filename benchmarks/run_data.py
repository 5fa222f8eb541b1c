"""The data stages on a dataset of COCO's size (coco_sized.py): writes results/data.json.

The label scan (find, open and check every image header and label file) against Ultralytics', interleaved; and
what `analyze`, `check` and `prepare` take on the same boxes as YOLO and as COCO: seconds and peak memory of a
fresh process, all files in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from coco_sized import make
from interleave import spread, write_result

HERE = Path(__file__).resolve().parent
STAGES: dict[str, tuple[str, ...]] = {
    "analyze_yolo": ("analyze", "yolo", "--json"),
    "analyze_coco": ("analyze", "coco", "--json"),
    "check_yolo": ("check", "yolo", "--json"),
    "prepare_yolo": ("prepare", "yolo", "--out", "OUT"),
    "prepare_coco": ("prepare", "coco", "--out", "OUT"),
}


def _scan(side: str, python: Path, root: Path, out: Path) -> dict[str, Any]:
    command = [str(python), str(HERE / "scan_side.py"), side, str(root / "yolo"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)} if side == "yolofast" else dict(os.environ)
    environment["YOLO_VERBOSE"] = "false"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _check_equal(ours: Path, theirs: Path) -> float:
    """The largest difference between the labels of both; they must be the same rows of the same images."""
    a, b = np.load(ours), np.load(theirs)
    if not np.array_equal(a["paths"], b["paths"]) or not np.array_equal(a["counts"], b["counts"]):
        raise SystemExit("the two scans found different images or numbers of boxes")
    if not np.array_equal(a["rows"][:, 0], b["rows"][:, 0]):
        raise SystemExit("the two scans found different classes")
    return float(np.abs(a["rows"] - b["rows"]).max())


def compare_scans(root: Path, peers_python: Path, rounds: int) -> dict[str, Any]:
    sides = {"yolofast": Path(sys.executable), "ultralytics": peers_python}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found = {}
    for each in range(rounds):
        for side, python in sides.items():
            answer = _scan(side, python, root, root / f"{side}.npz")
            seconds[side].append(answer["seconds"])
            found[side] = (answer["images"], answer["boxes"])
            print(f"round {each + 1}: {side} {answer['seconds']:.2f} s", flush=True)
    if len(set(found.values())) != 1:
        raise SystemExit(f"the two scans differ: {found}")
    images, boxes = found["yolofast"]
    return {
        "what": "scan of YOLO labels and image headers, whole process's threads, warm",
        "images": images,
        "boxes": boxes,
        "largest_difference": _check_equal(root / "yolofast.npz", root / "ultralytics.npz"),
        "rounds": rounds,
        "seconds": {side: spread(values) for side, values in seconds.items()},
        "images_per_s": {side: round(images / float(np.median(v))) for side, v in seconds.items()},
        "ratio": spread(np.array(seconds["ultralytics"]) / np.array(seconds["yolofast"])),
    }


def run_stage(root: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Seconds, and peak memory in MiB, of one command in a fresh process.

    `OUT` among the arguments becomes a new folder. None is removed before all is measured: ext4 searches
    long for free inodes where many have just been deleted.
    """
    out = tempfile.mkdtemp(prefix="prepared-", dir=root)
    arguments = tuple(f"{out}/set" if argument == "OUT" else argument for argument in arguments)
    code = "import resource, sys; from yolofast.cli import main; code = main(sys.argv[1:]); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
    return {"seconds": round(seconds, 2), "peak_mib": round(int(done.stderr.splitlines()[-1]) / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that holds the dataset, or where it is made")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    root = make(options.root.resolve())
    entries: dict[str, Any] = {"scan": compare_scans(root, options.peers_python, options.rounds)}
    for name, arguments in STAGES.items():
        runs = [run_stage(root, arguments) for _ in range(options.rounds)]
        entries[name] = {
            "what": f"yolofast {' '.join(arguments)}",
            "seconds": spread([run["seconds"] for run in runs]),
            "peak_mib": max(run["peak_mib"] for run in runs),
        }
        print(name, entries[name], flush=True)
    for made in root.glob("prepared-*"):
        shutil.rmtree(made)
    peer = [str(options.peers_python), "-c", "import ultralytics; print(ultralytics.__version__)"]
    version = subprocess.run(peer, capture_output=True, text=True, check=True).stdout.split()[-1]
    print(write_result("data", entries, ("numpy", "yolofast"), {"ultralytics": version}))


if __name__ == "__main__":
    main()
