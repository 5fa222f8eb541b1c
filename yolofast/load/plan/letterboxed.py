"""The plan of images that are only letterboxed, one after the other: what prediction shows the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolofast.load.plan.plan import plan_batch
from yolofast.load.plan.sizes import FixedSize, RectangularSizes
from yolofast.types import BatchPlan


def plan_letterbox(
    sides: NDArray[np.int32], imgsz: int, *, rect: bool, stride: int, pad: float
) -> tuple[BatchPlan, int]:
    """A batch of all images of `sides` int32 [B, 2], upright (height, width), without augmentation.

    imgsz  side of the square output in pixels, with `rect` the longer side before padding
    rect   an output just large enough for these images: see `RectangularSizes`, also for `stride` and `pad`

    Returns (the plan, the longer side in pixels at which a decoded image serves it).
    """
    order = np.arange(len(sides), dtype=np.int64)
    sizes = RectangularSizes(sides, order, imgsz, stride, pad, len(order)) if rect else FixedSize(imgsz)
    return plan_batch(order, order, sides, sizes.at(0, 0), None, seed=0, epoch=0), sizes.largest
