"""The definition of a plan's targets in plain numpy: the box kernels' definitions, tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels.reference.boxes import transform_boxes, visible_boxes, xywhn_to_xyxy, xyxy_to_xywhn
from yolofast.types import BatchPlan


def render_labels(
    plan: BatchPlan,
    rows: NDArray[np.float32],
    offsets: NDArray[np.integer[Any]],
    shapes: NDArray[np.integer[Any]],
    *,
    filtered: bool,
    **rule: float,
) -> NDArray[np.float32]:
    """See `yolofast.kernels.render_labels`; `rule` is that of `visible_boxes`."""
    height, width = plan.size
    parts = [np.zeros((0, 6))]
    holes = plan.holes.astype(np.float64)
    for sample, layer, image, forward, window in zip(
        plan.tile_sample, plan.tile_layer, plan.tile_image, plan.tile_forward, plan.tile_window, strict=True
    ):
        mine = rows[offsets[image] : offsets[image + 1]].astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite sides
            boxes = xywhn_to_xyxy(mine[:, 1:], shapes[image, 1], shapes[image, 0])
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        moved = transform_boxes(boxes, forward)
        hole = holes[sample]
        frame = hole if layer == 2 else np.array([0.0, 0.0, width, height])
        shown = np.clip(moved, np.tile(frame[:2], 2), np.tile(frame[2:], 2))
        keep = ~np.isnan(mine[:, 0]) & ~np.isnan(shown).any(axis=1)
        hidden = np.zeros(len(mine))
        if layer != 2 and (hole[2:] > hole[:2]).all():
            shown, hidden, left = _cut(shown, hole)
            keep &= left
        if filtered:
            with np.errstate(invalid="ignore", over="ignore"):
                area, full = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (shown, moved))
                keep &= area - hidden > rule.get("min_area", 0.1) * full
            keep &= visible_boxes(moved, shown, **rule)
        xywhn = xyxy_to_xywhn(shown, width, height)
        parts.append(np.column_stack([np.full(len(mine), sample), mine[:, 0], xywhn])[keep])
    return np.concatenate(parts).astype(np.float32)


def _cut(
    boxes: NDArray[np.float64], hole: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The smallest boxes around what `hole` leaves of each, the area of it inside them, and whether anything
    is left."""
    over = (hole[:2] <= boxes[:, :2]) & (hole[2:] >= boxes[:, 2:])  # along x, y
    out = boxes.copy()
    for axis in range(2):
        low, high = boxes[:, axis], boxes[:, axis + 2]
        first, last = hole[axis], hole[axis + 2]
        out[:, axis] = np.where(over[:, 1 - axis] & (first <= low) & (last > low), last, low)
        out[:, axis + 2] = np.where(over[:, 1 - axis] & (last >= high) & (first < high), first, high)
    common = np.minimum(out[:, 2:], hole[2:]) - np.maximum(out[:, :2], hole[:2])
    return out, common.clip(0).prod(axis=1), ~(over[:, 0] & over[:, 1])
