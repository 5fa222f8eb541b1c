"""A batch of images in memory, with the pixels that PNG files of them give through `image_batches`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.config import MODEL_STRIDE
from yolofast.config_fields import at_least
from yolofast.kernels import render
from yolofast.load.execute._engine import array_picture, checked_image
from yolofast.load.plan.letterboxed import plan_letterbox


def array_batch(
    images: Sequence[NDArray[np.uint8]],
    *,
    imgsz: int,
    rect: bool = False,
    stride: int = MODEL_STRIDE,
    pad: float = 0.5,
) -> NDArray[np.uint8]:
    """Images in memory, letterboxed: bit for bit what `image_batches` makes of PNG files of them.

    images  uint8 [H, W, 3] RGB each, of any sizes; at least one
    imgsz   side of the square images in pixels, with `rect` the longer side before padding
    rect    one shape, just large enough for these images; `stride` and `pad` as in `image_batches`

    Returns uint8 [B, 3, H, W] RGB. Raises `ConfigError` for a setting out of range, `ValueError` for an
    image that is none of these.
    """
    at_least(imgsz=(imgsz, 1), stride=(stride, 1), pad=(pad, 0))
    if not len(images):
        raise ValueError("images is empty; expected at least one image")
    whole = [checked_image(image) for image in images]
    sides = np.array([image.shape[:2] for image in whole], np.int32)
    plan, decode_side = plan_letterbox(sides, imgsz, rect=rect, stride=stride, pad=pad)
    return render(plan, [array_picture(image, decode_side) for image in whole])
