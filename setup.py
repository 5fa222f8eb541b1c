"""Builds the Cython kernels over csrc/core (C++20, libjpeg), which need no torch; and, where a torch that is
new enough is installed, csrc/torch beside them.

`YOLOFAST_SANITIZE=1` builds with ASan and UBSan instead (see CONTRIBUTING.md).
"""

import copy
import importlib.metadata
import importlib.util
import os
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE = Path("csrc/core")

# No contraction: float32 results equal the numpy definitions to the bit. No trapping math, no errno:
# only exception flags change, and without them GCC leaves the box and image loops scalar.
FLOATS = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
COMPILE = ["-std=c++20", "-O3", "-fvisibility=hidden", "-Wall", "-Wextra", *FLOATS]
LINK: list[str] = []
if os.environ.get("YOLOFAST_SANITIZE") == "1":
    sanitizers = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
    COMPILE += [*sanitizers, "-DYOLOFAST_NO_MULTIVERSION"]
    LINK += sanitizers

JPEG = sorted(f"jpeg/{path.name}" for path in CORE.glob("jpeg/*.cpp"))
COCO = [f"coco/{name}.cpp" for name in ("match", "ranking", "accumulate", "confidence")]
SCAN = ["file_scan.cpp", "image_header.cpp", "tiff_header.cpp", "labels.cpp", "jpeg/header.cpp"]
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
    "load._engine": (["engine.cpp", "picture.cpp", *RENDER, *JPEG], ["jpeg"]),
}

extensions = [
    Extension(
        f"yolofast.{name}",
        sources=[f"yolofast/{name.replace('.', '/')}.pyx", *(str(CORE / s) for s in sources)],
        include_dirs=[str(CORE), np.get_include()],
        depends=[str(h) for h in CORE.rglob("*.hpp")],
        libraries=libraries,
        extra_compile_args=COMPILE,
        extra_link_args=LINK,
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        language="c++",
    )
    for name, (sources, libraries) in MODULES.items()
]

TORCH_SOURCES = ["boxes.cpp", "box_transforms.cpp", "nms.cpp", "postprocess.cpp", "soft_nms.cpp"]


def torch_extensions() -> list[Extension]:
    """torch.ops.yolofast.*, when torch >= 2.11 is here. torch is found, not imported: that takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return []
    version = importlib.metadata.version("torch")
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 11):
        print(f"torch {version} is here, torch.ops.yolofast needs 2.11: it is left out")
        return []
    torch = Path(spec.origin).parent
    return [
        Extension(
            "yolofast.kernels._torch_ops",  # a library for torch.ops.load_library, no Python module
            sources=[
                *sorted(str(path) for path in Path("csrc/torch").glob("*.cpp")),
                *(str(CORE / source) for source in TORCH_SOURCES),
            ],
            depends=[str(h) for folder in ("core", "torch") for h in Path("csrc", folder).rglob("*.hpp")],
            library_dirs=[str(torch / "lib")],
            libraries=["torch_cpu"],
            extra_compile_args=[*COMPILE, "-isystem", str(torch / "include")],
            extra_link_args=LINK,
            # The stable ABI as of torch 2.11: the library runs with that torch and every later one.
            define_macros=[("TORCH_TARGET_VERSION", "0x020b000000000000")],
            language="c++",
        )
    ]


class BuildExtensions(build_ext):
    """Gives each module an object folder: with -j, several compile the same csrc/core files at once."""

    def build_extension(self, ext: Extension) -> None:
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(own, ext)


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
