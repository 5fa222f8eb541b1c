"""From the bytes of a JPEG to a letterboxed image in one call, decoded no larger than needed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels._image import letterbox
from yolofast.kernels._jpeg import decode_jpeg, jpeg_info
from yolofast.kernels.placements import target_size
from yolofast.types import Letterbox


def decode_letterbox(
    data: Any,
    size: int | tuple[int, int],
    *,
    fill: int = 114,
    layout: Literal["hwc", "chw"] = "hwc",
    salvage: bool = False,
    out: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.uint8], Letterbox]:
    """Decode a JPEG at the smallest scale that covers the target, and letterbox it.

    The picture is turned upright, and the placement is that of the whole upright picture, whatever scale it
    was decoded at: `to_source` gives boxes in its pixels.

    Args:
        data: the file's bytes, as `decode_jpeg` takes them.
        size: side of a square target, or (height, width), in pixels.
        fill, layout, out: as for `letterbox`.
        salvage: as for `decode_jpeg`.

    Returns:
        (uint8 [h, w, 3] or [3, h, w] RGB, `Letterbox`).

    Raises:
        ImageError: as `decode_jpeg`.
        ValueError, TypeError: wrong arguments.
    """
    inner = Letterbox.fit(jpeg_info(data).shape, target_size(size)).inner
    image = decode_jpeg(data, min_size=inner, salvage=salvage)
    return letterbox(image, size, fill=fill, layout=layout, out=out)
