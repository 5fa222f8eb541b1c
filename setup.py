"""Builds the Cython kernels over csrc/core (C++20, libjpeg), which need no torch; and, where a torch that is
new enough is installed, csrc/torch beside them. `csrc/native.py` compiles; this file says what.

`YOLOFAST_SANITIZE=1` builds with ASan and UBSan instead (see CONTRIBUTING.md). `YOLOFAST_CUDA` says whether
csrc/cuda is built: `auto` (where nvcc is; no GPU is needed), `0` (never) or `1` (or fail).
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "csrc"))
import native

VARIANT = "address" if os.environ.get("YOLOFAST_SANITIZE") == "1" else "release"
FLAGS = [*native.COMMON, *native.VARIANTS[VARIANT]]
LINK = ["-shared", *native.SANITIZERS.get(VARIANT, []), *native.LIBRARIES]
PYTHON = [f"-I{sysconfig.get_path('include')}", f"-I{np.get_include()}"]
# No warnings about Cython's conversions that nobody calls. The bindings only check and pass on, so -O2 is
# enough for them: it halves a build's longest part, and what takes time is in csrc/core.
CYTHON = [*PYTHON, "-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION", "-Wno-unused-function"]
if VARIANT == "release":
    CYTHON.append("-O2")

extensions = [
    Extension(".".join(path.with_suffix("").parts), [str(path)], language="c++")
    for path in sorted(Path("yolofast").rglob("_*.pyx"))
]


def find_torch() -> Path | str:
    """The folder of a torch >= 2.11, else why there is none. Found, not imported: that takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "torch is not installed"
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 11):
        return f"torch {version} is here, torch.ops.yolofast needs 2.11"
    return Path(spec.origin).parent


def relative(paths: Sequence[Path]) -> list[str]:
    """Sources as setuptools wants them in a source distribution: from this folder on."""
    return [str(path.relative_to(native.REPOSITORY)) for path in paths]


class TorchExtension(Extension):
    """torch.ops.yolofast.* on CPU: a library for torch.ops.load_library, no Python module."""

    def __init__(self, torch: Path) -> None:
        super().__init__("yolofast.kernels._torch_ops", relative(native.TORCH))
        self.torch = torch


# Compute capabilities with machine code of their own; what comes later takes the PTX of the last.
CUDA_ARCHITECTURES = ("75", "80", "86", "89", "90")
# No contraction, so that results equal the CPU's. ptxas says what each kernel uses: build/cuda/*.txt.
CUDA_COMPILE = ["-std=c++20", "-O3", "--fmad=false", "--expt-relaxed-constexpr", "-Xptxas", "-v"]
CUDA_HOST = "-fPIC,-fvisibility=hidden,-Wall,-Wextra,-ffp-contract=off"
OLDEST_NVCC = 12  # the first that knows C++20
CUDA_HEADERS = ("cuda_runtime.h", "cub/device/device_radix_sort.cuh")


def find_nvcc() -> str | None:
    """The compiler of CUDA_HOME, else the one on PATH."""
    home = os.environ.get("CUDA_HOME")
    inside = shutil.which("nvcc", path=str(Path(home, "bin"))) if home else None
    return inside or shutil.which("nvcc")


def why_no_cuda(torch: Path | str, nvcc: str | None) -> str | None:
    if isinstance(torch, str):
        return torch
    if nvcc is None:
        return "nvcc is neither in CUDA_HOME/bin nor on PATH"
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.", version)
    if release is None or int(release[1]) < OLDEST_NVCC:
        return f"{nvcc} is older than CUDA {OLDEST_NVCC} or says no version"
    with tempfile.TemporaryDirectory() as folder:  # parts of a toolkit are packages of their own
        source = Path(folder, "headers.cu")
        source.write_text("".join(f"#include <{header}>\n" for header in CUDA_HEADERS))
        command = [nvcc, "-std=c++20", "-M", str(source)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or ["it does not say why"]
        why = next((line for line in lines if "error" in line or "fatal" in line), lines[0])
        return f"{nvcc} cannot read {' and '.join(CUDA_HEADERS)} ({why.strip()})"
    return None


class CudaExtension(Extension):
    """torch.ops.yolofast.* on CUDA tensors. nvcc compiles and links it: it knows where its own parts are."""

    def __init__(self, torch: Path, nvcc: str) -> None:
        super().__init__("yolofast.kernels._torch_ops_cuda", relative([*native.CUDA, *native.TORCH]))
        self.torch = torch
        self.nvcc = nvcc

    def build(self, target: Path) -> None:
        folder = native.REPOSITORY / "build" / "cuda"
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in CUDA_ARCHITECTURES]
        codes.append("-gencode=arch=compute_{0},code=compute_{0}".format(CUDA_ARCHITECTURES[-1]))
        torch = [*native.CUDA_MACROS, "-isystem", str(self.torch / "include")]
        flags = [*CUDA_COMPILE, "-Xcompiler", CUDA_HOST, "-Icsrc", *codes, *torch]
        sources = [native.REPOSITORY / source for source in self.sources]
        objects = native.compile_all(sources, folder, flags, [self.nvcc])
        libraries = [f"-L{self.torch / 'lib'}"]
        if not (self.torch / "lib" / "libtorch_cuda.so").exists():
            self.build_empty(folder / "libtorch_cuda.so")
            libraries.append(f"-L{folder}")
        options = ["-shared", "-cudart", "static", "-Xlinker", "--no-as-needed,--exclude-libs,ALL"]
        native.link(objects, target, [*options, *libraries, "-ltorch_cpu", "-ltorch_cuda"], [self.nvcc])

    def build_empty(self, target: Path) -> None:
        """Streams come from libtorch_cuda, which a torch for CPUs lacks. Linking with an empty library of
        that name makes ours ask for the real one where it runs."""
        source = target.with_suffix(".cpp")
        source.write_text("")
        flags = f"-shared -cudart none -Xlinker -soname={target.name}".split()
        native.run([self.nvcc, *flags, str(source), "-o", str(target)])


def torch_extensions() -> list[Extension]:
    """torch.ops.yolofast.* on CPU where torch is new enough, on CUDA tensors where nvcc is there too."""
    torch, nvcc = find_torch(), find_nvcc()
    wanted = os.environ.get("YOLOFAST_CUDA", "auto")
    if wanted not in ("auto", "0", "1"):
        raise SystemExit(f"YOLOFAST_CUDA is {wanted!r}; expected auto, 0 or 1")
    reason = why_no_cuda(torch, nvcc) if wanted != "0" else None
    if wanted == "1" and reason:
        raise SystemExit(f"YOLOFAST_CUDA=1, but {reason}: install what is missing, or set YOLOFAST_CUDA=0")
    if isinstance(torch, str):
        print(f"{torch}: torch.ops.yolofast is left out")
        return []
    extensions: list[Extension] = [TorchExtension(torch)]
    if reason:
        print(f"{reason}: torch.ops.yolofast is built without CUDA")
    elif wanted != "0" and nvcc:
        extensions.append(CudaExtension(torch, nvcc))
    return extensions


BUILDS = {"build", "build_ext", "install", "develop", "bdist_wheel", "editable_wheel"}
"""Commands that compile."""


class BuildExtensions(build_ext):
    """Compiles and links by `native`, which keeps its objects in build/native whoever asks for them."""

    def build_extensions(self) -> None:
        try:
            native.core_library(VARIANT)
            with ThreadPoolExecutor(len(self.extensions)) as pool:  # `native` limits what runs at a time
                list(pool.map(self.build_extension, self.extensions))
        except native.CompileError as error:
            raise SystemExit(str(error)) from None

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        if isinstance(ext, CudaExtension):
            ext.build(target)
            return
        flags, link = [*FLAGS], [*LINK]
        sources = [native.REPOSITORY / source for source in ext.sources]
        if isinstance(ext, TorchExtension):
            flags += [*native.TORCH_MACROS, "-isystem", str(ext.torch / "include")]
            link += [f"-L{ext.torch / 'lib'}", "-ltorch_cpu"]
        else:
            flags += CYTHON
        if ext.name.endswith("._nvjpeg"):
            sources += native.NVJPEG
        objects = native.compile_all(sources, native.BUILD / VARIANT / ext.name, flags)
        native.link([*objects, native.BUILD / VARIANT / native.CORE_NAME], target, link)


if BUILDS & set(sys.argv):  # before Cython takes its time
    try:
        native.check_toolchain()
    except native.CompileError as error:
        raise SystemExit(str(error)) from None

with native.locked(native.BUILD):  # Cython writes next to its sources, whoever else builds here
    setup(
        cmdclass={"build_ext": BuildExtensions},
        ext_modules=torch_extensions()
        + cythonize(
            extensions,
            nthreads=native.CORES,
            language_level=3,
            compiler_directives={
                "boundscheck": False,
                "wraparound": False,
                "cdivision": True,
                "embedsignature": True,
            },
        ),
    )
