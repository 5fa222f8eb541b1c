from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

SOFT_NMS_METHODS: tuple[str, ...]

def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float) -> NDArray[np.int64]: ...
def batched_nms(
    boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike, iou_threshold: float
) -> NDArray[np.int64]: ...
def soft_nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    method: Literal["linear", "gaussian"] = "linear",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[NDArray[np.int64], NDArray[np.float32] | NDArray[np.float64]]: ...
def postprocess_images(
    raw: NDArray[np.float32],
    wanted: NDArray[np.uint8],
    *,
    conf: float,
    iou: float,
    room: int,
    max_candidates: int,
    agnostic: bool,
    multi_label: bool,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]: ...
