"""From ranked detections to COCO's arrays and twelve figures: pycocotools' accumulate and summarize."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels._coco import Ranking, transposed
from yolofast.kernels.matching import IOU_THRESHOLDS

RECALL_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
AREA_RANGES: NDArray[np.float64] = np.array(
    [[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]], np.float64
)
"""COCO's all, small, medium and large: smallest and largest area in square pixels, both inclusive."""
MAX_DETS = (1, 10, 100)

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def in_threads(function: Callable[[_Part], _Result], parts: Sequence[_Part], threads: int) -> list[_Result]:
    """`function` of each part, on `threads` threads at most; results in the order of the parts."""
    if threads < 2 or len(parts) < 2:
        return [function(part) for part in parts]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        return list(pool.map(function, parts))


@dataclass(frozen=True, slots=True)
class CocoCurves:
    """COCO's curves as planes, one for each area range and limit of detections; -1 without ground truth.

    `precision` and `scores` float64 [A, M, T, R, K], `recall` and `area` (under the exact curve) float64
    [A, M, T, K]: area ranges, limits, IoU thresholds, recall points, classes.
    """

    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recall: NDArray[np.float64]
    area: NDArray[np.float64]

    def eval(self) -> dict[str, NDArray[np.float64]]:
        """pycocotools' `COCOeval.eval`: precision and scores [T, R, K, A, M], recall [T, K, A, M]."""
        return {
            "precision": self.precision.transpose(2, 3, 4, 0, 1),
            "recall": self.recall.transpose(2, 3, 0, 1),
            "scores": self.scores.transpose(2, 3, 4, 0, 1),
        }

    def stats(self) -> NDArray[np.float64]:
        """pycocotools' twelve figures [12], computed in its order of elements; -1 where there is nothing."""
        last = self.recall.shape[1] - 1
        at = {value: int(np.flatnonzero(np.isclose(IOU_THRESHOLDS, value))[0]) for value in (0.5, 0.75)}
        precision = self.precision[:, last]
        return np.array(
            [
                _mean(precision[0]),
                _mean(precision[0, at[0.5]]),
                _mean(precision[0, at[0.75]]),
                *(_mean(precision[a]) for a in (1, 2, 3)),
                *(_mean(self.recall[0, m]) for m in range(last + 1)),
                *(_mean(self.recall[a, last]) for a in (1, 2, 3)),
            ]
        )


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[values > -1]
    return float(np.mean(valid)) if valid.size else -1.0


def accumulate(
    ranking: Ranking,
    positives: NDArray[np.int64],
    max_dets: Sequence[int],
    *,
    recall_points: NDArray[np.float64] = RECALL_POINTS,
    threads: int = 1,
) -> CocoCurves:
    """The curves of ranked detections; `positives` int64 [K, A] ground truths that count."""
    classes, areas = positives.shape
    shape = (areas, len(max_dets), classes, len(IOU_THRESHOLDS))
    planes = (
        *(np.empty((*shape, len(recall_points))) for _ in range(2)),
        *(np.empty(shape) for _ in range(2)),
    )
    edges = np.linspace(0, classes, min(classes, 8 * threads) + 1).astype(int).tolist()

    def run(part: tuple[int, int]) -> None:
        ranking.accumulate(positives, recall_points, max_dets, len(IOU_THRESHOLDS), planes, *part)

    in_threads(run, list(itertools.pairwise(edges)), threads)
    return CocoCurves(*in_threads(_classes_last, planes, threads))


def _classes_last(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """[A, M, K, ...] to [A, M, ..., K]: the means go over classes last."""
    areas, limits, classes, *rest = planes.shape
    out = np.empty((areas, limits, *rest, classes))
    for plane, target in zip(
        planes.reshape(areas * limits, classes, -1), out.reshape(areas * limits, -1, classes), strict=True
    ):
        target[:] = transposed(plane)
    return out
