from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.types import Letterbox

MAX_COLOR_GAIN: float
MAX_COLOR_OFFSET: float

def letterbox(
    image: NDArray[np.uint8],
    size: int | tuple[int, int],
    *,
    fill: int = 114,
    layout: Literal["hwc", "chw"] = "hwc",
    source: tuple[int, int] | None = None,
    out: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.uint8], Letterbox]: ...
def warp_affine(
    image: NDArray[np.uint8],
    matrix: ArrayLike,
    out: NDArray[np.uint8],
    *,
    window: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]: ...
def flip(
    image: NDArray[np.uint8],
    *,
    horizontal: bool = False,
    vertical: bool = False,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]: ...
def color_matrix(
    image: NDArray[np.uint8], matrix: ArrayLike, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]: ...
def hsv_jitter(
    image: NDArray[np.uint8], h: float, s: float, v: float, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]: ...
