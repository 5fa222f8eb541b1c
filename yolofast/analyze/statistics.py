"""Statistics of a dataset, accumulated batch by batch in small arrays."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from yolofast.analyze.box_batches import BoxBatch
from yolofast.formats.splits import SPLITS
from yolofast.types import DatasetStatistics, Histogram

SPLIT_ROWS = (*SPLITS, "none")
CELLS = 32
MIN_SHARE = 0.001
MAX_SIZES = 64
MAX_BINS = 24
"""Bins of the histogram of boxes per image."""
ASPECT_EDGES = 2.0 ** np.arange(-4, 4.25, 0.25)
AREA_NAMES = ("small", "medium", "large")
_AREA_EDGES = (32.0**2, 96.0**2)
_INPUT_SIDE = 640


class StatisticsCounter:
    """Accumulates statistics over the valid images and boxes of a dataset."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._images = np.zeros(len(SPLIT_ROWS), dtype=np.int64)
        self._classes = np.zeros((len(SPLIT_ROWS), len(names)), dtype=np.int64)
        self._per_image = np.zeros(1, dtype=np.int64)  # number of images with 0, 1, 2, ... boxes
        self._sizes = np.zeros((CELLS, CELLS), dtype=np.int64)
        self._centres = np.zeros((CELLS, CELLS), dtype=np.int64)
        self._aspects = np.zeros(len(ASPECT_EDGES) - 1, dtype=np.int64)
        self._areas = np.zeros((2, len(AREA_NAMES)), dtype=np.int64)
        self._empty = 0
        self._widths = array("i")
        self._heights = array("i")

    def add_image_size(self, width: int, height: int) -> None:
        """Add a readable image, with or without labels."""
        self._widths.append(width)
        self._heights.append(height)

    def add(self, batch: BoxBatch) -> None:
        """Add the boxes of a batch of images."""
        self._images += np.bincount(batch.splits, minlength=len(SPLIT_ROWS))
        per_image = np.bincount(batch.counts, minlength=len(self._per_image))
        per_image[: len(self._per_image)] += self._per_image
        self._per_image = per_image
        self._empty += int((batch.counts == 0).sum())
        cell = batch.splits[batch.image] * len(self._names) + batch.classes
        self._classes += _counts(cell, self._classes)
        size = batch.sizes[batch.image]
        sides = batch.boxes[:, 2:] - batch.boxes[:, :2]
        x, y = ((batch.boxes[:, :2] + sides / 2) / size * CELLS).astype(np.int64).clip(0, CELLS - 1).T
        self._centres += _counts(y * CELLS + x, self._centres)
        share = (sides / size).clip(MIN_SHARE, 1)
        column, row = _log_cell(share).T
        self._sizes += _counts(row * CELLS + column, self._sizes)
        aspect = np.searchsorted(ASPECT_EDGES, sides[:, 0] / sides[:, 1], "right") - 1
        self._aspects += _counts(aspect, self._aspects)
        area = sides.prod(axis=1)
        scaled = area * (_INPUT_SIDE / size.max(axis=1)) ** 2
        for row_of_areas, values in zip(self._areas, (area, scaled), strict=True):
            row_of_areas += _counts(np.searchsorted(_AREA_EDGES, values, "right"), row_of_areas)

    def result(self) -> DatasetStatistics:
        """The statistics so far."""
        sides = np.array([self._widths, self._heights], dtype=np.int64).reshape(2, -1)
        sizes, how_many = np.unique(sides, axis=1, return_counts=True)
        common = np.argsort(-how_many, kind="stable")[:MAX_SIZES]
        aspects = np.searchsorted(ASPECT_EDGES, sides[0] / sides[1], "right") - 1
        present = np.flatnonzero(self._images)
        return DatasetStatistics(
            images=int(self._images.sum()),
            boxes=int(self._classes.sum()),
            empty_images=self._empty,
            class_names=self._names,
            split_names=tuple(SPLIT_ROWS[i] for i in present),
            split_images=tuple(self._images[present].tolist()),
            class_boxes=self._classes[present],
            boxes_per_image=_equal_bins(self._per_image),
            box_sizes=self._sizes,
            box_size_edges=np.geomspace(MIN_SHARE, 1, CELLS + 1),
            box_centres=self._centres,
            box_aspects=Histogram(ASPECT_EDGES, self._aspects),
            boxes_by_area=dict(zip(AREA_NAMES, self._areas[0].tolist(), strict=True)),
            boxes_by_area_at_640=dict(zip(AREA_NAMES, self._areas[1].tolist(), strict=True)),
            image_aspects=Histogram(ASPECT_EDGES, _counts(aspects, self._aspects)),
            image_sides={
                name: _min_median_max(values) for name, values in zip(("width", "height"), sides, strict=True)
            },
            image_sizes=tuple((int(sizes[0, i]), int(sizes[1, i]), int(how_many[i])) for i in common),
            distinct_image_sizes=len(how_many),
        )

    def long_side_spread(self) -> tuple[float, float]:
        """The 5th and 95th percentile of the long sides of the images in pixels; 1, 1 without images."""
        if not self._widths:
            return 1.0, 1.0
        low, high = np.percentile(np.maximum(self._widths, self._heights), (5, 95))
        return float(low), float(high)


def _equal_bins(images: NDArray[np.int64]) -> Histogram:
    """A histogram of boxes per image; `images` [K] counts the images with 0 to K - 1 boxes.

    All bins have the same width. If fewer than 1 % of the images have more than twice as many boxes as all
    others, one more bin holds these.
    """
    most = len(images) - 1
    usual = int(np.searchsorted(np.cumsum(images), 0.99 * images.sum()))
    end = most if most <= 2 * usual else max(usual, 1)
    widths = (n * 10**power for power in itertools.count() for n in (1, 2, 5))
    width = next(width for width in widths if end < MAX_BINS * width)
    edges = np.arange(0, end + width + 1, width)
    if most >= edges[-1]:
        edges = np.append(edges, most + 1)
    return Histogram(edges.astype(np.float64), np.add.reduceat(images, edges[:-1]))


def _counts(cells: NDArray[np.int64], like: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each cell of `like` occurs among flat indices; those out of range count in the end cells."""
    flat = np.bincount(cells.clip(0, max(like.size - 1, 0)), minlength=like.size)
    return np.asarray(flat.reshape(like.shape), dtype=np.int64)


def _log_cell(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell of each share on the logarithmic axis."""
    position: NDArray[np.float64] = np.log(share / MIN_SHARE) / -np.log(MIN_SHARE)
    return (position * CELLS).astype(np.int64).clip(0, CELLS - 1)


def _min_median_max(values: NDArray[np.int64]) -> tuple[int, int, int]:
    if not len(values):
        return 0, 0, 0
    return int(values.min()), int(np.median(values)), int(values.max())
