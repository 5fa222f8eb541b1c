"""nvjpeg_double.cpp, compiled: a library that stands for nvJPEG and the CUDA driver where there is no GPU."""

from __future__ import annotations

from pathlib import Path

from support.native_build import native

SOURCE = Path(__file__).with_name("nvjpeg_double.cpp")


def build_double(*macros: str) -> Path:
    """The library's file for some of the macros that the source names; built again when a source is newer."""
    build = native()
    name = "_".join(["nvjpeg", *(macro.replace("=", "") for macro in macros)]).lower()
    folder = build.BUILD / "nvjpeg_double"
    flags = [*build.COMMON, "-O1", "-g", "-Werror", *(f"-D{macro}" for macro in macros)]
    objects = build.compile_all([SOURCE], folder / name, flags)
    library: Path = build.link(objects, folder / f"{name}.so", ["-shared", *build.LIBRARIES])
    return library
