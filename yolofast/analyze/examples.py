"""Collects a few findings of each code with their image and boxes, for a report."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.dataset import ReadImage
from yolofast.types import FaultExample, Finding

MAX_PER_CODE = 6
"""Examples kept per code."""
MAX_OTHER_BOXES = 200
"""Boxes of an example besides those that its finding is about."""
_NO_BOXES = np.zeros((0, 4), dtype=np.float32)
_NUMBER = r"(nan|-?(?:inf|[0-9]+(?:\.[0-9]+)?(?:e[-+][0-9]+)?))"
"""As `{:.6g}` writes it; strict, because messages quote names and lines of users' files."""
_BOX = re.compile(rf"\bbox \({_NUMBER}, {_NUMBER}, {_NUMBER}, {_NUMBER}\)")


def box_in_message(message: str) -> NDArray[np.float32]:
    """The box in a message of the box rules, float32 [1, 4] xyxy pixels; [0, 4] when there is none.

    A dropped row is in no record, so its message is the only source of its box.
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
        """Keep a finding, unless there are enough of its code. Boxes [N, 4] xyxy pixels."""
        if self._kept[finding.code] < MAX_PER_CODE:
            self._kept[finding.code] += 1
            some = others[:MAX_OTHER_BOXES].astype(np.float32)
            self._examples.append(FaultExample(finding, image, bad.astype(np.float32), some))

    def add_image(self, item: ReadImage) -> None:
        """Keep the findings of a reader about an image."""
        if item.image is None:
            return
        for finding in item.findings:
            if self._kept[finding.code] < MAX_PER_CODE:
                others = item.record.boxes if item.record is not None else _NO_BOXES
                self.add(finding, item.image, box_in_message(finding.message), others)

    def result(self) -> tuple[FaultExample, ...]:
        """All examples, in the order in which they were added."""
        return tuple(self._examples)
