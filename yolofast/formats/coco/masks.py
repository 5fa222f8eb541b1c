"""The box around a COCO segmentation: polygons, or a run-length encoded mask.

For annotations that have a mask and no usable `bbox`, as several converters write them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

from yolofast.formats.values import is_number

_MAX_SIDE = 1 << 20
"""A mask with a longer side is refused: it is no mask of an image."""


def mask_box(segmentation: object) -> list[float] | None:
    """`[x, y, width, height]` in pixels around a segmentation; None when it is empty or in no known form.

    Polygons `[[x1, y1, x2, y2, ...], ...]`, also one polygon alone, or with points as pairs; or `{"size":
    [height, width], "counts": ...}` with counts as numbers or as COCO's compressed text.
    """
    if isinstance(segmentation, dict):
        return _run_length_box(segmentation.get("counts"), segmentation.get("size"))
    if not isinstance(segmentation, list) or not segmentation:
        return None
    if all(map(is_number, segmentation)):
        return _around([segmentation])
    if not all(isinstance(part, list) and all(map(is_number, part)) for part in segmentation):
        return None
    if len(segmentation) > 2 and all(len(part) == 2 for part in segmentation):  # points as pairs
        return _around([list(chain.from_iterable(segmentation))])
    return _around([part for part in segmentation if part])


def _around(polygons: Sequence[Sequence[float]]) -> list[float] | None:
    if not polygons or any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
        return None
    try:
        xs = [float(x) for polygon in polygons for x in polygon[0::2]]
        ys = [float(y) for polygon in polygons for y in polygon[1::2]]
    except OverflowError:  # an integer of hundreds of digits
        return None
    if not all(map(math.isfinite, chain(xs, ys))):
        return None
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _run_length_box(counts: object, size: object) -> list[float] | None:
    """The box of a mask that is stored column by column, as runs of 0 and 1 in turn, beginning with 0."""
    if not isinstance(size, list) or len(size) != 2 or not all(_is_side(side) for side in size):
        return None
    height, width = size
    runs: Iterable[int] | None
    if isinstance(counts, str):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(type(run) is int for run in counts):
        runs = counts
    else:
        return None
    left, top, right, bottom = width, height, 0, 0
    begin = 0
    for number, run in enumerate(runs or ()):
        end = begin + run
        if run < 0 or end > height * width:
            return None
        if number % 2 and run:
            first, last = begin // height, (end - 1) // height
            left, right = min(left, first), max(right, last + 1)
            whole = last > first  # a run over a column's end touches the last row and the first
            top = min(top, 0 if whole else begin % height)
            bottom = max(bottom, height if whole else (end - 1) % height + 1)
        begin = end
    return [left, top, right - left, bottom - top] if right else None


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value <= _MAX_SIDE


def _decompressed(text: str) -> list[int] | None:
    """The runs of COCO's compressed counts: 5 bits per character, and differences from the run two before."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 50:
            return None
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs if not shift else None
