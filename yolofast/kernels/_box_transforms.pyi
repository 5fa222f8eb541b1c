from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

def xywhn_to_xyxy(
    boxes: ArrayLike, width: float, height: float, *, out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
def xyxy_to_xywhn(
    boxes: ArrayLike, width: float, height: float, *, out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
def xywh_to_xyxy(boxes: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
def xyxy_to_xywh(boxes: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
def ltwh_to_xyxy(boxes: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
def xyxy_to_ltwh(boxes: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
def clip_boxes(
    boxes: ArrayLike, width: float, height: float, *, out: NDArray[Any] | None = None
) -> NDArray[Any]: ...
def transform_boxes(
    boxes: ArrayLike,
    matrix: ArrayLike,
    clip: tuple[float, float] | None = None,
    *,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]: ...
def visible_boxes(
    before: ArrayLike,
    after: ArrayLike,
    *,
    min_side: float = 2.0,
    min_area: float = 0.1,
    max_aspect: float = 100.0,
) -> NDArray[np.bool_]: ...
