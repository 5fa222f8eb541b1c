"""The hostile JPEG archives through both decoders: the same verdict, the same pixels, each within a second.

What libjpeg-turbo and Pillow make of these files is in test_hostile_jpeg.py. They are decoded in a process
apart, so that a crash is the failure of one named file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from support.jpeg_outcomes import LAYOUTS, outcome, place_of_error

from yolofast.errors import ImageError
from yolofast.kernels import jpeg_info

pytestmark = pytest.mark.deep

MAX_SECONDS = 1.0
MAX_MEMORY = 1 << 20  # KiB, of the process that decodes them all

WAYS: list[dict[str, Any]] = [
    *({"layout": layout, "salvage": salvage} for layout in LAYOUTS for salvage in (False, True)),
    {"layout": "rgb", "min_size": (20, 20), "salvage": True},
    {"layout": "ycc", "min_size": 50, "salvage": True},
]


def examine(path: Path) -> dict[str, Any]:
    """Where the decoders differ, how long the slowest decode took, whether our own decoder tried the file."""
    data = path.read_bytes()
    facts: dict[str, Any] = {"differ": [], "seconds": 0.0, "taken": 0}
    for way in WAYS:
        made = []
        for decoder in ("auto", "turbo"):
            start = time.perf_counter()
            made.append(outcome(data, decoder, **way))
            facts["seconds"] = max(facts["seconds"], time.perf_counter() - start)
        if made[0] != made[1]:
            facts["differ"].append([str(way), *(str(each[:2]) for each in made)])
        facts["taken"] += made[0].error is None
    facts["region"] = examine_region(data)
    facts["own"] = place_of_error(data) is not None
    return facts


def examine_region(data: bytes) -> str | None:
    """How the decoders differ over a part of the picture; None where they do not."""
    try:
        height, width = jpeg_info(data).shape
    except ImageError:
        return None
    low, high = zlib.crc32(data) % (1 << 16) / (1 << 17), 0.5 + zlib.adler32(data) % (1 << 16) / (1 << 17)
    region = (int(low * width), int(low * height), max(1, int(high * width)), max(1, int(high * height)))
    own, turbo = (outcome(data, decoder, region=region) for decoder in ("auto", "turbo"))
    if own.error is None and turbo.error is not None:  # damage that our own decoder has not read
        turbo = outcome(data, "turbo", region=region, salvage=True)._replace(lost=None)
    return None if own == turbo else f"{region}: {own[:2]} {turbo[:2]}"


def peak_memory() -> int:
    """KiB that this process held at most. Not ru_maxrss: that begins with what the parent held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    """Name each file that standard input lists, then say what `examine` finds; last, the memory used."""
    for line in sys.stdin:
        print(line, end="", flush=True)
        print(json.dumps(examine(Path(line.rstrip("\n")))), flush=True)
    print(peak_memory())


@pytest.fixture(scope="module")
def examined(hostile_files: list[Path]) -> tuple[dict[str, dict[str, Any]], int]:
    """What was found of each file, and the most memory that was used, in KiB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("YOLOFAST_JPEG", None)
    text = "".join(f"{path}\n" for path in hostile_files)
    done = subprocess.run(
        [sys.executable, __file__],
        input=text,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"ended with {done.returncode} at {lines[-1:]}: {done.stderr[-2000:]}"
    assert lines[0:-1:2] == [str(path) for path in hostile_files]
    names = [path.name for path in hostile_files]
    return dict(zip(names, map(json.loads, lines[1:-1:2]), strict=True)), int(lines[-1])


@pytest.mark.parametrize("key", ["differ", "region"])
def test_both_decoders_make_the_same_of_each_file(
    examined: tuple[dict[str, dict[str, Any]], int], key: str
) -> None:
    assert {name: facts[key] for name, facts in examined[0].items() if facts[key]} == {}


def test_our_own_decoder_is_tried(examined: tuple[dict[str, dict[str, Any]], int]) -> None:
    """Else the comparison says nothing. A file counts when our own decoder is who names the damaged byte."""
    assert sum(facts["own"] for facts in examined[0].values()) > 50
    assert sum(facts["taken"] > 0 for facts in examined[0].values()) > 900


def test_no_file_takes_long_or_much_memory(examined: tuple[dict[str, dict[str, Any]], int]) -> None:
    facts, memory = examined
    slow = {name: each["seconds"] for name, each in facts.items() if each["seconds"] > MAX_SECONDS}
    assert slow == {}
    assert memory < MAX_MEMORY


if __name__ == "__main__":
    main()
