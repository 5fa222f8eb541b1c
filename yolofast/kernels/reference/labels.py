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
    for sample, image, forward, window in zip(
        plan.tile_sample, plan.tile_image, plan.tile_forward, plan.tile_window, strict=True
    ):
        mine = rows[offsets[image] : offsets[image + 1]].astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite sides
            boxes = xywhn_to_xyxy(mine[:, 1:], shapes[image, 1], shapes[image, 0])
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        moved = transform_boxes(boxes, forward)
        shown = np.clip(moved, 0, [width, height, width, height])
        keep = ~np.isnan(mine[:, 0]) & ~np.isnan(shown).any(axis=1)
        if filtered:
            keep &= visible_boxes(moved, shown, **rule)
        xywhn = xyxy_to_xywhn(shown, width, height)
        parts.append(np.column_stack([np.full(len(mine), sample), mine[:, 0], xywhn])[keep])
    return np.concatenate(parts).astype(np.float32)
