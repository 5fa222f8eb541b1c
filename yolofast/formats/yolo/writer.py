"""Label files as text, for many images at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

import numpy as np

from yolofast.types import ImageRecord

_ROW = "%d %.10g %.10g %.10g %.10g\n"
_EXPONENT = re.compile(r"\d(?:\.\d+)?e[-+]\d+")


@lru_cache(256)
def _rows(count: int) -> str:
    return _ROW * count


def label_texts(records: Sequence[ImageRecord]) -> list[str]:
    """The label file of each record: `class x y w h` a line, normalised, in ten significant digits."""
    counts = [len(record.classes) for record in records]
    if not any(counts):
        return [""] * len(records)
    boxes = np.concatenate([record.boxes for record in records])
    size = np.array([(record.width, record.height) for record in records], dtype=np.float64).repeat(
        counts, axis=0
    )
    values = np.empty((len(boxes), 5))
    values[:, 0] = np.concatenate([record.classes for record in records])
    values[:, 1:3] = (boxes[:, :2] + boxes[:, 2:]) / 2 / size
    values[:, 3:] = (boxes[:, 2:] - boxes[:, :2]) / size
    flat = values.ravel().tolist()
    texts, begin = [], 0
    for count in counts:
        end = begin + 5 * count
        text = _rows(count) % tuple(flat[begin:end])
        if "e" in text:  # below 0.0001; not every reader of labels takes exponents
            text = _EXPONENT.sub(lambda number: f"{Decimal(number[0]):f}", text)
        texts.append(text)
        begin = end
    return texts
