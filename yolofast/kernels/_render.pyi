from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.types import BatchPlan, Picture, Ycc

def checked_plan(
    plan: BatchPlan,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
]: ...
def render(
    plan: BatchPlan,
    images: Mapping[int, Picture | Ycc] | Sequence[Picture | Ycc],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]: ...
