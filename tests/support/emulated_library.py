"""csrc/cuda compiled for the host by tests/emulation, as torch.ops.yolofast_emulated: no GPU is needed."""

from __future__ import annotations

import os
from pathlib import Path

from support.native_build import REPOSITORY, native

EMULATION = REPOSITORY / "tests" / "emulation"
FLAGS = ["-O1", "-g1", "-Werror", "-Wno-unknown-pragmas", "-Itests/emulation"]  # "unroll" is nvcc's
SHARED_MEMORY = f"-Wl,-T,{EMULATION / 'shared_memory.ld'}"


def build_emulated_library() -> Path:
    """The library's file, built anew when a source of it is newer."""
    import torch

    build = native()
    sanitized = os.environ.get("YOLOFAST_SANITIZE") == "1"
    sanitize = build.VARIANTS["address"] if sanitized else []
    sources = [*build.CUDA, EMULATION / "emulation.cpp", *build.TORCH]
    root = Path(torch.__file__).parent
    macros = [*build.CUDA_MACROS, "-DYOLOFAST_EMULATED"]
    flags = [*build.COMMON, *FLAGS, *macros, "-isystem", str(root / "include"), *sanitize]
    folder = build.BUILD / ("emulation_address" if sanitized else "emulation")
    objects = build.compile_all(sources, folder, [*flags, "-x", "c++"])
    link = ["-shared", *sanitize, f"-L{root / 'lib'}", "-ltorch_cpu", SHARED_MEMORY]
    library: Path = build.link(objects, folder / "libyolofast_emulated.so", link)
    return library
