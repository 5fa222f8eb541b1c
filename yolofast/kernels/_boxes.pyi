from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

IOU_KINDS: tuple[str, ...]

def box_iou(
    a: ArrayLike,
    b: ArrayLike,
    *,
    kind: Literal["iou", "giou", "diou", "ciou"] = "iou",
    elementwise: bool = False,
) -> NDArray[Any]: ...
def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float) -> NDArray[np.int64]: ...
def batched_nms(
    boxes: ArrayLike, scores: ArrayLike, classes: ArrayLike, iou_threshold: float
) -> NDArray[np.int64]: ...
