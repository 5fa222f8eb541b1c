"""csrc/cuda compiled for the host by csrc/emulation, as torch.ops.yolofast_emulated: no GPU is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CSRC = REPOSITORY / "csrc"
FLAGS = ["-std=c++20", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]  # "unroll" is nvcc's
SANITIZE = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
SHARED_MEMORY = [f"-Wl,-T,{CSRC / 'emulation/shared_memory.ld'}"]
DEFINES = ["-DYOLOFAST_EMULATED", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020b000000000000"]


def build_emulated_library() -> Path:
    """The library's file, built anew when a source of it is newer."""
    sanitized = os.environ.get("YOLOFAST_SANITIZE") == "1"
    name = "emulated_sanitized.so" if sanitized else "emulated.so"
    library = REPOSITORY / "build" / "emulation" / name
    sources = [
        *sorted((CSRC / "cuda").glob("*.cu")),
        CSRC / "emulation/emulation.cpp",
        *(path for path in sorted((CSRC / "torch").glob("*.cpp")) if not path.name.startswith("cpu")),
    ]
    newest = max(path.stat().st_mtime for path in CSRC.rglob("*") if path.is_file())
    if library.exists() and library.stat().st_mtime > newest:
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    import torch

    root = Path(torch.__file__).parent
    flags = [*FLAGS, *WARNINGS, *DEFINES, f"-I{CSRC / 'emulation'}", "-isystem", str(root / "include")]
    flags += SANITIZE if sanitized else []
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        objects = [str(Path(folder, f"{source.name}.o")) for source in sources]
        commands = [
            ["g++", *flags, "-x", "c++", "-c", str(source), "-o", target]
            for source, target in zip(sources, objects, strict=True)
        ]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, commands))
        link = [
            *(SANITIZE if sanitized else []),
            *objects,
            f"-L{root / 'lib'}",
            "-ltorch_cpu",
            *SHARED_MEMORY,
        ]
        finished = Path(folder, name)
        run(["g++", "-shared", *link, "-o", str(finished)])
        finished.replace(library)
    return library


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
