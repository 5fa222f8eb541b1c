"""Where a picture goes in a letterbox, also when only a reduced version of it was decoded."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolofast.types import Letterbox


def target_size(size: Any) -> tuple[int, int]:
    """(height, width) of a target given as a side or as both, at least 1. Raises `ValueError` for others."""
    sides = size if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or any(not isinstance(side, int | np.integer) or side < 1 for side in sides):
        raise ValueError(f"size is {size!r}; expected a side in pixels or (height, width), at least 1")
    return int(sides[0]), int(sides[1])


def placement(name: str, shape: tuple[int, int], target: tuple[int, int], source: Any) -> Letterbox:
    """The placement in `target` of the image `name` of `shape`, all (height, width).

    `source` is the size of the picture that the image is a reduced version of; None when it is no such.

    Raises:
        ValueError: `source` is no size, or of another aspect ratio than a decoder's reduction would have.
    """
    if source is None:
        return Letterbox.fit(shape, target)
    try:
        height, width = (int(side) for side in source)
    except (TypeError, ValueError):
        height = width = 0
    # A reduced side is rounded up by less than a pixel.
    if min(height, width) < 1 or abs(shape[0] * width - shape[1] * height) >= max(height, width):
        raise ValueError(
            f"source is {source!r} for {name} of {shape[0]} x {shape[1]}; expected (height, width) of the "
            "whole upright picture that it is a reduced version of, such as jpeg_info(data).shape"
        )
    return Letterbox.fit((height, width), target)
