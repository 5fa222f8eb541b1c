from collections.abc import Iterable
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from yolofast.types import JpegInfo, Ycc

LAYOUTS: dict[str, int]
SUBSAMPLINGS: tuple[str, ...]
MAX_RESTART_ROWS: int
MAX_SIDE: int
DECODERS: dict[str, int]

def jpeg_decoder(decoder: str | None = None) -> int: ...
@overload
def decode_jpeg(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    *,
    layout: Literal["rgb", "bgr", "gray"] = "rgb",
    min_size: int | tuple[int, int] | None = None,
    region: tuple[int, int, int, int] | None = None,
    orient: bool = True,
    salvage: bool = False,
    max_pixels: int = ...,
    decoder: Literal["auto", "turbo"] | None = None,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]: ...
@overload
def decode_jpeg(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    *,
    layout: Literal["ycc"],
    min_size: int | tuple[int, int] | None = None,
    region: tuple[int, int, int, int] | None = None,
    orient: bool = True,
    salvage: bool = False,
    max_pixels: int = ...,
    decoder: Literal["auto", "turbo"] | None = None,
    out: Ycc | None = None,
) -> Ycc: ...
def decode_jpeg_batch(
    datas: Iterable[bytes | bytearray | memoryview | NDArray[np.uint8]],
    *,
    layout: Literal["rgb", "bgr", "gray", "ycc"] = "rgb",
    min_size: int | tuple[int, int] | None = None,
    region: tuple[int, int, int, int] | None = None,
    orient: bool = True,
    salvage: bool = False,
    max_pixels: int = ...,
    decoder: Literal["auto", "turbo"] | None = None,
    errors: Literal["raise", "return"] = "raise",
    threads: int = 1,
) -> list[Any]: ...
def jpeg_info(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> JpegInfo: ...
def rewrite_jpeg(
    data: bytes | bytearray | memoryview | NDArray[np.uint8], *, restart_rows: int, max_pixels: int = ...
) -> bytes: ...
