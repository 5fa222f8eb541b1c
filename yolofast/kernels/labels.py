"""Label transforms: from normalised labels to pixels and back, through a matrix, and which survive.

Numba, compiled at first use and cached on disk; the GIL is released while computing. Arithmetic is
float64; the result has the dtype of the boxes given (float32 or float64; others become float64).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray


def _as_boxes(name: str, boxes: ArrayLike) -> NDArray[Any]:
    array = np.asarray(boxes)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if array.size == 0 and array.ndim < 2:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} has shape {array.shape}; expected [N, 4]")
    return np.ascontiguousarray(array)


def _check_size(width: float, height: float) -> None:
    if not (width > 0 and height > 0):
        raise ValueError(f"the image size is {width} x {height}; expected positive width and height")


@njit(cache=True, nogil=True)
def _xywhn_to_xyxy(boxes, width, height, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        half_w = np.float64(boxes[i, 2]) / 2
        half_h = np.float64(boxes[i, 3]) / 2
        out[i, 0] = (boxes[i, 0] - half_w) * width
        out[i, 1] = (boxes[i, 1] - half_h) * height
        out[i, 2] = (boxes[i, 0] + half_w) * width
        out[i, 3] = (boxes[i, 1] + half_h) * height


@njit(cache=True, nogil=True)
def _xyxy_to_xywhn(boxes, width, height, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        x1 = np.float64(boxes[i, 0])
        y1 = np.float64(boxes[i, 1])
        out[i, 0] = (x1 + boxes[i, 2]) / 2 / width
        out[i, 1] = (y1 + boxes[i, 3]) / 2 / height
        out[i, 2] = (boxes[i, 2] - x1) / width
        out[i, 3] = (boxes[i, 3] - y1) / height


@njit(cache=True, nogil=True)
def _transform(boxes, matrix, out):  # type: ignore[no-untyped-def]
    for i in range(boxes.shape[0]):
        low_x = low_y = np.inf
        high_x = high_y = -np.inf
        seen = True
        for corner in range(4):
            x = np.float64(boxes[i, 2 * (corner & 1)])
            y = np.float64(boxes[i, 1 + 2 * (corner >> 1)])
            w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
            if not w > 0.0:
                seen = False
                break
            u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w
            v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w
            low_x = min(low_x, u)
            high_x = max(high_x, u)
            low_y = min(low_y, v)
            high_y = max(high_y, v)
        if seen:
            out[i, 0] = low_x
            out[i, 1] = low_y
            out[i, 2] = high_x
            out[i, 3] = high_y
        else:
            out[i, :] = np.nan


@njit(cache=True, nogil=True)
def _visible(before, after, min_side, min_area, max_aspect, out):  # type: ignore[no-untyped-def]
    for i in range(before.shape[0]):
        full_w = np.float64(before[i, 2]) - before[i, 0]
        full_h = np.float64(before[i, 3]) - before[i, 1]
        w = np.float64(after[i, 2]) - after[i, 0]
        h = np.float64(after[i, 3]) - after[i, 1]
        # Comparisons with NaN are false: a box that is not a number is not visible.
        out[i] = (
            w > min_side
            and h > min_side
            and w * h > min_area * (full_w * full_h)
            and w < max_aspect * h
            and h < max_aspect * w
        )


def xywhn_to_xyxy(boxes: ArrayLike, width: float, height: float) -> NDArray[Any]:
    """Boxes [N, 4] from normalised centre, width, height to xyxy pixels of a `width` x `height` image.

    Raises:
        ValueError: the boxes are not [N, 4], or the size is not positive.
    """
    source = _as_boxes("boxes", boxes)
    _check_size(width, height)
    out = np.empty_like(source)
    _xywhn_to_xyxy(source, float(width), float(height), out)
    return out


def xyxy_to_xywhn(boxes: ArrayLike, width: float, height: float) -> NDArray[Any]:
    """Boxes [N, 4] from xyxy pixels of a `width` x `height` image to normalised centre, width, height.

    Raises:
        ValueError: the boxes are not [N, 4], or the size is not positive.
    """
    source = _as_boxes("boxes", boxes)
    _check_size(width, height)
    out = np.empty_like(source)
    _xyxy_to_xywhn(source, float(width), float(height), out)
    return out


def transform_boxes(
    boxes: ArrayLike, matrix: ArrayLike, clip: tuple[float, float] | None = None
) -> NDArray[Any]:
    """The axis-aligned boxes around the four transformed corners of each box.

    Args:
        boxes: float32 or float64 [N, 4] xyxy, source pixels on pixel edges.
        matrix: [3, 3] (perspective allowed) or [2, 3] (affine), from source to target coordinates.
        clip: (width, height) of the target to clip to, or None.

    Returns:
        [N, 4] xyxy in target pixels, dtype of `boxes`. A box with a corner at or behind the horizon
        of a perspective matrix has no such box: its row is NaN, and `visible_boxes` drops it.

    Raises:
        ValueError: a shape does not fit.
    """
    source = _as_boxes("boxes", boxes)
    transform = np.array(matrix, dtype=np.float64)
    if transform.shape == (2, 3):
        transform = np.concatenate([transform, [[0.0, 0.0, 1.0]]])
    if transform.shape != (3, 3):
        raise ValueError(f"matrix has shape {transform.shape}; expected [3, 3] or [2, 3]")
    out = np.empty_like(source)
    _transform(source, transform, out)
    if clip is not None:
        out[:, 0::2] = out[:, 0::2].clip(0, clip[0])
        out[:, 1::2] = out[:, 1::2].clip(0, clip[1])
    return out


def visible_boxes(
    before: ArrayLike,
    after: ArrayLike,
    *,
    min_side: float = 2.0,
    min_area: float = 0.1,
    max_aspect: float = 100.0,
) -> NDArray[np.bool_]:
    """Which boxes are still worth learning from after augmentation.

    The candidate rule of the YOLO family: both clipped sides longer than `min_side` pixels, clipped
    area more than `min_area` of the unclipped area, and longer side less than `max_aspect` times the
    shorter.

    Args:
        before: [N, 4] xyxy, transformed but not clipped.
        after: [N, 4] xyxy, the same boxes clipped to the target image.

    Returns:
        bool [N]. False for boxes with a NaN coordinate.

    Raises:
        ValueError: the shapes are not [N, 4] or differ.
    """
    full = _as_boxes("before", before)
    clipped = _as_boxes("after", after)
    if full.shape != clipped.shape:
        raise ValueError(
            f"before has {len(full)} boxes and after has {len(clipped)}; expected the same boxes"
        )
    out = np.empty(len(full), dtype=np.bool_)
    _visible(full, clipped, float(min_side), float(min_area), float(max_aspect), out)
    return out
