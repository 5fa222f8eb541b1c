from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

class GroundTruthColumns(TypedDict):
    images: NDArray[Any]
    categories: NDArray[np.int64]
    names: list[str]
    ids: NDArray[np.int64]
    image_ids: NDArray[Any]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]

def read_ground_truth(data: NDArray[np.uint8]) -> GroundTruthColumns: ...
def likely_entry(data: NDArray[np.uint8], start: int) -> int: ...
def read_results(
    data: NDArray[np.uint8], start: int, stop: int
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int]: ...
