"""A few findings of each code together with the picture and the boxes they are about, for a report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.dataset import ReadImage
from yolofast.types import FaultExample, Finding

A_CODE = 6
"""Examples that are kept of each code."""
OTHER_BOXES = 200
"""Boxes that an example keeps beside those it is about."""
_NO_BOXES = np.zeros((0, 4), dtype=np.float32)
_NUMBER = r"(nan|-?(?:inf|[0-9]+(?:\.[0-9]+)?(?:e[-+][0-9]+)?))"
"""As `{:.6g}` writes it. Messages quote names and lines of other people's files, so nothing looser."""
_BOX = re.compile(rf"\bbox \({_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\)")


def box_in_message(message: str) -> NDArray[np.float32]:
    """The box that the box rules name in their messages, float32 [1, 4] xyxy pixels; [0, 4] without one.

    A row that is left out is nowhere else: it is in no record.
    """
    found = _BOX.search(message)
    if found is None:
        return _NO_BOXES
    box = np.array([found.groups()], dtype=np.float64)
    limit = np.finfo(np.float32).max
    return box.clip(-limit, limit).astype(np.float32) if np.isfinite(box).all() else _NO_BOXES


class Examples:
    """Keeps the first few findings of each code."""

    def __init__(self) -> None:
        self._kept: Counter[str] = Counter()
        self._examples: list[FaultExample] = []

    def add(
        self,
        finding: Finding,
        image: Path,
        bad: NDArray[np.float64 | np.float32] = _NO_BOXES,
        others: NDArray[np.float64 | np.float32] = _NO_BOXES,
    ) -> None:
        """Keep it, unless there are enough of its code. Boxes [N, 4] xyxy pixels."""
        if self._kept[finding.code] < A_CODE:
            self._kept[finding.code] += 1
            some = others[:OTHER_BOXES].astype(np.float32)
            self._examples.append(FaultExample(finding, image, bad.astype(np.float32), some))

    def add_image(self, item: ReadImage) -> None:
        """What a reader found about an image."""
        if item.image is None:
            return
        for finding in item.findings:
            if self._kept[finding.code] < A_CODE:
                others = item.record.boxes if item.record is not None else _NO_BOXES
                self.add(finding, item.image, box_in_message(finding.message), others)

    def result(self) -> tuple[FaultExample, ...]:
        """All examples, in the order of their coming."""
        return tuple(self._examples)
