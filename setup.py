"""Builds the Cython kernels over csrc/core (C++20, libjpeg). Needs no torch.

`YOLOFAST_SANITIZE=1` builds with ASan and UBSan instead (see CONTRIBUTING.md).
"""

import os
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup

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

# extension module -> (csrc/core sources, libraries)
MODULES: dict[str, tuple[list[str], list[str]]] = {
    "kernels._jpeg": (JPEG, ["jpeg"]),
    "kernels._image": (["image.cpp"], []),
    "kernels._boxes": (["boxes.cpp"], []),
    "kernels._nms": (["nms.cpp", "soft_nms.cpp", "postprocess.cpp"], []),
    "kernels._labels": (["labels.cpp"], []),
    "kernels._render": (["render.cpp"], []),
    "load._engine": (["engine.cpp", "picture.cpp", "render.cpp", *JPEG], ["jpeg"]),
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

setup(
    ext_modules=cythonize(
        extensions,
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "embedsignature": True,
        },
    )
)
