"""The summary of an evaluation: from ranked detections to `Metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from yolofast.evaluate.coco_curves import RECALL_POINTS, CocoCurves, accumulate
from yolofast.kernels._coco import Ranking
from yolofast.types import ClassMetrics, ConfidenceCurves, Metrics

ApMethod = Literal["101-point", "11-point", "all-point"]

_CONFIDENCES: NDArray[np.float64] = np.linspace(1.0, 0.0, 1001)
_ELEVEN_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True)
class EvaluationCounts:
    """The counts and settings of an evaluation.

    `positives` int64 [C, A] ground truths that count, per class and area range; `images_with` int64 [C]
    images with ground truth of the class.
    """

    class_names: tuple[str, ...]
    images: int
    detections: int
    positives: NDArray[np.int64]
    images_with: NDArray[np.int64]
    max_dets: tuple[int, ...]
    threads: int


def summarise(ranking: Ranking, counts: EvaluationCounts, ap_method: ApMethod) -> Metrics:
    """See `CocoMetrics.compute`."""
    boxes = counts.positives[:, 0]
    valid = boxes > 0
    curves = accumulate(ranking, counts.positives, counts.max_dets, threads=counts.threads)
    ap = _average_precision(ranking, curves, counts, ap_method)
    stats = curves.stats()
    if ap_method == "101-point":  # to the last bit: means over exactly pycocotools' elements
        map50_95, map50 = (float("nan") if value == -1 else float(value) for value in stats[:2])
    else:
        map50_95, map50 = _mean(ap[:, valid]), _mean(ap[0, valid])
    correct, found = ranking.count_above(_CONFIDENCES)
    curve, recalls, f1s = _rates(correct[:, ::-1], found[:, ::-1], boxes[:, None])
    rates = _held(curve, found[:, ::-1]), recalls, f1s
    confidence = ranking.best_confidence(boxes, _CONFIDENCES, correct, found)
    correct, found = ranking.count_above([confidence])
    precision, recall, f1 = _rates(correct[:, 0], found[:, 0], boxes)
    pr = curves.precision[0, -1, :, 0].copy()
    pr[~valid] = np.nan
    return Metrics(
        map50=map50,
        map50_95=map50_95,
        precision=_mean(precision[valid]),
        recall=_mean(recall[valid]),
        f1=_mean(f1[valid]),
        confidence=confidence,
        classes=tuple(
            ClassMetrics(
                name=name,
                images=int(counts.images_with[k]),
                boxes=int(boxes[k]),
                precision=float(precision[k]),
                recall=float(recall[k]),
                f1=float(f1[k]),
                ap50=float(ap[0, k]),
                ap50_95=float(ap[:, k].mean()),
            )
            for k, name in enumerate(counts.class_names)
        ),
        images=counts.images,
        boxes=int(boxes.sum()),
        detections=counts.detections,
        pr_recall=RECALL_POINTS.copy(),
        pr_precision=pr,
        stats=stats,
        eval=curves.eval(),
        confidence_curves=ConfidenceCurves(_CONFIDENCES[::-1].copy(), *rates),
    )


def _average_precision(
    ranking: Ranking, curves: CocoCurves, counts: EvaluationCounts, method: ApMethod
) -> NDArray[np.float64]:
    """AP float64 [T, C] per IoU threshold and class; NaN without ground truth."""
    ap: NDArray[np.float64]
    if method == "101-point":
        ap = curves.precision[0, -1].transpose(1, 2, 0).mean(axis=1)
    elif method == "11-point":
        points = accumulate(
            ranking,
            counts.positives,
            counts.max_dets,
            recall_points=_ELEVEN_POINTS,
            threads=counts.threads,
        )
        ap = points.precision[0, -1].transpose(1, 2, 0).mean(axis=1)
    elif method == "all-point":
        ap = curves.area[0, -1].T.copy()
    else:
        raise ValueError(f"ap_method is {method!r}; expected '101-point', '11-point' or 'all-point'")
    ap[:, counts.positives[:, 0] == 0] = np.nan
    return ap


def _rates(
    correct: NDArray[np.int64], found: NDArray[np.int64], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision (0 without detections), recall and F1; NaN without ground truth."""
    exists = np.broadcast_to(boxes > 0, correct.shape)
    precision = np.where(exists, correct / np.maximum(found, 1), np.nan)
    recall = np.where(exists, correct / np.maximum(boxes, 1), np.nan)
    f1 = np.where(exists, 2 * correct / np.maximum(found + boxes, 1), np.nan)
    return precision, recall, f1


def _held(precision: NDArray[np.float64], found: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision [C, N] over ascending thresholds, held where no detection is left and it has no value."""
    last = np.maximum((found > 0).sum(axis=1, keepdims=True) - 1, 0)
    index = np.minimum(np.arange(found.shape[1])[None], last)
    held: NDArray[np.float64] = np.take_along_axis(precision, index, axis=1)
    return held


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
