"""The simple executor: renders a `BatchPlan` tile by tile with the native kernels.

Decode (at the smallest sufficient DCT scale), warp into the output, colour, labels. Pure: the
same plan gives the same pixels and labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.errors import ImageError, YolofastError
from yolofast.images import ScaledImage, read_scaled_image
from yolofast.kernels.labels import transform_boxes, visible_boxes, xywhn_to_xyxy, xyxy_to_xywhn
from yolofast.load.plan import BatchPlan, colour_on_rgb

FILL = 114


def render_pixels(
    plan: BatchPlan,
    paths: Sequence[str],
    shapes: NDArray[np.int32],
    report: Callable[[str, YolofastError], None],
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Images uint8 [B, 3, H, W] RGB of a plan, and which tiles could be drawn, bool [T].

    `paths` and `shapes` [n, 2] are the dataset's. A tile whose image cannot be decoded stays gray and
    `report` is called with the image's path and the reason.
    """
    height, width = plan.size
    out = np.full((len(plan), 3, height, width), FILL, dtype=np.uint8)
    drawn = np.ones(len(plan.tile_sample), dtype=bool)
    for tile, (sample, image) in enumerate(zip(plan.tile_sample, plan.tile_image, strict=True)):
        try:
            source = _decode(paths[image], shapes[image], _zoom(plan.tile_forward[tile]))
        except YolofastError as error:
            report(paths[image], error)
            drawn[tile] = False
            continue
        # A DCT-scaled picture is a smaller source: scale the source side of matrix and window.
        offset = np.array(source.offset)
        matrix = plan.tile_matrix[tile] * source.scale
        matrix[:, 2] += offset
        window = plan.tile_window[tile] * source.scale + np.tile(offset, 2)
        kernels.warp_affine(source.pixels, matrix, out[sample], window=window)
    identity = np.eye(3, 4)
    for sample, colour in enumerate(plan.colour):
        if not np.array_equal(colour, identity):
            kernels.color_matrix(out[sample], colour_on_rgb(colour), out=out[sample])
    return out, drawn


def render_labels(
    plan: BatchPlan,
    drawn: NDArray[np.bool_],
    sample: int,
    labels: Sequence[NDArray[np.float32]],
    shapes: NDArray[np.int32],
    *,
    filtered: bool,
) -> NDArray[np.float32]:
    """Labels float32 [N, 5] (class, xywhn) of one sample of a plan.

    `drawn` is what `render_pixels` says of the tiles: one that is not in the picture gives no
    labels. `labels` are the dataset's own, one [n, 5] array an image. Boxes are clipped to the tile's
    window, moved, clipped to the output, and, where `filtered` (training), dropped by the field's
    usual rule: sides over 2 px, aspect under 100, over 0.1 of the area still visible.
    """
    height, width = plan.size
    parts = []
    for tile in np.flatnonzero((plan.tile_sample == sample) & drawn):
        image = plan.tile_image[tile]
        rows = labels[image]
        if not len(rows):
            continue
        source_h, source_w = shapes[image]
        boxes = xywhn_to_xyxy(rows[:, 1:].astype(np.float64), float(source_w), float(source_h))
        x0, y0, x1, y1 = plan.tile_window[tile]
        boxes[:, 0::2] = boxes[:, 0::2].clip(x0, x1)
        boxes[:, 1::2] = boxes[:, 1::2].clip(y0, y1)
        moved = transform_boxes(boxes, plan.tile_forward[tile])
        shown = moved.copy()
        shown[:, 0::2] = shown[:, 0::2].clip(0, width)
        shown[:, 1::2] = shown[:, 1::2].clip(0, height)
        classes = rows[:, :1]
        if filtered:
            keep = visible_boxes(moved, shown)
            shown, classes = shown[keep], classes[keep]
        parts.append(np.hstack([classes, xyxy_to_xywhn(shown, width, height).astype(np.float32)]))
    return np.concatenate(parts) if parts else np.zeros((0, 5), dtype=np.float32)


def _zoom(forward: NDArray[np.float64]) -> float:
    """How many output pixels a source pixel covers along the direction that grows most."""
    return float(np.linalg.norm(forward[:, :2], ord=2))


def _decode(path: str, shape: NDArray[np.int32], zoom: float) -> ScaledImage:
    """The upright image, decoded at least `zoom` times its indexed `shape` (height, width)."""
    height, width = int(shape[0]), int(shape[1])
    wanted = min(height, math.ceil(height * zoom)), min(width, math.ceil(width * zoom))
    source = read_scaled_image(path, wanted)
    if source.shape != (height, width):
        got = f"{source.shape[1]} x {source.shape[0]}"
        raise ImageError(f"{path}: got {got} pixels, expected {width} x {height} as when it was indexed.")
    return source
