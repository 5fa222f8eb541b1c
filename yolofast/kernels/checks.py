"""Checks of arguments that several kernels share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def as_boxes(name: str, values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """`values` as contiguous [N, 4] of `dtype`; nothing at all is no boxes. Raises `ValueError` else."""
    boxes = np.ascontiguousarray(values, dtype=dtype)
    if boxes.size == 0 and boxes.ndim < 2:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} has shape {np.shape(values)}; expected [N, 4] (x1, y1, x2, y2)")
    return boxes
