"""ConfusionMatrix: which classes are mistaken for each other, false positives on background, and misses.

AP judges each class alone; that a dog is called a cat shows only here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.evaluate.coco_columns import Columns, columns_of
from yolofast.evaluate.plots import plot_confusion
from yolofast.kernels import box_iou
from yolofast.types import Detections


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of the rows of some `Columns`, in their order.

    A detection below the confidence threshold, or in a crowd, is neither right nor wrong.
    """

    right: NDArray[np.bool_]
    """[N] detections paired with a ground truth of their class."""
    wrong: NDArray[np.bool_]
    """[N] detections without an object, or of another class than theirs."""
    missed: NDArray[np.bool_]
    """[M] ground truths that no detection of their class is paired with."""


class ConfusionMatrix:
    """Counts pairs of predicted and true classes at one confidence threshold and one IoU threshold.

    Detections and ground truths of an image are paired regardless of class: pairs whose IoU is above
    `iou` are taken by descending IoU, each detection and each ground truth once. Ties in IoU go to the pair
    whose classes agree, then to the higher score, the earlier detection, and the earlier ground truth.

    Args:
        class_names: one per class, C of them.
        conf: confidence threshold; only detections with a score above it count; 0 to 1.
        iou: IoU threshold above which a detection and a ground truth may be paired; 0 to 1.

    Raises:
        ValueError: there are no classes, or `conf` or `iou` is outside 0 to 1.
    """

    def __init__(self, class_names: Sequence[str], conf: float = 0.25, iou: float = 0.45) -> None:
        names = tuple(map(str, class_names))
        if not names:
            raise ValueError("class_names is empty; expected at least one class")
        if not (0 <= conf <= 1 and 0 <= iou <= 1):
            raise ValueError(f"conf is {conf} and iou is {iou}; expected both in 0..1")
        self.class_names = names
        self.conf = conf
        self.iou = iou
        self.matrix: NDArray[np.int64] = np.zeros((len(names) + 1, len(names) + 1), np.int64)
        """int64 [C + 1, C + 1]: rows are predicted classes, columns true classes, background last.
        `matrix[k, C]` counts detections of class k without an object, `matrix[C, k]` missed objects."""

    def update(
        self,
        detections: Detections | Sequence[Detections],
        gt_boxes: ArrayLike,
        gt_classes: ArrayLike,
        gt_crowd: ArrayLike | None = None,
        *,
        gt_images: ArrayLike | None = None,
    ) -> ConfusionMatrix:
        """Add a batch of images, or one.

        Args:
            detections: of each of B images; boxes in the pixels of `gt_boxes`. A single `Detections` is
                one image.
            gt_boxes: [M, 4] xyxy pixels, of all images.
            gt_classes: whole numbers [M].
            gt_crowd: bool [M]; a crowd region is never missed, and an unpaired detection does not count
                when more than the share `iou` of its area lies in one crowd.
            gt_images: whole numbers [M], the index in the batch of each box's image, 0 to B - 1. Required
                when B is not 1.

        Returns:
            This object.

        Raises:
            DataError: a class is outside 0 .. C-1.
            ValueError: shapes do not fit, or a score is NaN. Nothing is added then.
            TypeError: classes or images are not whole numbers.

        Degenerate boxes: a box with a NaN, or without area, is never paired.
        """
        self.add_columns(
            columns_of(
                detections,
                gt_boxes,
                gt_classes,
                gt_crowd,
                gt_images=gt_images,
                num_classes=len(self.class_names),
            )
        )
        return self

    def add_columns(self, columns: Columns) -> Judgement:
        """Add images given as columns, as `update` does; says what became of each row. Areas do not matter.

        Raises ValueError for a score that is NaN.
        """
        if np.isnan(columns.dt_scores).any():
            raise ValueError("a score is NaN; expected numbers")
        background = len(self.class_names)
        counts = columns.dt_scores > self.conf
        dt, gt = self._pairs(columns, counts)
        np.add.at(self.matrix, (columns.dt_classes[dt], columns.gt_classes[gt]), 1)
        agree = columns.dt_classes[dt] == columns.gt_classes[gt]
        right, confused = np.zeros_like(counts), np.zeros_like(counts)
        right[dt[agree]], confused[dt[~agree]] = True, True
        counts[dt] = False
        counts[self._in_crowd(columns, np.flatnonzero(counts))] = False
        missed = ~columns.gt_crowd
        missed[gt] = False
        self.matrix[:, background] += np.bincount(columns.dt_classes[counts], minlength=background + 1)
        self.matrix[background] += np.bincount(columns.gt_classes[missed], minlength=background + 1)
        missed[gt[~agree]] = True
        return Judgement(right, confused | counts, missed)

    def _pairs(
        self, columns: Columns, counts: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the paired detections and of the ground truths they are paired with."""
        rows_dt, rows_gt, overlaps = [], [], []
        for dt, gt in _images(columns, counts, ~columns.gt_crowd):
            iou = box_iou(_xyxy(columns.dt_boxes[dt]), _xyxy(columns.gt_boxes[gt]))
            near_dt, near_gt = np.nonzero(iou > self.iou)
            rows_dt.append(dt[near_dt])
            rows_gt.append(gt[near_gt])
            overlaps.append(iou[near_dt, near_gt])
        if not overlaps:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        dt, gt = np.concatenate(rows_dt), np.concatenate(rows_gt)
        differ = columns.dt_classes[dt] != columns.gt_classes[gt]
        order = np.lexsort((gt, dt, -columns.dt_scores[dt], differ, -np.concatenate(overlaps)))
        return _greedy_pairs(dt[order], gt[order])

    def _in_crowd(self, columns: Columns, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """The detections among `rows` with more than the share `iou` of their area in one crowd."""
        counts = np.zeros(len(columns.dt_scores), np.bool_)
        counts[rows] = True
        inside = [
            dt[(_share_inside(columns.dt_boxes[dt], columns.gt_boxes[gt]) > self.iou).any(axis=1)]
            for dt, gt in _images(columns, counts, columns.gt_crowd)
        ]
        return np.concatenate(inside) if inside else np.empty(0, np.intp)

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add the counts of `other` (another process's share of a dataset), and return this object.

        Raises:
            ValueError: `other` has other classes, another `conf` or another `iou`.
        """
        own = (self.class_names, self.conf, self.iou)
        if (other.class_names, other.conf, other.iou) != own:
            raise ValueError(
                f"cannot merge a matrix of {len(other.class_names)} classes, conf {other.conf} and iou "
                f"{other.iou} into one of {len(self.class_names)} classes, conf {self.conf} and iou "
                f"{self.iou}; expected the same classes and settings"
            )
        self.matrix += other.matrix
        return self

    @property
    def thresholds(self) -> str:
        """The settings in words: 'confidence 0.25 and IoU 0.45'."""
        return f"confidence {self.conf:g} and IoU {self.iou:g}"

    def to_dict(self) -> dict[str, Any]:
        """The counts and the settings they were taken at, as JSON values; `classes` ends with background."""
        return {
            "confidence": self.conf,
            "iou": self.iou,
            "classes": [*self.class_names, "background"],
            "counts": self.matrix.tolist(),
        }

    def plot(self, path: str | Path, normalize: bool = True) -> Path:
        """Plot the matrix as a PNG; `normalize` shows each column's shares instead of counts.

        Raises `MissingExtraError` without matplotlib and `DataError` when `path` cannot be written.
        """
        shown = "Confusion matrix" if normalize else "Confusion matrix (counts)"
        return plot_confusion(
            self.matrix,
            self.class_names,
            path,
            normalize=normalize,
            title=f"{shown} at {self.thresholds}",
        )


def _images(
    columns: Columns, selected_dt: NDArray[np.bool_], selected_gt: NDArray[np.bool_]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows of the selected detections and ground truths of each image that has both."""
    dt, gt = np.flatnonzero(selected_dt), np.flatnonzero(selected_gt)
    dt_cuts, gt_cuts = np.searchsorted(dt, columns.dt_offsets), np.searchsorted(gt, columns.gt_offsets)
    both = np.flatnonzero((np.diff(dt_cuts) > 0) & (np.diff(gt_cuts) > 0))
    return [(dt[dt_cuts[i] : dt_cuts[i + 1]], gt[gt_cuts[i] : gt_cuts[i + 1]]) for i in both.tolist()]


def _greedy_pairs(dt: NDArray[np.intp], gt: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs that greedy matching takes, from pairs in order of precedence; no row is taken twice.

    A pair that is the first of both its detection and its ground truth is certain to be taken, so each
    round takes all of these at once.
    """
    taken_dt, taken_gt = [], []
    while len(dt):
        first_dt, first_gt = (np.zeros(len(dt), np.bool_) for _ in range(2))
        first_dt[np.unique(dt, return_index=True)[1]] = True
        first_gt[np.unique(gt, return_index=True)[1]] = True
        taken = first_dt & first_gt
        taken_dt.append(dt[taken])
        taken_gt.append(gt[taken])
        left = ~(np.isin(dt, dt[taken]) | np.isin(gt, gt[taken]))
        dt, gt = dt[left], gt[left]
    return np.concatenate([dt, *taken_dt]), np.concatenate([gt, *taken_gt])


def _xyxy(ltwh: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1)


def _share_inside(boxes: NDArray[np.float64], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each box's area in each region, float64 [N, R]; NaN without area. Boxes are ltwh."""
    a, b = _xyxy(boxes)[:, None], _xyxy(regions)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shares: NDArray[np.float64] = sides.clip(0).prod(axis=-1) / boxes[:, 2:].prod(axis=1)[:, None]
    return shares
