"""nvjpeg_double.cpp, compiled: a library that stands for nvJPEG and the CUDA driver where there is no GPU."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("nvjpeg_double.cpp")
API = REPOSITORY / "csrc" / "nvjpeg" / "api.hpp"
FLAGS = ["-std=c++20", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]


def build_double(*macros: str) -> Path:
    """The library's file for some of the macros that the source names; built anew when a source is newer."""
    name = "_".join(["nvjpeg", *(macro.replace("=", "") for macro in macros)]).lower()
    library = REPOSITORY / "build" / "nvjpeg" / f"{name}.so"
    newest = max(path.stat().st_mtime for path in (SOURCE, API, Path(__file__)))
    if library.exists() and library.stat().st_mtime > newest:
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        finished = Path(folder, library.name)
        defines = [f"-D{macro}" for macro in macros]
        command = ["g++", *FLAGS, *defines, f"-I{API.parents[1]}", str(SOURCE), "-ljpeg", "-o", str(finished)]
        subprocess.run(command, check=True)
        finished.replace(library)
    return library
