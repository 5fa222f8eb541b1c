"""Builds the Cython kernels over csrc/core (C++20, libjpeg), which need no torch; and, where a torch that is
new enough is installed, csrc/torch beside them.

`YOLOFAST_SANITIZE=1` builds with ASan and UBSan instead (see CONTRIBUTING.md). `YOLOFAST_CUDA` says whether
csrc/cuda is built: `auto` (where nvcc is; no GPU is needed), `0` (never) or `1` (or fail).
"""

import copy
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.modified import newer_group

CORE = Path("csrc/core")

# No contraction: float32 results equal the numpy definitions to the bit. No trapping math, no errno:
# only exception flags change, and without them GCC leaves the box and image loops scalar.
FLOATS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
# Python's own flags ask for debug information: a third of the time to build, and seven eighths of the size.
COMPILE = ["-std=c++20", "-O3", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra", *FLOATS]
LINK: list[str] = []
if os.environ.get("YOLOFAST_SANITIZE") == "1":
    sanitizers = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
    COMPILE += [*sanitizers, "-DYOLOFAST_NO_MULTIVERSION"]
    LINK += sanitizers

JPEG = sorted(f"jpeg/{path.name}" for path in CORE.glob("jpeg/*.cpp"))
COCO = [f"coco/{name}.cpp" for name in ("match", "ranking", "accumulate", "confidence")]
SCAN = ["file_scan.cpp", "image_header.cpp", "tiff_header.cpp", "labels.cpp", "jpeg/header.cpp"]
# Paths from csrc/core. No CUDA is needed to build them: nvJPEG and the driver are found at run time.
NVJPEG = [f"../cuda/{name}.cpp" for name in ("nvjpeg", "nvjpeg_api", "nvjpeg_memory")]
RENDER = sorted(path.name for path in CORE.glob("render*.cpp"))

# extension module -> (csrc/core sources, libraries)
MODULES: dict[str, tuple[list[str], list[str]]] = {
    "kernels._jpeg": (JPEG, ["jpeg"]),
    "kernels._image": (["image.cpp"], []),
    "kernels._annotations": (["coco/annotations.cpp", "coco/label_file.cpp", "coco/json.cpp"], []),
    "kernels._box_transforms": (["box_transforms.cpp"], []),
    "kernels._boxes": (["boxes.cpp"], []),
    "kernels._coco": (COCO, []),
    "kernels._nms": (["nms.cpp", "soft_nms.cpp", "postprocess.cpp"], []),
    "kernels._labels": (["labels.cpp"], []),
    "kernels._render": (RENDER, []),
    "kernels._scan": (SCAN, []),
    "kernels._nvjpeg": (["picture.cpp", *NVJPEG, *JPEG], ["jpeg", "dl"]),
    "load._engine": (["engine.cpp", "picture.cpp", "staging.cpp", *RENDER, *JPEG], ["jpeg"]),
}

extensions = [
    Extension(
        f"yolofast.{name}",
        sources=[f"yolofast/{name.replace('.', '/')}.pyx", *(str(CORE / s) for s in sources)],
        include_dirs=[str(CORE), "csrc/cuda", np.get_include()],
        depends=["setup.py", *map(str, [*CORE.rglob("*.hpp"), *Path("csrc/cuda").glob("nvjpeg*.hpp")])],
        libraries=libraries,
        extra_compile_args=[*COMPILE, "-Wno-unused-function"],  # Cython's conversions that nobody calls
        extra_link_args=LINK,
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        language="c++",
    )
    for name, (sources, libraries) in MODULES.items()
]

TORCH_SOURCES = [
    "boxes.cpp",
    "box_transforms.cpp",
    "coco/match.cpp",
    "image.cpp",
    "nms.cpp",
    "postprocess.cpp",
    "soft_nms.cpp",
    *RENDER,
]
# The stable ABI as of torch 2.11: a library runs with that torch and every later one.
STABLE_ABI = ("TORCH_TARGET_VERSION", "0x020b000000000000")


# What csrc/torch has for CPU and CUDA alike.
ON_BOTH_DEVICES = ("checks", "images_out", "letterbox_arguments", "render_arguments")


def find_torch() -> Path | str:
    """The folder of a torch >= 2.11, else why there is none. Found, not imported: that takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "torch is not installed"
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 11):
        return f"torch {version} is here, torch.ops.yolofast needs 2.11"
    return Path(spec.origin).parent


def torch_extension(torch: Path) -> Extension:
    """torch.ops.yolofast.* on CPU: a library for torch.ops.load_library, no Python module."""
    sources = sorted(path for path in Path("csrc/torch").glob("*.cpp") if not path.name.startswith("cuda"))
    return Extension(
        "yolofast.kernels._torch_ops",
        sources=[*map(str, sources), *(str(CORE / source) for source in TORCH_SOURCES)],
        depends=["setup.py", *map(str, [*CORE.rglob("*.hpp"), *Path("csrc/torch").glob("*.hpp")])],
        library_dirs=[str(torch / "lib")],
        libraries=["torch_cpu"],
        extra_compile_args=[*COMPILE, "-isystem", str(torch / "include")],
        extra_link_args=LINK,
        define_macros=[STABLE_ABI],
        language="c++",
    )


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
    said = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.", said)
    if release is None or int(release[1]) < OLDEST_NVCC:
        return f"{nvcc} is older than CUDA {OLDEST_NVCC} or says no version"
    with tempfile.TemporaryDirectory() as folder:  # parts of a toolkit are packages of their own
        source = Path(folder, "headers.cu")
        source.write_text("".join(f"#include <{header}>\n" for header in CUDA_HEADERS))
        command = [nvcc, "-std=c++20", "-M", str(source)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        said = done.stdout.strip().splitlines() or ["it does not say why"]
        why = next((line for line in said if "error" in line or "fatal" in line), said[0])
        return f"{nvcc} cannot read {' and '.join(CUDA_HEADERS)} ({why.strip()})"
    return None


class CudaExtension(Extension):
    """torch.ops.yolofast.* on CUDA tensors. nvcc compiles and links it: it knows where its own parts are."""

    def __init__(self, torch: Path, nvcc: str) -> None:
        sources = [
            *sorted(Path("csrc/cuda").glob("*.cu")),
            *sorted(Path("csrc/torch").glob("cuda*.cpp")),
            *(Path("csrc/torch", f"{name}.cpp") for name in ON_BOTH_DEVICES),
        ]
        headers = [h for folder in ("core", "cuda", "torch") for h in Path("csrc", folder).rglob("*.hpp")]
        super().__init__(
            "yolofast.kernels._torch_ops_cuda", [*map(str, sources)], depends=["setup.py", *map(str, headers)]
        )
        self.torch = torch
        self.nvcc = nvcc

    def build(self, target: Path, folder: Path, at_a_time: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(at_a_time) as pool:
            objects = list(pool.map(lambda source: self.compile(Path(source), folder), self.sources))
        folders = [self.torch / "lib"]
        if not (self.torch / "lib" / "libtorch_cuda.so").exists():
            self.build_empty(folder / "libtorch_cuda.so")
            folders.append(folder)
        flags = ["-shared", "-cudart", "static", "-Xlinker", "--no-as-needed,--exclude-libs,ALL"]
        torch = [*(f"-L{folder}" for folder in folders), "-ltorch_cpu", "-ltorch_cuda"]
        self.run(*flags, *objects, *torch, "-o", str(target))

    def build_empty(self, target: Path) -> None:
        """Streams come from libtorch_cuda, which a torch for CPUs lacks. Linking with an empty library of
        that name makes ours ask for the real one where it runs."""
        source = target.with_suffix(".cpp")
        source.write_text("")
        flags = f"-shared -cudart none -Xlinker -soname={target.name}".split()
        self.run(*flags, str(source), "-o", str(target))

    def compile(self, source: Path, folder: Path) -> str:
        """The object file; beside it, what ptxas reported."""
        target = folder / f"{source.stem}.o"
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in CUDA_ARCHITECTURES]
        codes.append("-gencode=arch=compute_{0},code=compute_{0}".format(CUDA_ARCHITECTURES[-1]))
        torch = [f"-D{'='.join(STABLE_ABI)}", "-DUSE_CUDA", "-isystem", str(self.torch / "include")]
        flags = [*CUDA_COMPILE, "-Xcompiler", CUDA_HOST, *codes, *torch]
        report = self.run(*flags, "-c", str(source), "-o", str(target))
        (folder / f"{source.stem}.txt").write_text(report)
        return str(target)

    def run(self, *arguments: str) -> str:
        command = [self.nvcc, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}")
        for line in done.stdout.splitlines():
            if "warning" in line:
                print(line, file=sys.stderr)
        return done.stdout


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
    extensions = [torch_extension(torch)]
    if reason:
        print(f"{reason}: torch.ops.yolofast is built without CUDA")
    elif wanted != "0" and nvcc:
        extensions.append(CudaExtension(torch, nvcc))
    return extensions


class BuildExtensions(build_ext):
    """Compiles several modules at a time; each has an object folder of its own, as they share sources."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        # A module that stands beside its source has been built by pip in a folder that is gone.
        beside = Path(self.get_ext_filename(self.get_ext_fullname(ext.name)))
        sources = [*ext.sources, *ext.depends]
        if not self.force and not target.exists() and not newer_group(sources, str(beside), "newer"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(beside, target)
        elif not isinstance(ext, CudaExtension):
            own = copy.copy(self)
            own.build_temp = str(Path(self.build_temp, ext.name))
            build_ext.build_extension(own, ext)
        elif self.force or newer_group(sources, str(target)):
            ext.build(target, Path(self.build_temp).parent / "cuda", int(self.parallel or 1))


setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=torch_extensions()
    + cythonize(
        extensions,
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": True,
        },
    ),
)
