"""The figures of an evaluation: from ranked detections to `Metrics`."""

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
class Gathered:
    """What is known of an evaluation beside its ranked detections.

    `positives` int64 [C, A] ground truths that count in each area range; `images_with` int64 [C].
    """

    class_names: tuple[str, ...]
    images: int
    detections: int
    positives: NDArray[np.int64]
    images_with: NDArray[np.int64]
    max_dets: tuple[int, ...]
    threads: int


def figures(ranking: Ranking, gathered: Gathered, ap_method: ApMethod) -> Metrics:
    """See `CocoMetrics.compute`."""
    boxes = gathered.positives[:, 0]
    valid = boxes > 0
    curves = accumulate(ranking, gathered.positives, gathered.max_dets, threads=gathered.threads)
    ap = _average_precision(ranking, curves, gathered, ap_method)
    stats = curves.stats()
    if ap_method == "101-point":  # to the last bit: means over exactly pycocotools' elements
        map50_95, map50 = (float("nan") if value == -1 else float(value) for value in stats[:2])
    else:
        map50_95, map50 = _mean(ap[:, valid]), _mean(ap[0, valid])
    right, found = ranking.count_above(_CONFIDENCES)
    rates = _rates(right[:, ::-1], found[:, ::-1], boxes[:, None])
    confidence = ranking.best_confidence(boxes, _CONFIDENCES, right, found)
    right, found = ranking.count_above([confidence])
    precision, recall, f1 = _rates(right[:, 0], found[:, 0], boxes)
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
                images=int(gathered.images_with[k]),
                boxes=int(boxes[k]),
                precision=float(precision[k]),
                recall=float(recall[k]),
                f1=float(f1[k]),
                ap50=float(ap[0, k]),
                ap50_95=float(ap[:, k].mean()),
            )
            for k, name in enumerate(gathered.class_names)
        ),
        images=gathered.images,
        boxes=int(boxes.sum()),
        detections=gathered.detections,
        pr_recall=RECALL_POINTS.copy(),
        pr_precision=pr,
        stats=stats,
        eval=curves.eval(),
        confidence_curves=ConfidenceCurves(_CONFIDENCES[::-1].copy(), *rates),
    )


def _average_precision(
    ranking: Ranking, curves: CocoCurves, gathered: Gathered, method: ApMethod
) -> NDArray[np.float64]:
    """[T, C], NaN without ground truth."""
    ap: NDArray[np.float64]
    if method == "101-point":
        ap = curves.precision[0, -1].transpose(1, 2, 0).mean(axis=1)
    elif method == "11-point":
        points = accumulate(
            ranking,
            gathered.positives,
            gathered.max_dets,
            recall_points=_ELEVEN_POINTS,
            threads=gathered.threads,
        )
        ap = points.precision[0, -1].transpose(1, 2, 0).mean(axis=1)
    elif method == "all-point":
        ap = curves.area[0, -1].T.copy()
    else:
        raise ValueError(f"ap_method is {method!r}; expected '101-point', '11-point' or 'all-point'")
    ap[:, gathered.positives[:, 0] == 0] = np.nan
    return ap


def _rates(
    right: NDArray[np.int64], found: NDArray[np.int64], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision (0 when nothing was found), recall and F1; NaN without ground truth."""
    exists = np.broadcast_to(boxes > 0, right.shape)
    precision = np.where(exists, right / np.maximum(found, 1), np.nan)
    recall = np.where(exists, right / np.maximum(boxes, 1), np.nan)
    f1 = np.where(exists, 2 * right / np.maximum(found + boxes, 1), np.nan)
    return precision, recall, f1


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
