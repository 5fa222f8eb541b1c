"""Labels of a whole plan: every box through its tile's matrix, in one compiled call.

Numba, compiled at first use and cached on disk; the GIL is released while computing. It does to each tile
what `xywhn_to_xyxy`, `transform_boxes`, `visible_boxes` and `xyxy_to_xywhn` of `yolofast.kernels` do, without
a Python step a tile: a tile has a handful of boxes, and the steps would cost more than the arithmetic.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from yolofast.types import BatchPlan

# The candidate rule of the YOLO family, as in kernels.visible_boxes.
MIN_SIDE = 2.0
MIN_AREA = 0.1
MAX_ASPECT = 100.0


def render_labels(
    plan: BatchPlan,
    rows: NDArray[np.float32],
    offsets: NDArray[np.int64],
    shapes: NDArray[np.int32],
    *,
    filtered: bool,
) -> NDArray[np.float32]:
    """The targets of a plan's samples.

    Boxes are clipped to their tile's window, moved by its matrix (the axis-aligned box around the four
    corners), and clipped to the output. A box with a number that is NaN, or with a corner at or behind the
    horizon of a perspective, is dropped. Arithmetic is float64.

    Args:
        plan: whose tiles name the images.
        rows: float32 [R, 5], class and xywhn of the boxes of all images, image after image.
        offsets: int64 [n + 1]; the boxes of image i are `rows[offsets[i] : offsets[i + 1]]`.
        shapes: int32 [n, 2], (height, width) of every image, upright.
        filtered: also drop what is not worth learning from (training): sides of 2 pixels or less, an
            aspect of 100 or more, or not over 0.1 of the moved box's area inside the output.

    Returns:
        float32 [N, 6]: sample, class, xywhn of the output; by sample, then tile, then row.
    """
    targets: NDArray[np.float32] = _render(
        plan.tile_sample,
        plan.tile_image,
        plan.tile_forward,
        plan.tile_window,
        float(plan.size[0]),
        float(plan.size[1]),
        rows,
        offsets,
        shapes,
        filtered,
    )
    return targets


@njit(cache=True, nogil=True)
def _clip(value, low, high):  # type: ignore[no-untyped-def]
    return low if value < low else (high if value > high else value)


@njit(cache=True, nogil=True)
def _source_box(row, width, height, window, box):  # type: ignore[no-untyped-def]
    """One label row as xyxy source pixels inside `window`, into `box` [4]; False where a number is NaN."""
    for axis in range(2):
        side = height if axis else width
        centre, half = np.float64(row[1 + axis]), np.float64(row[3 + axis]) / 2
        low, high = (centre - half) * side, (centre + half) * side
        if np.isnan(low) or np.isnan(high):
            return False
        box[axis] = _clip(low, window[axis], window[2 + axis])
        box[2 + axis] = _clip(high, window[axis], window[2 + axis])
    return not np.isnan(row[0])


@njit(cache=True, nogil=True)
def _move(box, matrix, moved):  # type: ignore[no-untyped-def]
    """The box around the four transformed corners, into `moved` [4]; False behind the horizon."""
    moved[:2], moved[2:] = np.inf, -np.inf
    for corner in range(4):
        x, y = box[2 * (corner & 1)], box[1 + 2 * (corner >> 1)]
        w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
        if not w > 0.0:
            return False
        for axis in range(2):
            u = (matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2]) / w
            moved[axis] = min(moved[axis], u)
            moved[2 + axis] = max(moved[2 + axis], u)
    return True


@njit(cache=True, nogil=True)
def _render(  # type: ignore[no-untyped-def]
    tile_sample, tile_image, tile_forward, tile_window, height, width, rows, offsets, shapes, filtered
):
    most = 0
    for image in tile_image:
        most += offsets[image + 1] - offsets[image]
    out = np.empty((most, 6), np.float32)
    box, moved = np.empty(4), np.empty(4)
    count = 0
    for tile in range(len(tile_image)):
        image = tile_image[tile]
        for index in range(offsets[image], offsets[image + 1]):
            row = rows[index]
            if not _source_box(row, shapes[image, 1], shapes[image, 0], tile_window[tile], box):
                continue
            if not _move(box, tile_forward[tile], moved):
                continue
            x0, x1 = _clip(moved[0], 0.0, width), _clip(moved[2], 0.0, width)
            y0, y1 = _clip(moved[1], 0.0, height), _clip(moved[3], 0.0, height)
            w, h = x1 - x0, y1 - y0
            full = (moved[2] - moved[0]) * (moved[3] - moved[1])
            if filtered and not (
                min(w, h) > MIN_SIDE and max(w, h) < MAX_ASPECT * min(w, h) and w * h > MIN_AREA * full
            ):
                continue
            target = out[count]
            target[0], target[1] = tile_sample[tile], row[0]
            target[2], target[3] = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
            target[4], target[5] = w / width, h / height
            count += 1
    return out[:count].copy()
