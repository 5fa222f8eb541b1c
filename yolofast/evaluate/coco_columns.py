"""Detections and ground truth of many images as columns, and multi-threaded matching of the two."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.errors import DataError
from yolofast.evaluate.coco_curves import AREA_RANGES, in_threads
from yolofast.kernels import _coco, xyxy_to_ltwh
from yolofast.kernels.matching import IOU_THRESHOLDS
from yolofast.types import Detections

_MIN_DETECTIONS_PER_PART = 5000
"""A batch is split among threads only into parts of at least this many detections."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Boxes of B images, sorted by image: the input of `CocoMetrics.add_columns`.

    N detections (`dt`) and M ground truths (`gt`). Boxes are float64 [N or M, 4] left, top, width, height in
    pixels; scores and areas float64, classes int32, crowd and counts bool. The rows of image i are
    `offsets[i] : offsets[i + 1]`, int64 [B + 1]. A ground truth that does not count is ignored.
    """

    dt_boxes: NDArray[np.float64]
    dt_scores: NDArray[np.float64]
    dt_classes: NDArray[np.int32]
    dt_offsets: NDArray[np.int64]
    gt_boxes: NDArray[np.float64]
    gt_classes: NDArray[np.int32]
    gt_areas: NDArray[np.float64]
    gt_crowd: NDArray[np.bool_]
    gt_counts: NDArray[np.bool_]
    gt_offsets: NDArray[np.int64]

    def images(self, first: int, last: int) -> Columns:
        """The images `first` up to but not including `last`."""
        dt = slice(self.dt_offsets[first], self.dt_offsets[last])
        gt = slice(self.gt_offsets[first], self.gt_offsets[last])
        return Columns(
            self.dt_boxes[dt],
            self.dt_scores[dt],
            self.dt_classes[dt],
            self.dt_offsets[first : last + 1] - self.dt_offsets[first],
            self.gt_boxes[gt],
            self.gt_classes[gt],
            self.gt_areas[gt],
            self.gt_crowd[gt],
            self.gt_counts[gt],
            self.gt_offsets[first : last + 1] - self.gt_offsets[first],
        )


def offsets_of(images: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Offsets int64 [count + 1] of `count` images in rows sorted by image; `images` is int64 [rows]."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(images, minlength=count), out=offsets[1:])
    return offsets


def columns_of(
    detections: Detections | Sequence[Detections],
    gt_boxes: ArrayLike,
    gt_classes: ArrayLike,
    gt_crowd: ArrayLike | None = None,
    *,
    gt_images: ArrayLike | None = None,
    gt_areas: ArrayLike | None = None,
    num_classes: int,
) -> Columns:
    """A batch of images as columns, checked; arguments and errors are those of `CocoMetrics.update`."""
    images = [detections] if isinstance(detections, Detections) else list(detections)
    for given in (detections, *images) if isinstance(detections, Mapping) else images:
        if not isinstance(given, Detections):
            raise TypeError(
                f"detections: got a {type(given).__name__}; expected Detections(boxes, scores, classes), or "
                "a list with one for each image"
            )
    count = len(images)
    gt = _ltwh("gt_boxes", gt_boxes)
    labels = column("gt_classes", gt_classes, np.int64, len(gt))
    gt_index = column("gt_images", gt_images, np.int64, len(gt))
    if gt_images is None and count != 1:
        raise ValueError(f"got {count} images without gt_images; expected the image of each ground truth")
    if len(gt_index) and not 0 <= gt_index.min() <= gt_index.max() < count:
        raise ValueError(f"gt_images are {gt_index.min()} to {gt_index.max()}; expected 0 to {count - 1}")
    areas = gt[:, 2] * gt[:, 3] if gt_areas is None else column("gt_areas", gt_areas, np.float64, len(gt))
    crowd = column("gt_crowd", gt_crowd, np.bool_, len(gt))
    if (np.diff(gt_index) < 0).any():
        order = np.argsort(gt_index, kind="stable")
        gt, labels, gt_index, areas, crowd = (a[order] for a in (gt, labels, gt_index, areas, crowd))
    for index, found in enumerate(images):
        counts = (len(found.boxes), len(found.scores), len(found.classes))
        if len(set(counts)) > 1:
            raise ValueError(
                f"image {index} of the batch has {counts[0]} boxes, {counts[1]} scores and {counts[2]} "
                "classes; expected equally many"
            )
    boxes = _ltwh("boxes", _joined([d.boxes for d in images], (0, 4)))
    scores = column("scores", _joined([d.scores for d in images], (0,)), np.float64, len(boxes))
    classes = column("classes", _joined([d.classes for d in images], (0,)), np.int64, len(boxes))
    return Columns(
        boxes,
        scores,
        _known_classes("a detection", classes, num_classes),
        np.cumsum([0, *(len(d.scores) for d in images)], dtype=np.int64),
        gt,
        _known_classes("a label", labels, num_classes),
        areas,
        crowd,
        np.ones(len(gt), np.bool_),
        offsets_of(gt_index, count),
    )


def _ltwh(name: str, boxes: ArrayLike) -> NDArray[np.float64]:
    """xyxy [N, 4] to left, top, width, height in float64."""
    array = np.asarray(boxes)
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} has shape {array.shape}; expected [N, 4] (x1, y1, x2, y2)")
    ltwh: NDArray[np.float64] = xyxy_to_ltwh(array.astype(np.float64, copy=False))
    return ltwh


def column(name: str, values: ArrayLike | None, dtype: type[Any], count: int) -> NDArray[Any]:
    """`values` as an array [count] of `dtype`; zeros for None. Raises as `CocoMetrics.update` does."""
    array = np.zeros(count, dtype) if values is None else np.asarray(values).reshape(-1)
    if array.shape != (count,):
        raise ValueError(f"{name} has {len(array)} values; expected {count}, one per box")
    if dtype is np.int64 and array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} has dtype {array.dtype}; expected whole numbers: convert with .astype(int)")
    return array.astype(dtype, copy=False)


def _known_classes(what: str, classes: NDArray[np.int64], num_classes: int) -> NDArray[np.int32]:
    if len(classes) and not 0 <= classes.min() <= classes.max() < num_classes:
        wrong = classes[(classes < 0) | (classes >= num_classes)][0]
        raise DataError(
            f"{what} has class {wrong}; expected 0 to {num_classes - 1}: check the dataset's class names"
        )
    return classes.astype(np.int32)


def _joined(arrays: Sequence[NDArray[Any]], empty: tuple[int, ...]) -> NDArray[Any]:
    """`arrays` concatenated; without any row an integer array of shape `empty`, which suits classes too."""
    filled = [array for array in arrays if len(array)]
    return np.concatenate(filled) if filled else np.empty(empty, np.int64)


class MatchedImages(NamedTuple):
    """The result of matching consecutive images; see `_coco.match_images`."""

    matched: NDArray[np.void]
    """[D] records, one per detection that counts, image by image: class, score, rank and match bits."""
    offsets: NDArray[np.int64]
    positives: NDArray[np.int64]
    """[C, A] ground truths that count, per class and area range."""
    images_with: NDArray[np.int64]
    """[C] images with ground truth of the class."""


def match(columns: Columns, num_classes: int, max_det: int, threads: int) -> list[MatchedImages]:
    """Match all images on up to `threads` threads; results are in the images' order."""

    def run(part: tuple[int, int]) -> MatchedImages:
        own = columns.images(*part)
        return MatchedImages(
            *_coco.match_images(
                own.dt_boxes,
                own.dt_scores,
                own.dt_classes,
                own.dt_offsets,
                own.gt_boxes,
                own.gt_classes,
                own.gt_areas,
                own.gt_crowd,
                own.gt_counts,
                own.gt_offsets,
                thresholds=IOU_THRESHOLDS,
                areas=AREA_RANGES,
                max_det=max_det,
                num_classes=num_classes,
            )
        )

    return in_threads(run, _balanced_parts(columns.dt_offsets, threads), threads)


def _balanced_parts(offsets: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Ranges of images with about equally many detections; more than threads, because some take longer."""
    images, rows = len(offsets) - 1, int(offsets[-1])
    parts = min(4 * threads, images, rows // _MIN_DETECTIONS_PER_PART) if threads > 1 else 1
    cuts = np.searchsorted(offsets, np.linspace(0, rows, max(parts, 1) + 1)[1:-1]).tolist()
    edges = sorted({0, *cuts, images})
    return list(itertools.pairwise(edges))
