"""JPEG decode of real files against libjpeg-turbo 2 and 3: writes results/jpeg.json.

One thread, files in memory, memory for pixels used again (OpenCV's binding cannot). Each decoder runs in a
process of its own, all on one core, in alternating rounds, and times only its decoding. First all are shown
to give the same pixels.

    python benchmarks/run_jpeg.py --peers-python peers/bin/python

`peers` is the environment of requirements-peers.txt; simplejpeg and opencv-python-headless are enough of it.
The planes of libjpeg-turbo 3 come from our own binding with the library that Pillow's wheel brings, put in
the place of the system's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from interleave import RESULTS, spread, write_result

from yolofast.kernels import jpeg_info, rewrite_jpeg

HERE = Path(__file__).resolve().parent
MOST_DIFFERENCE = 0  # levels


class Side:
    """A decoder in another process."""

    def __init__(self, kind: str, python: Path, core: int, environment: dict[str, str]) -> None:
        self.kind = kind
        self.process = subprocess.Popen(
            [str(python), str(HERE / "jpeg_side.py"), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent), **environment},
        )
        os.sched_setaffinity(self.process.pid, {core})
        self.version = self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the {self.kind} side ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Job:
    """What one side does in an entry."""

    side: Side
    paths: list[Path]
    layout: str
    regions: list[list[int]] = field(default_factory=list)


def pillow_libjpeg(python: Path) -> Path | None:
    """The libjpeg of the same binary interface (62) that an environment's Pillow wheel brings."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    packages = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    return next(iter(sorted(Path(packages.strip()).glob("pillow.libs/libjpeg-*.so.62*"))), None)


def start_sides(peers_python: Path, folder: Path) -> dict[str, Side]:
    """Every decoder at hand, "yolofast" first, by the name of its library."""
    core, ours = max(os.sched_getaffinity(0)), Path(sys.executable)
    sides = {"yolofast": Side("yolofast", ours, core, {})}
    turbo = Side("turbo", ours, core, {})
    sides[f"libjpeg-turbo {turbo.version}"] = turbo
    library = pillow_libjpeg(peers_python) or pillow_libjpeg(ours)
    if library is not None:
        (folder / "libjpeg.so.62").symlink_to(library)
        newer = Side("turbo", ours, core, {"LD_LIBRARY_PATH": str(folder)})
        if newer.version == turbo.version:
            raise RuntimeError(
                f"{library} was not taken in the place of the system's libjpeg {turbo.version}"
            )
        sides[f"libjpeg-turbo {newer.version}"] = newer
    for kind, module in (("simplejpeg", "simplejpeg"), ("opencv", "cv2")):
        there = subprocess.run(
            [str(peers_python), "-c", f"import {module}"], capture_output=True, check=False
        )
        if there.returncode == 0:
            sides[kind] = Side(kind, peers_python, core, {})
        else:
            print(f"without {kind}: {peers_python} cannot import {module}")
    return sides


def largest_difference(one: Path, other: Path) -> int:
    """In levels, over all pixels of all files."""
    a, b = (np.memmap(path, np.uint8, "r") for path in (one, other))
    if len(a) != len(b):
        raise ValueError(f"{one.name}: {len(a)} bytes of pixels, {other.name}: {len(b)}")
    step = 1 << 24
    parts = (np.abs(a[i : i + step].astype(np.int16) - b[i : i + step]).max() for i in range(0, len(a), step))
    return int(max(parts))


def compare(
    what: str, jobs: dict[str, Job], rounds: int, folder: Path, *, same: bool = True
) -> dict[str, Any]:
    """Milliseconds a picture of each job, and how many times longer than "yolofast" the others take."""
    for i, (name, job) in enumerate(jobs.items()):
        regions = job.regions or None
        paths, pixels = [str(path) for path in job.paths], str(folder / f"{i}.pixels")
        job.side.ask(do="prepare", name=name, paths=paths, layout=job.layout, regions=regions, pixels=pixels)
        off = largest_difference(folder / "0.pixels", folder / f"{i}.pixels") if same else 0
        if off > MOST_DIFFERENCE:
            raise ValueError(f"{what}: the pixels of {name} are {off} levels off ours")
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            times[name].append(job.side.ask(do="time", name=name) * 1e3 / len(job.paths))
    ratio = {
        name: spread(np.array(times[name]) / np.array(times["yolofast"]))
        for name in jobs
        if name != "yolofast"
    }
    fastest = min(ratio, key=lambda name: ratio[name]["median"])
    entry: dict[str, Any] = {
        "what": what,
        "threads": 1,
        "files": len(jobs["yolofast"].paths),
        "file_bytes": sum(path.stat().st_size for path in jobs["yolofast"].paths),
        "rounds": rounds,
        "ms": {name: spread(each) for name, each in times.items()},
        "ratio": ratio,
        "fastest_peer": fastest,
    }
    said = ", ".join(f"{ratio[name]['median']:.2f}x {name}" for name in ratio)
    print(f"{what}: {entry['ms']['yolofast']['median']:.3f} ms, {said}", flush=True)
    return entry


def centre_quarters(paths: list[Path]) -> list[list[int]]:
    """Of each picture, half its width and half its height; on the chroma grid, whatever the sampling."""
    regions = []
    for path in paths:
        info = jpeg_info(path.read_bytes())
        x0, y0 = info.width // 4 // 4 * 4, info.height // 4 // 2 * 2
        regions.append([x0, y0, x0 + info.width // 2, y0 + info.height // 2])
    return regions


def rewritten(paths: list[Path], folder: Path) -> list[Path]:
    """The files with optimised tables and a restart marker for every row of blocks."""
    folder.mkdir()
    for path in paths:
        (folder / path.name).write_bytes(rewrite_jpeg(path.read_bytes(), restart_rows=1))
    return [folder / path.name for path in paths]


def measure(
    name: str, paths: list[Path], sides: dict[str, Side], rounds: int, folder: Path
) -> dict[str, Any]:
    """All entries of one set of files."""
    ours = sides["yolofast"]
    planar = {label: side for label, side in sides.items() if side.kind in ("yolofast", "turbo")}
    entries = {}
    for key, layout, group, layout_name in (
        ("planes", "ycc", planar, "planes"),
        ("rgb", "rgb", sides, "RGB"),
    ):
        jobs = {label: Job(side, paths, layout) for label, side in group.items()}
        entries[f"{name}_{key}"] = compare(f"{name} to {layout_name}", jobs, rounds, folder)
    again = rewritten(paths, folder / name)
    jobs = {"yolofast": Job(ours, again, "ycc"), "the original": Job(ours, paths, "ycc")}
    jobs |= {f"{label}, also rewritten": Job(s, again, "ycc") for label, s in planar.items() if s is not ours}
    entry = compare(f"{name}, rewritten with a restart a row, to planes", jobs, rounds, folder)
    entry["size_of_original"] = round(entry["file_bytes"] / sum(path.stat().st_size for path in paths), 4)
    entries[f"{name}_rewritten"] = entry
    jobs = {
        "yolofast": Job(ours, again, "ycc", centre_quarters(again)),
        "the whole of it": Job(ours, again, "ycc"),
        "the whole original": Job(ours, paths, "ycc"),
    }
    what = f"{name}, rewritten, the centre quarter to planes"
    entries[f"{name}_region"] = compare(what, jobs, rounds, folder, same=False)
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="the folder with coco128 and bccd_voc (YOLOFAST_DATA)")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where jpeg.json is written")
    arguments = parser.parse_args()
    data = arguments.data or Path(os.environ.get("YOLOFAST_DATA", HERE.parent.parent / "shared" / "data"))
    sets = {"coco128": data / "coco128" / "images" / "train2017", "bccd": data / "bccd_voc" / "JPEGImages"}
    entries: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as made:
        sides = start_sides(arguments.peers_python, Path(made))
        for name, source in sets.items():
            paths = sorted(source.glob("*.jpg"))
            if not paths:
                raise SystemExit(f"no *.jpg in {source}; name the data folder with --data")
            entries |= measure(name, paths, sides, arguments.rounds, Path(made))
        for side in sides.values():
            side.close()
    versions = {label: side.version for label, side in sides.items() if side.kind in ("simplejpeg", "opencv")}
    print(write_result("jpeg", entries, ("numpy", "yolofast"), versions, arguments.folder))


if __name__ == "__main__":
    main()
