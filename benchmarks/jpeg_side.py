"""One decoder in a process of its own, for run_jpeg.py: reads orders from standard input, one JSON a line.

It needs numpy and the decoder alone, so that it also runs in the peers' environment. An order `prepare` reads
files into memory, decodes each once, keeps that memory for later decodes, and writes the pixels to a file for
comparison. `time` decodes all files of a preparation once and answers with the seconds.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# decode(data, layout, region, out) gives the array, or the planes; `out` is what an earlier call gave for a
# picture of that shape, or None.
Decode = Callable[[Any, str, Any, Any], Any]


def mapped_libjpeg() -> str:
    """Which libjpeg-turbo this process has loaded; there must be one."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    files = {line.split()[-1] for line in maps.splitlines() if "/libjpeg" in line}
    (library,) = files
    found = re.search(rb"libjpeg-turbo version ([\d.]+)", Path(library).read_bytes())
    return found[1].decode() if found else f"unknown ({library})"


def yolofast_side(decoder: Any) -> tuple[Decode, str]:
    from yolofast.kernels import decode_jpeg

    def decode(data: Any, layout: Any, region: Any, out: Any) -> Any:
        return decode_jpeg(data, layout=layout, region=region, decoder=decoder, out=out)

    return decode, metadata.version("yolofast") if decoder == "auto" else mapped_libjpeg()


def simplejpeg_side() -> tuple[Decode, str]:
    import simplejpeg

    def decode(data: Any, layout: str, region: Any, out: Any) -> Any:
        return simplejpeg.decode_jpeg(data, "RGB", buffer=out)

    return decode, metadata.version("simplejpeg")


def opencv_side() -> tuple[Decode, str]:
    """Its binding takes no memory to reuse: each call makes a new array."""
    import cv2

    cv2.setNumThreads(1)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

    def decode(data: Any, layout: str, region: Any, out: Any) -> Any:
        return cv2.imdecode(data, flags)

    return decode, cv2.__version__


SIDES: dict[str, Callable[[], tuple[Decode, str]]] = {
    "yolofast": lambda: yolofast_side("auto"),
    "turbo": lambda: yolofast_side("turbo"),
    "simplejpeg": simplejpeg_side,
    "opencv": opencv_side,
}


def arrays_of(decoded: Any) -> list[Any]:
    """The arrays of packed pixels or planes."""
    planes = [decoded] if isinstance(decoded, np.ndarray) else [decoded.y, decoded.cb, decoded.cr]
    return [plane for plane in planes if plane is not None]


class Prepared:
    """Files in memory, and memory for their pixels: one array for all pictures of a shape."""

    def __init__(self, decode: Decode, order: dict[str, Any]) -> None:
        self.decode = decode
        self.layout = order["layout"]
        paths = [Path(path) for path in order["paths"]]
        self.regions = [tuple(r) for r in order["regions"]] if order["regions"] else [None] * len(paths)
        self.files = [np.frombuffer(path.read_bytes(), np.uint8) for path in paths]
        pool: dict[Any, Any] = {}
        self.outputs = []
        with Path(order["pixels"]).open("wb") as stream:
            for data, region in zip(self.files, self.regions, strict=True):
                decoded = decode(data, self.layout, region, None)
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


def main() -> None:
    decode, version = SIDES[sys.argv[1]]()
    print(json.dumps(version), flush=True)
    prepared: dict[str, Prepared] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "prepare":
            prepared[order["name"]] = Prepared(decode, order)
            print(json.dumps(len(prepared[order["name"]].files)), flush=True)
        else:
            print(json.dumps(prepared[order["name"]].time()), flush=True)


if __name__ == "__main__":
    main()
