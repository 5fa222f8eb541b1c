"""Building the fuzz targets of csrc/fuzz with sanitizers, as programs that are fed files."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CORE, FUZZ = REPOSITORY / "csrc" / "core", REPOSITORY / "csrc" / "fuzz"
FLAGS = ["-std=c++20", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS += ["-ffp-contract=off", "-DYOLOFAST_NO_MULTIVERSION", f"-I{CORE}"]


def need_compiler() -> None:
    """Skips the test where there is nothing to build with, or nothing to build."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    if not FUZZ.is_dir():
        pytest.skip("no sources here (an installed package)")


def compile_apart(folder: Path, sources: list[Path], *flags: str) -> list[Path]:
    """Object files of the sources, compiled at once."""
    folder.mkdir()

    def compile_one(source: Path) -> Path:
        made = folder / f"{source.stem}.o"
        command = ["g++", *FLAGS, *flags, "-c", str(source), "-o", str(made)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        return made

    with ThreadPoolExecutor() as pool:
        return list(pool.map(compile_one, sources))


def link(program: Path, objects: list[Path]) -> Path:
    command = ["g++", *FLAGS, *map(str, objects), "-ljpeg", "-o", str(program)]
    linked = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find -lasan" in linked.stderr or "cannot find -lubsan" in linked.stderr:
        pytest.skip("g++ has no sanitizer libraries here")
    assert linked.returncode == 0, linked.stderr
    return program
