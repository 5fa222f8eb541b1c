"""mAP by the COCO definition, gathered image by image: the figures every detector is judged by.

Detections are matched when they arrive; of each only its class, score and one bit a threshold stay,
12 bytes with float32 scores (16 with float64, which are kept as they are). The accumulation follows
pycocotools operation by operation, vectorised over thresholds, and equals its `precision` array to
the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.errors import DataError
from yolofast.kernels.matching import IOU_THRESHOLDS, match_detections
from yolofast.types import ClassMetrics, Detections, Metrics

RECALL_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
_BITS = np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)
_LARGEST_AREA = 1e10
"""The upper end of COCO's area range 'all', in square pixels."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The detections of one image or class, K of them; bit t of the flags belongs to threshold t."""

    classes: NDArray[np.int32]
    scores: NDArray[np.floating[Any]]
    right: NDArray[np.uint16]
    ignored: NDArray[np.uint16]

    def take(self, index: NDArray[np.int64] | slice) -> _Found:
        return _Found(self.classes[index], self.scores[index], self.right[index], self.ignored[index])


@dataclass(frozen=True, slots=True)
class _OperatingPoint:
    """What the classes reach at one score threshold, arrays [num_classes], NaN without ground truth."""

    confidence: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def _pack(flags: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """bool [T, K] to one number a detection."""
    packed: NDArray[np.uint16] = (flags.astype(np.uint16) << _BITS[:, None]).sum(axis=0, dtype=np.uint16)
    return packed


def _unpack(flags: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """One number a detection to bool [T, K]."""
    return (flags >> _BITS[:, None] & 1).astype(np.bool_)


def _ltwh(boxes: ArrayLike, count: int) -> NDArray[np.float64]:
    """xyxy [N, 4] to left, top, width, height in float64."""
    array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if len(array) != count:
        raise ValueError(f"got {len(array)} boxes and {count} classes; expected one class a box")
    return np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], axis=1)


def _outside_all(ltwh: NDArray[np.float64]) -> NDArray[np.bool_]:
    area = ltwh[:, 2] * ltwh[:, 3]
    outside: NDArray[np.bool_] = (area < 0) | (area > _LARGEST_AREA)
    return outside


def _interpolated_precision(found: _Found, boxes: int) -> NDArray[np.float64]:
    """Precision [T, 101] at the recall points; `found` in descending score, `boxes` > 0 ground truths.

    The best precision at this recall or a larger one, 0 beyond the largest recall reached (COCO).
    """
    ignored = _unpack(found.ignored)
    tp = np.cumsum(_unpack(found.right), axis=1).astype(np.float64)
    fp = np.cumsum(~(_unpack(found.right) | ignored), axis=1).astype(np.float64)
    recall = tp / boxes
    precision = tp / (fp + tp + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([envelope, np.zeros((len(tp), 1))], axis=1)
    return np.stack([row[np.searchsorted(r, RECALL_POINTS)] for row, r in zip(padded, recall, strict=True)])


def _nanmean(values: NDArray[np.float64]) -> float:
    """Mean of the numbers among `values`, in their order in memory; NaN when there is none."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


class CocoMetrics:
    """Gathers detections and ground truth and computes COCO's AP, and P, R and F1.

    Args:
        num_classes: number of classes, C.
        class_names: their names; default '0' .. 'C-1'.
        max_det: most detections of a class in an image that count (COCO: 100).

    Equal scores keep the order in which images were added, which pycocotools takes from the image ids.
    """

    def __init__(
        self, num_classes: int, class_names: Sequence[str] | None = None, *, max_det: int = 100
    ) -> None:
        names = tuple(map(str, range(num_classes) if class_names is None else class_names))
        if num_classes < 1 or len(names) != num_classes:
            raise ValueError(
                f"got {num_classes} classes and {len(names)} names; expected as many, at least 1"
            )
        self.num_classes = num_classes
        self.class_names = names
        self.max_det = max_det
        self._found: list[_Found] = []
        self._images = 0
        self._detections = 0
        self._boxes = np.zeros(num_classes, dtype=np.int64)
        self._images_with = np.zeros(num_classes, dtype=np.int64)

    def update(
        self,
        detections: Detections,
        gt_boxes: ArrayLike,
        gt_classes: ArrayLike,
        gt_crowd: ArrayLike | None = None,
    ) -> None:
        """Add ONE image.

        Args:
            detections: of this image, in any order; boxes in the pixels of `gt_boxes`.
            gt_boxes: [M, 4] xyxy pixels.
            gt_classes: whole numbers [M].
            gt_crowd: bool [M]; a crowd region is no object to find, and detections in it do not count
                as wrong.

        Raises:
            DataError: a class is outside 0 .. C-1.
            ValueError: shapes do not fit, or a score is NaN.
        """
        labels = np.asarray(gt_classes, dtype=np.int64).reshape(-1)
        for what, classes in (("a label", labels), ("a detection", detections.classes)):
            wrong = classes[(classes < 0) | (classes >= self.num_classes)]
            if len(wrong):
                raise DataError(
                    f"{what} has class {wrong[0]}; expected 0 to {self.num_classes - 1}: "
                    "check the dataset's class names"
                )
        dt = _ltwh(detections.boxes, len(detections.classes))
        gt = _ltwh(gt_boxes, len(labels))
        crowd = np.zeros(len(labels), np.bool_) if gt_crowd is None else np.asarray(gt_crowd, dtype=np.bool_)
        gt_ignore = crowd | _outside_all(gt)
        matches = match_detections(
            dt,
            detections.scores,
            detections.classes,
            gt,
            labels,
            gt_crowd=crowd,
            gt_ignore=gt_ignore,
            dt_ignore=_outside_all(dt),
            max_det=self.max_det,
        )
        counted = np.bincount(labels[~gt_ignore], minlength=self.num_classes)
        self._images += 1
        self._detections += len(detections)
        self._boxes += counted
        self._images_with += counted > 0
        self._found.append(
            _Found(
                detections.classes[matches.detections].astype(np.int32),
                detections.scores[matches.detections],
                _pack((matches.ground_truths >= 0) & ~matches.ignored),
                _pack(matches.ignored),
            )
        )

    def merge(self, other: CocoMetrics) -> None:
        """Add the images of `other` after those here (another process's share of a dataset).

        Raises:
            ValueError: `other` has other classes or another `max_det`.
        """
        if (other.class_names, other.max_det) != (self.class_names, self.max_det):
            raise ValueError(
                f"cannot merge metrics of {other.num_classes} classes and max_det {other.max_det} into "
                f"{self.num_classes} classes and max_det {self.max_det}; expected the same settings and names"
            )
        self._found.extend(other._found)
        self._images += other._images
        self._detections += other._detections
        self._boxes += other._boxes
        self._images_with += other._images_with

    def _by_class(self) -> Iterator[tuple[int, _Found]]:
        """(class, its detections in descending score, earlier first among equals), if it has boxes."""
        parts = self._found
        found = _Found(
            np.concatenate([np.empty(0, np.int32), *(p.classes for p in parts)]),
            np.concatenate([np.empty(0, np.float32), *(p.scores for p in parts)]),
            np.concatenate([np.empty(0, np.uint16), *(p.right for p in parts)]),
            np.concatenate([np.empty(0, np.uint16), *(p.ignored for p in parts)]),
        )
        found = found.take(np.lexsort((-found.scores, found.classes)))
        edges = np.searchsorted(found.classes, np.arange(self.num_classes + 1))
        for label in np.flatnonzero(self._boxes):
            yield int(label), found.take(slice(edges[label], edges[label + 1]))

    def precision(self) -> NDArray[np.float64]:
        """Interpolated precision [T, 101, C] at IoU 0.50:0.05:0.95 and recall 0:0.01:1.

        pycocotools' `eval['precision'][:, :, :, 0, -1]`, with NaN instead of -1 for classes without
        ground truth.
        """
        out = np.full((len(IOU_THRESHOLDS), len(RECALL_POINTS), self.num_classes), np.nan)
        for label, found in self._by_class():
            out[:, :, label] = _interpolated_precision(found, int(self._boxes[label]))
        return out

    def _operating_point(self) -> _OperatingPoint:
        """The score threshold with the best mean F1 over classes at IoU 0.5, and what it gives.

        F1 of a class changes only at its own scores, so the mean over classes at every score is the
        running sum of those changes: exact, without a grid of thresholds.
        """
        scores, changes, curves = [], [], {}
        for label, found in self._by_class():
            counted = (found.ignored & 1) == 0
            tp = np.cumsum(found.right & 1, dtype=np.int64)
            total = np.cumsum(counted, dtype=np.int64)
            f1 = 2 * tp / (total + self._boxes[label])
            scores.append(found.scores)
            changes.append(np.diff(f1, prepend=0.0))
            curves[label] = (found.scores, tp, total, f1)
        confidence = 0.0
        if sum(map(len, scores)):
            merged = np.concatenate(scores)
            order = np.argsort(-merged, kind="stable")
            merged = merged[order]
            mean_f1 = np.cumsum(np.concatenate(changes)[order])
            # A threshold takes all detections of one score or none.
            last_of_score = np.append(merged[1:] != merged[:-1], True)
            confidence = float(merged[np.argmax(np.where(last_of_score, mean_f1, -np.inf))])
        precision, recall, best_f1 = np.full((3, self.num_classes), np.nan)
        for label, (class_scores, tp, total, f1) in curves.items():
            count = int(np.count_nonzero(class_scores >= confidence))
            right, counted_here = (int(tp[count - 1]), int(total[count - 1])) if count else (0, 0)
            precision[label] = right / counted_here if counted_here else 0.0
            recall[label] = right / self._boxes[label]
            best_f1[label] = f1[count - 1] if count else 0.0
        return _OperatingPoint(confidence, precision, recall, best_f1)

    def compute(self) -> Metrics:
        """The figures over all images so far.

        AP: area under the 101-point interpolated precision-recall curve, mean over the classes that
        have ground truth (Lin et al., ECCV 2014, arXiv:1405.0312, and the COCO evaluation code).
        Without any ground truth every figure is NaN and `confidence` is 0. `boxes` counts no crowds.
        """
        precision = self.precision()
        valid = self._boxes > 0
        # Means over exactly pycocotools' elements in its order: a mean of means would round otherwise.
        of_classes = precision[:, :, valid]
        ap = np.array([precision[:, :, k].mean(axis=1) for k in range(self.num_classes)])
        point = self._operating_point()
        return Metrics(
            map50=_nanmean(of_classes[0]),
            map50_95=_nanmean(of_classes),
            precision=_nanmean(point.precision),
            recall=_nanmean(point.recall),
            f1=_nanmean(point.f1),
            confidence=point.confidence,
            classes=tuple(
                ClassMetrics(
                    name=name,
                    images=int(self._images_with[k]),
                    boxes=int(self._boxes[k]),
                    precision=float(point.precision[k]),
                    recall=float(point.recall[k]),
                    f1=float(point.f1[k]),
                    ap50=float(ap[k, 0]),
                    ap50_95=float(ap[k].mean()),
                )
                for k, name in enumerate(self.class_names)
            ),
            images=self._images,
            boxes=int(self._boxes.sum()),
            detections=self._detections,
            pr_recall=RECALL_POINTS.copy(),
            pr_precision=np.ascontiguousarray(precision[0].T),
        )
