"""JPEG decoders compared on real files: ours, libjpeg-turbo of two versions, simplejpeg and OpenCV.

One thread each, files in memory, memory for the pixels reused (OpenCV's binding cannot). Before anything is
timed, all have to return the same pixels.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.bench.figures import OURS, compared_times
from yolofast.bench.process import Participant
from yolofast.bench.protocol import Participants, interleave
from yolofast.errors import DataError
from yolofast.kernels import jpeg_info, rewrite_jpeg
from yolofast.stopwatch import Report

MAX_DIFFERENCE = 0
"""Levels between the pixels of two decoders."""
PEERS = ("simplejpeg", "opencv")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JpegComparison:
    """What is compared: the JPEG files of each set, by its name."""

    sets: Mapping[str, list[Path]]
    peers_python: Path = Path(sys.executable)
    rounds: int = 11


@dataclass(frozen=True)
class _Decoding:
    """What one decoder does in an entry: `regions` of the files, or their whole images."""

    decoder: Participant
    paths: Sequence[Path]
    layout: str
    regions: Sequence[Sequence[int]] = ()


def compare_jpeg(work: JpegComparison, report: Report = _log.info) -> dict[str, Any]:
    """Milliseconds per image of every set, layout and decoder.

    Returns JSON values: `entries` (SET_WORK -> what, files, ms with median, p20 and p80, ratio decoder / ours
    over the rounds, fastest_peer), `versions` (of the peers' packages) and `left_out` (peer -> why). `report`
    gets a line on every entry as soon as it is measured.

    Raises `ConfigError` for a wrong interpreter, and `DataError` when ours fails or pixels differ.
    """
    entries: dict[str, Any] = {}
    with Participants(work.peers_python) as participants:
        decoders = _start(participants)
        for name, paths in work.sets.items():
            for key, entry in _entries(name, paths, decoders, work.rounds, participants.scratch):
                entries[key] = entry
                ratios = ", ".join(f"{r['median']:.2f}x {peer}" for peer, r in entry["ratio"].items())
                report(f"{entry['what']}: {entry['ms'][OURS]['median']:.3f} ms, {ratios}")
    versions = {name: each.hello["versions"][name] for name, each in decoders.items() if name in PEERS}
    return {"entries": entries, "versions": versions, "left_out": participants.left_out}


def _start(participants: Participants) -> dict[str, Participant]:
    """Every decoder there is, ours first, libjpeg-turbo by the version of its library.

    The planes of a newer libjpeg-turbo come from our own binding, with the library of Pillow's wheel in place
    of the system's.
    """
    participants.start(OURS, ".jpeg", {"decoder": OURS})
    variables: dict[str, dict[str, str]] = {"the system's libjpeg": {}}
    library = pillow_libjpeg(participants.peers_python) or pillow_libjpeg(Path(sys.executable))
    if library is not None:
        # Not in `scratch` itself, which is the working folder of all: cv2 leaves it in LD_LIBRARY_PATH.
        folder = participants.scratch / "libjpeg"
        folder.mkdir()
        (folder / "libjpeg.so.62").symlink_to(library)
        variables[str(library)] = {"LD_LIBRARY_PATH": str(folder)}
    for name, each in variables.items():
        participants.start(name, ".jpeg", {"decoder": "turbo"}, python=None, variables=each)
    for name in PEERS:
        participants.start(name, ".jpeg", {"decoder": name})
    decoders: dict[str, Participant] = {}
    for name, decoder in participants.present.items():
        label = f"libjpeg-turbo {decoder.hello['versions']['turbo']}" if name in variables else name
        if label in decoders:
            raise DataError(
                f"{name} is {label}, or was not loaded in place of the system's libjpeg of that version"
            )
        decoders[label] = decoder
    return decoders


def pillow_libjpeg(python: Path) -> Path | None:
    """The libjpeg with the system's binary interface (62) in an environment's Pillow wheel."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    packages = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    return next(iter(sorted(Path(packages.strip()).glob("pillow.libs/libjpeg-*.so.62*"))), None)


def _entries(
    name: str, paths: Sequence[Path], decoders: Mapping[str, Participant], rounds: int, scratch: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """All entries of one set of files: key and figures."""
    ours = decoders[OURS]
    planar = {label: each for label, each in decoders.items() if label not in PEERS}
    for key, layout, group, layout_name in (
        ("planes", "ycc", planar, "planes"),
        ("rgb", "rgb", decoders, "RGB"),
    ):
        work = {label: _Decoding(each, paths, layout) for label, each in group.items()}
        yield f"{name}_{key}", _compared(f"{name} to {layout_name}", work, rounds, scratch)
    rewritten = _rewritten(paths, scratch / name)
    work = {OURS: _Decoding(ours, rewritten, "ycc"), "the original": _Decoding(ours, paths, "ycc")}
    for label, each in planar.items():
        if each is not ours:
            work[f"{label}, also rewritten"] = _Decoding(each, rewritten, "ycc")
    entry = _compared(f"{name}, rewritten with a restart per row, to planes", work, rounds, scratch)
    entry["size_of_original"] = round(entry["file_bytes"] / sum(path.stat().st_size for path in paths), 4)
    yield f"{name}_rewritten", entry
    work = {
        OURS: _Decoding(ours, rewritten, "ycc", _centre_quarters(rewritten)),
        "the whole of it": _Decoding(ours, rewritten, "ycc"),
        "the whole original": _Decoding(ours, paths, "ycc"),
    }
    what = f"{name}, rewritten, the centre quarter to planes"
    yield f"{name}_region", _compared(what, work, rounds, scratch, same_pixels=False)


def _compared(
    what: str, work: Mapping[str, _Decoding], rounds: int, scratch: Path, *, same_pixels: bool = True
) -> dict[str, Any]:
    """Milliseconds per image of each decoding, and how many times as long as ours the others take."""
    for index, (name, each) in enumerate(work.items()):
        pixels = scratch / f"{index}.pixels"
        paths = [str(path) for path in each.paths]
        each.decoder.ask(
            "prepare", name=name, paths=paths, layout=each.layout, regions=each.regions, pixels=str(pixels)
        )
        off = largest_difference(scratch / "0.pixels", pixels) if same_pixels else 0
        if off > MAX_DIFFERENCE:
            raise DataError(f"{what}: the pixels of {name} differ from ours by {off} levels")

    def milliseconds(name: str) -> float:
        each = work[name]
        return float(each.decoder.ask("time", name=name)["seconds"]) * 1e3 / len(each.paths)

    times = interleave({name: partial(milliseconds, name) for name in work}, rounds)
    figures = compared_times(times)
    ours = work[OURS].paths
    return {
        "what": what,
        "threads": 1,
        "files": len(ours),
        "file_bytes": sum(path.stat().st_size for path in ours),
        "rounds": rounds,
        **figures,
        "fastest_peer": min(figures["ratio"], key=lambda name: figures["ratio"][name]["median"]),
    }


def largest_difference(one: Path, other: Path) -> int:
    """Between two files of pixels, in levels. Raises `DataError` when their sizes differ."""
    a, b = (np.memmap(path, np.uint8, "r") for path in (one, other))
    if len(a) != len(b):
        raise DataError(f"{one.name}: {len(a)} bytes of pixels, {other.name}: {len(b)}")
    step = 1 << 24
    parts = (np.abs(a[i : i + step].astype(np.int16) - b[i : i + step]).max() for i in range(0, len(a), step))
    return int(max(parts))


def _centre_quarters(paths: Sequence[Path]) -> list[list[int]]:
    """The centre quarter of each image, x0, y0, x1, y1, on the chroma grid of any subsampling."""
    regions = []
    for path in paths:
        info = jpeg_info(path.read_bytes())
        x0, y0 = info.width // 4 // 4 * 4, info.height // 4 // 2 * 2
        regions.append([x0, y0, x0 + info.width // 2, y0 + info.height // 2])
    return regions


def _rewritten(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The files with optimised tables and a restart marker after every row of blocks."""
    folder.mkdir()
    for path in paths:
        (folder / path.name).write_bytes(rewrite_jpeg(path.read_bytes(), restart_rows=1))
    return [folder / path.name for path in paths]
