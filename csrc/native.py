"""How csrc is compiled: the one list of sources and flags, and a compiler driver that knows headers.

`setup.py` builds the Cython modules and torch.ops.yolofast with it, the tests the fuzz programs and the host
emulation of CUDA, `make sanitize` and `make tsan` all programs under a sanitizer:

    python csrc/native.py programs --variant address     # build/native/address/programs/*

An object is compiled again when its command, its source or a header that it includes (`-MMD`) changed. All
objects are in build/native, so `setup.py build_ext --inplace` does not repeat what pip has built.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CSRC = Path(__file__).resolve().parent
REPOSITORY = CSRC.parent
BUILD = REPOSITORY / "build" / "native"
CXX = shlex.split(os.environ.get("CXX", "g++"))
ENVIRONMENT = [flag for name in ("CPPFLAGS", "CXXFLAGS") for flag in shlex.split(os.environ.get(name, ""))]
CORES = len(os.sched_getaffinity(0))

CORE = sorted(CSRC.glob("core/*/*.cpp"))
NVJPEG = sorted(CSRC.glob("nvjpeg/*.cpp"))  # no CUDA is needed: nvJPEG and the driver are found at run time
TORCH = sorted(CSRC.glob("torch/*.cpp"))  # a file per operator, compiled once for CPU and once for CUDA
CUDA = sorted(CSRC.glob("cuda/*.cu"))
FUZZ = CSRC / "fuzz"
CORE_NAME = "libyolofast_core.a"

# No contraction: float32 results equal the numpy definitions to the bit. No trapping math, no errno:
# only exception flags change, and without them GCC leaves the box and image loops scalar.
FLOATS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
COMMON = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", *FLOATS, "-Icsrc"]
CHECKED = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-DYOLOFAST_NO_MULTIVERSION"]
SANITIZERS = {
    "address": ["-fsanitize=address,undefined,float-cast-overflow"],
    "thread": ["-fsanitize=thread"],
}
VARIANTS = {
    "release": ["-O3", "-g0", "-DNDEBUG", "-fwrapv"],
    **{name: [*CHECKED, *flags] for name, flags in SANITIZERS.items()},
    # As on a CPU that has none of the instructions that are asked for at run time.
    "plain": [*CHECKED, *SANITIZERS["address"], "-D__builtin_cpu_supports(name)=0"],
}
LIBRARIES = ["-Wl,--as-needed", "-ljpeg", "-ldl"]
# The stable ABI as of torch 2.11: a library runs with that torch and every later one.
TORCH_MACROS = ["-DTORCH_TARGET_VERSION=0x020b000000000000"]
CUDA_MACROS = [*TORCH_MACROS, "-DUSE_CUDA", "-DYOLOFAST_TORCH_CUDA"]

_slots = threading.BoundedSemaphore(CORES)


class CompileError(Exception):
    """The compiler's message, behind the command."""


def run(command: Sequence[str]) -> str:
    """The output of a compiler or linker, run from the repository's root; one per core at a time.

    Raises `CompileError`.
    """
    with _slots:
        done = subprocess.run(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    if done.returncode != 0:
        raise CompileError(f"{shlex.join(command)}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """For one process at a time: tests that run side by side build the same things."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _short(path: Path) -> str:
    """A path below the repository relative to it, so that objects stay current in a copy of the tree."""
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def _is_current(target: Path, command: str) -> bool:
    """Whether `target` was made by this very command from what its dependency file lists."""
    try:
        if target.with_suffix(".command").read_text() != command:
            return False
        made = target.stat().st_mtime_ns
        _, _, listed = target.with_suffix(".d").read_text().partition(":")
        needed = [name for name in listed.replace("\\\n", " ").split() if name]
        return all((REPOSITORY / name).stat().st_mtime_ns <= made for name in needed)
    except OSError:
        return False


def compile_all(
    sources: Sequence[Path],
    folder: Path,
    flags: Sequence[str],
    compiler: Sequence[str] = (*CXX, *ENVIRONMENT),
) -> list[Path]:
    """Object files of the sources in `folder`, each with the output of the compiler (.txt).

    Warnings are printed, too.
    """

    def compile_one(source: Path) -> Path:
        name = _short(source)
        target = folder / f"{name.replace('/', '__')}.o"
        dependencies = ["-MMD", "-MF", _short(target.with_suffix(".d"))]
        command = [*compiler, *flags, *dependencies, "-c", name, "-o", _short(target)]
        if _is_current(target, shlex.join(command)):
            return target
        target.with_suffix(".command").unlink(missing_ok=True)
        said = run(command)
        target.with_suffix(".txt").write_text(said)
        if "warning" in said:
            print(said, file=sys.stderr, end="")
        target.with_suffix(".command").write_text(shlex.join(command))
        return target

    with _locked(folder), ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(compile_one, sources))


def link(objects: Sequence[Path], target: Path, flags: Sequence[str], linker: Sequence[str] = CXX) -> Path:
    """Links a program, or with -shared among `flags` a library, unless it is newer than its parts."""
    parts = [*linker, *map(_short, objects), *flags]
    command = shlex.join(parts)
    note = BUILD / "links" / f"{_short(target.resolve()).strip('/').replace('/', '__')}.command"
    if target.exists() and note.exists() and note.read_text() == command:
        made = target.stat().st_mtime_ns
        if all(part.stat().st_mtime_ns <= made for part in objects):
            return target
    target.parent.mkdir(parents=True, exist_ok=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    run([*parts, "-o", str(unfinished)])
    unfinished.replace(target)
    note.write_text(command)
    return target


def core_library(variant: str = "release") -> Path:
    """csrc/core as one static library; each module takes the parts that it calls."""
    folder = BUILD / variant
    library = folder / CORE_NAME
    with _locked(folder):
        objects = compile_all(CORE, folder / "core", [*COMMON, *VARIANTS[variant]])
        newest = max(each.stat().st_mtime_ns for each in objects)
        if not library.exists() or library.stat().st_mtime_ns < newest:
            library.unlink(missing_ok=True)
            run(["ar", "rcs", _short(library), *map(_short, objects)])
    return library


def programs(variant: str, names: Sequence[str] = ()) -> dict[str, Path]:
    """The programs of csrc/fuzz under a sanitizer, by name: fuzz targets and the stress program."""
    core = core_library(variant)
    folder = BUILD / variant
    wanted = [path for path in sorted(FUZZ.glob("*_*.cpp")) if not names or path.stem in names]
    sources = [FUZZ / "replay_main.cpp", *(path for path in wanted if path.stem != "replay_main")]
    replay, *objects = compile_all(sources, folder / "fuzz", [*COMMON, *VARIANTS[variant]])
    flags = [*VARIANTS[variant], *LIBRARIES, "-pthread"]
    made = {}
    for source, target in zip(sources[1:], objects, strict=True):
        parts = [target, replay, core] if source.stem.startswith("fuzz_") else [target, core]
        made[source.stem] = link(parts, folder / "programs" / source.stem, flags)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["programs"])
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="address")
    parser.add_argument("names", nargs="*", help="programs to build (default: all of csrc/fuzz)")
    arguments = parser.parse_args()
    for path in programs(arguments.variant, arguments.names).values():
        print(path)


if __name__ == "__main__":
    main()
