"""How csrc is compiled: the one list of sources and flags, and a compiler driver that knows headers.

`setup.py` builds the Cython modules and torch.ops.yolofast with it, the tests the fuzz programs and the host
emulation of CUDA, `make sanitize` and `make tsan` all programs under a sanitizer, `make fuzz` a fuzz target
with libFuzzer:

    python csrc/native.py programs --variant address     # build/native/address/programs/*

An object is compiled again when its command, its source or a header that it includes (`-MMD`) changed. All
objects are in build/native, so `setup.py build_ext --inplace` does not repeat what pip has built.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

CSRC = Path(__file__).resolve().parent
REPOSITORY = CSRC.parent
BUILD = REPOSITORY / "build" / "native"
CXX = shlex.split(os.environ.get("CXX", "g++"))
CPPFLAGS, CXXFLAGS, LDFLAGS = (
    shlex.split(os.environ.get(name, "")) for name in ("CPPFLAGS", "CXXFLAGS", "LDFLAGS")
)
CORES = len(os.sched_getaffinity(0))

CORE = sorted(CSRC.glob("core/*/*.cpp"))
NVJPEG = sorted(CSRC.glob("nvjpeg/*.cpp"))  # no CUDA is needed: nvJPEG and the driver are found at run time
TORCH = sorted(CSRC.glob("torch/*.cpp"))  # a file per operator, compiled once for CPU and once for CUDA
CUDA = sorted(CSRC.glob("cuda/*.cu"))
FUZZ = CSRC / "fuzz"
CORE_NAME = "libyolofast_core.a"
OUTPUT = "OUTPUT"

# No contraction: float32 results equal the numpy definitions to the bit. No trapping math, no errno:
# only exception flags change, and without them GCC leaves the box and image loops scalar.
FLOATS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
COMMON = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", *FLOATS, "-Icsrc"]
CHECKED = ["-O1", "-g1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-DYOLOFAST_NO_MULTIVERSION"]
SANITIZERS = {
    "address": ["-fsanitize=address,undefined,float-cast-overflow"],
    "thread": ["-fsanitize=thread"],
}
VARIANTS = {
    "release": ["-O3", "-g0", "-DNDEBUG", "-fwrapv"],
    **{name: [*CHECKED, *flags] for name, flags in SANITIZERS.items()},
    # libFuzzer, which is clang's: see `compiler`.
    "fuzzer": [
        *(*CHECKED, "-O2", "-Wno-deprecated-declarations"),  # the warning is about headers of g++
        "-fsanitize=fuzzer-no-link,address,undefined,float-cast-overflow",
    ],
    # As on a CPU that has none of the instructions that are asked for at run time.
    "plain": [*CHECKED, *SANITIZERS["address"], "-D__builtin_cpu_supports(name)=0"],
}
LIBRARIES = ["-Wl,--as-needed", *LDFLAGS, "-ljpeg", "-ldl"]
# The stable ABI as of torch 2.11: a library runs with that torch and every later one.
TORCH_MACROS = ["-DTORCH_TARGET_VERSION=0x020b000000000000"]
CUDA_MACROS = [*TORCH_MACROS, "-DUSE_CUDA", "-DYOLOFAST_TORCH_CUDA"]

_slots = threading.BoundedSemaphore(CORES)
_first_compilation = threading.Lock()  # is acquired once and for all


class CompileError(Exception):
    """The compiler's message, behind the command."""


def compiler(variant: str) -> list[str]:
    """The C++ compiler for a variant.

    Raises `CompileError` where libFuzzer is asked for and there is no clang.
    """
    if variant != "fuzzer":
        return CXX
    names = ["clang++", *(f"clang++-{version}" for version in range(30, 13, -1))]
    found = next((path for path in map(shutil.which, names) if path is not None), None)
    if found is None:
        raise CompileError(
            "libFuzzer is a part of clang, and no clang++ is here. On Debian and Ubuntu: "
            "sudo apt-get install -y clang"
        )
    return [found]


def _with_flags(variant: str) -> list[str]:
    return [*compiler(variant), *CPPFLAGS, *CXXFLAGS]


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
def locked(folder: Path) -> Iterator[None]:
    """For one process at a time: builds and tests that run side by side make the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Need(NamedTuple):
    """Something that a build needs: code that only compiles with it, what it is, and Debian's package."""

    code: str
    what: str
    package: str


PYTHON_H = Path(sysconfig.get_path("include"), "Python.h")
NEEDS = (
    Need("#include <concepts>", "a compiler for C++20", "g++"),
    Need("#include <cstdio>\n#include <jpeglib.h>", "the header of libjpeg-turbo, jpeglib.h,", "libjpeg-dev"),
    Need(f'#include "{PYTHON_H}"', f"the header of {sys.executable}, {PYTHON_H},", "python3-dev"),
)


def check_toolchain() -> None:
    """Compile a few lines, so that what is missing is one line and not a page of compiler errors.

    Raises `CompileError`.
    """
    command = [*CXX, *CPPFLAGS, *CXXFLAGS, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"]
    for code, what, package in NEEDS:
        try:
            done = subprocess.run(command, input=code, capture_output=True, text=True)
            reason = next((line for line in done.stderr.splitlines() if "error" in line), "")
            failed = done.returncode != 0
        except OSError as error:
            failed, reason = True, f"{error.filename}: {error.strerror}"
        if failed:
            raise CompileError(
                f"yolofast cannot be built: {what} is missing ({reason or shlex.join(CXX)}). "
                f"On Debian and Ubuntu: sudo apt-get install -y {package}"
            )


def _short(path: Path) -> str:
    """A path below the repository relative to it, so that objects stay up to date in a copy of the tree."""
    return str(path.relative_to(REPOSITORY)) if path.is_relative_to(REPOSITORY) else str(path)


def _is_up_to_date(target: Path, command: str) -> bool:
    """Whether `target` was made by this very command from what its dependency file lists."""
    try:
        if target.with_suffix(".command").read_text() != command:
            return False
        made = target.stat().st_mtime_ns
        _, _, listed = target.with_suffix(".d").read_text().partition(":")
        needed = re.findall(r"(?:\\ |\S)+", listed.replace("\\\n", " "))  # a space in a name is escaped
        paths = [REPOSITORY / name.replace("\\ ", " ") for name in needed]
        return all(path.stat().st_mtime_ns <= made for path in paths)
    except OSError:
        return False


def compile_all(
    sources: Sequence[Path],
    folder: Path,
    flags: Sequence[str],
    compiler: Sequence[str] = (*CXX, *CPPFLAGS, *CXXFLAGS),
) -> list[Path]:
    """Object files of the sources in `folder`, each with the output of the compiler (.txt).

    Warnings are printed, too.
    """

    def compile_one(source: Path) -> Path:
        name = _short(source)
        target = folder / f"{name.replace('/', '__')}.o"
        dependencies = ["-MMD", "-MF", _short(target.with_suffix(".d"))]
        command = [*compiler, *flags, *dependencies, "-c", name, "-o", _short(target)]
        if _is_up_to_date(target, shlex.join(command)):
            return target
        target.with_suffix(".command").unlink(missing_ok=True)
        if _first_compilation.acquire(blocking=False):
            print("compiling: about a minute if everything is new", file=sys.stderr, flush=True)
        output = run(command)
        target.with_suffix(".txt").write_text(output)
        if "warning" in output:
            print(output, file=sys.stderr, end="")
        target.with_suffix(".command").write_text(shlex.join(command))
        return target

    with locked(folder), ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(compile_one, sources))


def _combine(objects: Sequence[Path], target: Path, command: Sequence[str]) -> Path:
    """Runs a command that makes `target`, for which OUTPUT stands, unless it has and no object is newer."""
    note = BUILD / "links" / f"{_short(target.resolve()).strip('/').replace('/', '__')}.command"
    text = shlex.join(command)
    if target.exists() and note.exists() and note.read_text() == text:
        made = target.stat().st_mtime_ns
        if all(part.stat().st_mtime_ns <= made for part in objects):
            return target
    target.parent.mkdir(parents=True, exist_ok=True)
    note.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    run([str(unfinished) if part == OUTPUT else part for part in command])
    unfinished.replace(target)
    note.write_text(text)
    return target


def link(objects: Sequence[Path], target: Path, flags: Sequence[str], linker: Sequence[str] = CXX) -> Path:
    """Links a program, or with -shared among `flags` a library."""
    return _combine(objects, target, [*linker, *map(_short, objects), *flags, "-o", OUTPUT])


def core_library(variant: str = "release") -> Path:
    """csrc/core as one static library; each module takes the parts that it calls."""
    folder = BUILD / variant
    library = folder / CORE_NAME
    with locked(folder):
        objects = compile_all(CORE, folder / "core", [*COMMON, *VARIANTS[variant]], _with_flags(variant))
        return _combine(objects, library, ["ar", "rcs", OUTPUT, *map(_short, objects)])


def programs(variant: str, names: Sequence[str] = ()) -> dict[str, Path]:
    """The programs of csrc/fuzz under a sanitizer, by name: fuzz targets and the stress program.

    A target replays files; in the variant "fuzzer" it searches for new ones, and there is no stress program.

    Raises `ValueError` for a name that none of them has.
    """
    known = {path.stem: path for path in sorted(FUZZ.glob("*_*.cpp"))}
    replay_source = known.pop("replay_main")
    searches = variant == "fuzzer"
    if searches:
        known = {name: path for name, path in known.items() if name.startswith("fuzz_")}
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"no program is called {unknown[0]}; expected some of {', '.join(known)}")
    core = core_library(variant)
    folder = BUILD / variant
    wanted = {name: path for name, path in known.items() if not names or name in names}
    sources = [replay_source, *wanted.values()]
    flags = [*COMMON, *VARIANTS[variant]]
    replay, *objects = compile_all(sources, folder / "fuzz", flags, _with_flags(variant))
    flags = [*VARIANTS[variant], *(["-fsanitize=fuzzer"] if searches else []), *LIBRARIES, "-pthread"]
    made = {}
    for name, target in zip(wanted, objects, strict=True):
        parts = [target, replay, core] if name.startswith("fuzz_") and not searches else [target, core]
        made[name] = link(parts, folder / "programs" / name, flags, compiler(variant))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["programs"])
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="address")
    parser.add_argument("names", nargs="*", help="programs to build (default: all of csrc/fuzz)")
    arguments = parser.parse_intermixed_args()
    try:
        made = programs(arguments.variant, arguments.names)
    except (CompileError, ValueError) as error:
        raise SystemExit(str(error)) from None
    for path in made.values():
        print(path)


if __name__ == "__main__":
    main()
