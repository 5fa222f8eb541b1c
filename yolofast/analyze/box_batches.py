"""Batches the boxes of several hundred images, so that checks and statistics are vectorised.

A NumPy call costs microseconds, and a dataset can have a hundred thousand images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolofast.types import ImageRecord

MAX_IMAGES = 512
MAX_BOXES = 65_536


@dataclass(frozen=True, slots=True)
class BoxBatch:
    """Columns over the boxes [N] and images [M] of some records.

    `boxes` float64 [N, 4] xyxy pixels, `classes` int64 [N] as the report numbers them, `lines` int64 [N],
    `image` int64 [N] the image of each box (ascending), `first` int64 [M + 1] the first box of each image,
    `sizes` float64 [M, 2] width, height, `splits` int64 [M].
    """

    records: tuple[ImageRecord, ...]
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    image: NDArray[np.int64]
    first: NDArray[np.int64]
    sizes: NDArray[np.float64]
    splits: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 [M], the number of boxes of each image."""
        return np.diff(self.first)


class BoxBatches:
    """Collects records; `use` is called with each full batch, and with the rest at `finish`."""

    def __init__(self, use: Callable[[BoxBatch], None]) -> None:
        self._use = use
        self._records: list[ImageRecord] = []
        self._classes: list[NDArray[np.int64]] = []
        self._splits: list[int] = []
        self._boxes = 0

    def add(self, record: ImageRecord, classes: NDArray[np.int64], split: int) -> None:
        """Add an image. `classes` are the classes of its boxes as the report numbers them."""
        self._records.append(record)
        self._classes.append(classes)
        self._splits.append(split)
        self._boxes += len(record.boxes)
        if len(self._records) >= MAX_IMAGES or self._boxes >= MAX_BOXES:
            self.finish()

    def finish(self) -> None:
        """Pass on the last batch."""
        records = tuple(self._records)
        if not records:
            return
        counts = np.array([len(r.boxes) for r in records], dtype=np.int64)
        self._use(
            BoxBatch(
                records,
                np.concatenate([r.boxes for r in records]),
                np.concatenate(self._classes),
                np.concatenate([r.lines for r in records]),
                np.repeat(np.arange(len(records)), counts),
                np.concatenate([[0], np.cumsum(counts)]),
                np.array([(r.width, r.height) for r in records], dtype=np.float64),
                np.array(self._splits, dtype=np.int64),
            )
        )
        self._records, self._classes, self._splits, self._boxes = [], [], [], 0


def near_duplicates(
    batch: BoxBatch, threshold: float, pixels: float, neighbours: int
) -> Iterator[tuple[int, int, float]]:
    """Pairs (earlier row, later row, IoU) of one image and class that are nearly the same box: IoU from
    `threshold` on, or an overlap and no side that differs by more than `pixels`.

    Each box is compared with the next `neighbours` by left edge, which bounds the time for thousands of boxes
    with the same edge. Each later row is reported once, with the first row that it repeats.
    """
    boxes = batch.boxes
    order = np.lexsort((boxes[:, 0], batch.classes, batch.image))
    ordered, group = boxes[order], np.stack([batch.image[order], batch.classes[order]])
    area = (ordered[:, 2] - ordered[:, 0]) * (ordered[:, 3] - ordered[:, 1])
    # IoU is at most the overlap of the two x ranges over their union: this bounds how far left edges differ.
    reach = ordered[:, 0] + np.maximum((ordered[:, 2] - ordered[:, 0]) * (1 / threshold - 1), pixels)
    alive = np.arange(len(ordered))
    found: dict[int, tuple[int, float]] = {}
    for step in range(1, neighbours + 1):
        alive = alive[alive + step < len(ordered)]
        other = alive + step
        near = (group[:, alive] == group[:, other]).all(axis=0) & (ordered[other, 0] <= reach[alive])
        alive, other = alive[near], other[near]
        if not len(alive):
            break
        sides = np.minimum(ordered[alive, 2:], ordered[other, 2:])
        sides -= np.maximum(ordered[alive, :2], ordered[other, :2])
        common = sides.clip(0).prod(axis=1)
        with np.errstate(invalid="ignore"):  # 0 / 0 where areas underflow: not a pair
            iou = common / (area[alive] + area[other] - common)
        close = (common > 0) & (np.abs(ordered[alive] - ordered[other]) <= pixels).all(axis=1)
        for k in np.flatnonzero((iou >= threshold) | close).tolist():
            first, later = sorted((int(order[alive[k]]), int(order[other[k]])))
            if later not in found or first < found[later][0]:
                found[later] = (first, float(iou[k]))
    for later in sorted(found):
        yield found[later][0], later, found[later][1]
