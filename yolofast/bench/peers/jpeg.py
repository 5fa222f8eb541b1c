"""A JPEG decoder, ours or a peer's, as `yolofast.bench.jpeg` measures it.

`prepare` reads files into memory, decodes each once, keeps that memory for later decodes, and writes the
pixels to a file for comparison. `time` decodes all files of a preparation once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .serve import Answer, Requests, versions

Decode = Callable[[Any, str, Any, Any], Any]
"""decode(data, layout, region, out) returns the array or the planes; `out` is the result of an earlier call
for an image of that shape, or None."""


def mapped_libjpeg() -> str:
    """Which libjpeg-turbo this process has loaded; there must be one."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    files = {line.split()[-1] for line in maps.splitlines() if "/libjpeg" in line}
    (library,) = files
    found = re.search(rb"libjpeg-turbo version ([\d.]+)", Path(library).read_bytes())
    return found[1].decode() if found else f"unknown ({library})"


def yolofast(decoder: Any) -> tuple[Decode, str]:
    from yolofast.kernels import decode_jpeg

    def decode(data: Any, layout: Any, region: Any, out: Any) -> Any:
        return decode_jpeg(data, layout=layout, region=region, decoder=decoder, out=out)

    return decode, versions(("yolofast",))["yolofast"] if decoder == "auto" else mapped_libjpeg()


def simplejpeg() -> tuple[Decode, str]:
    module = import_module("simplejpeg")

    def decode(data: Any, layout: str, region: Any, out: Any) -> Any:
        return module.decode_jpeg(data, "RGB", buffer=out)

    return decode, versions(("simplejpeg",))["simplejpeg"]


def opencv() -> tuple[Decode, str]:
    """Its binding cannot reuse memory: each call allocates a new array."""
    import cv2

    cv2.setNumThreads(1)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

    def decode(data: Any, layout: str, region: Any, out: Any) -> Any:
        return cv2.imdecode(data, flags)

    return decode, cv2.__version__


DECODERS: dict[str, Callable[[], tuple[Decode, str]]] = {
    "yolofast": lambda: yolofast("auto"),
    "turbo": lambda: yolofast("turbo"),
    "simplejpeg": simplejpeg,
    "opencv": opencv,
}


def arrays_of(decoded: Any) -> list[Any]:
    """The arrays of packed pixels or planes."""
    planes = [decoded] if isinstance(decoded, np.ndarray) else [decoded.y, decoded.cb, decoded.cr]
    return [plane for plane in planes if plane is not None]


class Prepared:
    """Files in memory, and memory for their pixels: one array for all images of a shape."""

    def __init__(
        self, decode: Decode, paths: list[str], layout: str, regions: list[list[int]] | None, pixels: str
    ) -> None:
        self.decode, self.layout = decode, layout
        self.regions = [tuple(each) for each in regions] if regions else [None] * len(paths)
        self.files = [np.frombuffer(Path(path).read_bytes(), np.uint8) for path in paths]
        pool: dict[Any, Any] = {}
        self.outputs = []
        with Path(pixels).open("wb") as stream:
            for data, region in zip(self.files, self.regions, strict=True):
                decoded = decode(data, layout, region, None)
                arrays = arrays_of(decoded)
                for array in arrays:
                    stream.write(array.tobytes())
                self.outputs.append(pool.setdefault(tuple(array.shape for array in arrays), decoded))

    def time(self) -> float:
        """Seconds to decode all files once."""
        decode, layout = self.decode, self.layout
        work = list(zip(self.files, self.regions, self.outputs, strict=True))
        started = time.perf_counter()
        for data, region, out in work:
            decode(data, layout, region, out)
        return time.perf_counter() - started


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """The job: `decoder`, a key of `DECODERS`."""
    decode, version = DECODERS[job["decoder"]]()
    prepared: dict[str, Prepared] = {}

    def prepare(name: str, **files: Any) -> Answer:
        prepared[name] = Prepared(decode, **files)
        return {"files": len(prepared[name].files)}

    return {"versions": {job["decoder"]: version}}, {
        "prepare": prepare,
        "time": lambda name: {"seconds": prepared[name].time()},
    }
