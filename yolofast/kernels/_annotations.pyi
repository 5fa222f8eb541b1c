from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels.ground_truth import GroundTruthColumns

def read_ground_truth(data: NDArray[np.uint8]) -> GroundTruthColumns: ...
def likely_entry(data: NDArray[np.uint8], start: int) -> int: ...
def read_results(
    data: NDArray[np.uint8], start: int, stop: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int]: ...
