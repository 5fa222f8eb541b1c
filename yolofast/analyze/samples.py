"""Chooses images with labels for a report while the dataset is read: a random few, and one of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolofast.analyze.box_batches import BoxBatch
from yolofast.types import LabelledSample

MAX_RANDOM = 12
MAX_RARE = 8
"""Classes with an example, the rarest first."""
_SEED = 0


class Samples:
    """Keeps the random images and one image of every class; the same dataset gives the same samples."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(_SEED)
        self._drawn: list[tuple[float, LabelledSample]] = []
        self._by_class: dict[int, LabelledSample] = {}

    def add(self, batch: BoxBatch) -> None:
        """Consider the images of a batch that have boxes.

        Every image draws a number, and those with the smallest numbers are kept.
        """
        numbers = self._random.random(len(batch.records))
        numbers[batch.counts == 0] = np.inf
        limit = self._drawn[-1][0] if len(self._drawn) == MAX_RANDOM else np.inf
        for image in np.flatnonzero(numbers < limit).tolist():
            self._drawn.append((float(numbers[image]), _sample(batch, image)))
        self._drawn = sorted(self._drawn, key=lambda drawn: drawn[0])[:MAX_RANDOM]
        classes, rows = np.unique(batch.classes, return_index=True)
        for label, row in zip(classes.tolist(), rows.tolist(), strict=True):
            if label not in self._by_class:
                self._by_class[label] = _sample(batch, int(batch.image[row]), label)

    def random(self) -> tuple[LabelledSample, ...]:
        """Up to `MAX_RANDOM` images with boxes, in the order in which they were drawn."""
        return tuple(sample for _, sample in self._drawn)

    def rarest(self, boxes: Sequence[int]) -> tuple[LabelledSample, ...]:
        """An image of each of the `MAX_RARE` rarest classes; `boxes` are the boxes per class."""
        order = sorted(self._by_class, key=lambda label: (boxes[label], label))
        return tuple(self._by_class[label] for label in order[:MAX_RARE])


def _sample(batch: BoxBatch, image: int, marked: int | None = None) -> LabelledSample:
    rows = slice(batch.first[image], batch.first[image + 1])
    return LabelledSample(
        batch.records[image].path, batch.boxes[rows].astype(np.float32), batch.classes[rows].copy(), marked
    )
