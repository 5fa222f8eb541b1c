from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from yolofast.types import JpegInfo, Ycc

LAYOUTS: dict[str, int]
SUBSAMPLINGS: tuple[str, ...]
MAX_SIDE: int

@overload
def decode_jpeg(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    *,
    layout: Literal["rgb", "bgr", "gray"] = "rgb",
    min_size: int | tuple[int, int] | None = None,
    orient: bool = True,
    salvage: bool = False,
    max_pixels: int = ...,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]: ...
@overload
def decode_jpeg(
    data: bytes | bytearray | memoryview | NDArray[np.uint8],
    *,
    layout: Literal["ycc"],
    min_size: int | tuple[int, int] | None = None,
    orient: bool = True,
    salvage: bool = False,
    max_pixels: int = ...,
    out: Ycc | None = None,
) -> Ycc: ...
def jpeg_info(data: bytes | bytearray | memoryview | NDArray[np.uint8]) -> JpegInfo: ...
