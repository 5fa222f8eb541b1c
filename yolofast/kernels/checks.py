"""Checks of arguments that several kernels share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from yolofast.types import BatchPlan


def as_boxes(name: str, values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """`values` as contiguous [N, 4] of `dtype`; nothing at all is no boxes. Raises `ValueError` else."""
    boxes = np.ascontiguousarray(values, dtype=dtype)
    if boxes.size == 0 and boxes.ndim < 2:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} has shape {np.shape(values)}; expected [N, 4] (x1, y1, x2, y2)")
    return boxes


def checked_holes(plan: BatchPlan, sample: NDArray[np.int64], layer: NDArray[np.int64]) -> NDArray[np.int64]:
    """The hole of every sample of `plan`, a contiguous copy, which nobody changes between check and use.

    `sample`, `layer`: those of the plan's tiles. Raises `ValueError` for a hole that is not a rectangle
    inside the output, and for a tile of layer 2 in a sample without one.
    """
    if plan.hole is None:
        hole = plan.holes
    else:
        given = np.asarray(plan.hole)
        if given.shape != (len(plan.images), 4):
            raise ValueError(f"plan.hole has shape {given.shape}; expected {(len(plan.images), 4)}")
        if given.dtype.kind not in "iu":
            raise ValueError(f"plan.hole is {given.dtype}; expected whole numbers")
        hole = np.array(given, dtype=np.int64, order="C")
        height, width = plan.size
        x0, y0, x1, y1 = hole.T
        bad = np.flatnonzero((x0 < 0) | (x0 > x1) | (x1 > width) | (y0 < 0) | (y0 > y1) | (y1 > height))
        if len(bad):
            raise ValueError(
                f"plan.hole[{bad[0]}] is {hole[bad[0]].tolist()}; expected x0, y0, x1, y1 in ascending order "
                f"inside the output of {width} x {height}"
            )
    inside = np.flatnonzero(np.asarray(layer) == 2)
    if len(inside) and len(hole):
        of = np.clip(np.asarray(sample)[inside], 0, len(hole) - 1)
        lost = inside[(hole[of, :2] == hole[of, 2:]).any(axis=1)]
        if len(lost):
            raise ValueError(f"plan.tile_layer[{lost[0]}] is 2 in a sample without a hole; expected 0..1")
    return hole
