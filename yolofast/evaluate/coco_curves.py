"""From ranked detections to COCO's arrays and twelve metrics: pycocotools' accumulate and summarize."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from yolofast.kernels._coco import Ranking
from yolofast.kernels.matching import IOU_THRESHOLDS
from yolofast.threads import map_in_threads

RECALL_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
AREA_RANGES: NDArray[np.float64] = np.array(
    [[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]], np.float64
)
"""COCO's all, small, medium and large: minimum and maximum area in square pixels, both inclusive."""
MAX_DETS = (1, 10, 100)

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def checked_threads(threads: int | None) -> int:
    """`threads`, or one per core for None. Raises `ValueError` below 1."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1")
    return threads or os.cpu_count() or 1


def in_threads(function: Callable[[_Part], _Result], parts: Sequence[_Part], threads: int) -> list[_Result]:
    """`function` of each part, on up to `threads` threads; results are in the order of the parts."""
    if threads < 2 or len(parts) < 2:
        return [function(part) for part in parts]
    return list(map_in_threads(function, parts, min(threads, len(parts))))


def class_parts(ranking: Ranking, threads: int) -> list[tuple[int, int]]:
    """Ranges of classes with about equally many detections."""
    starts = ranking.starts()
    parts = 8 * threads if threads > 1 else 1
    cuts = np.searchsorted(starts, np.linspace(0, starts[-1], parts + 1)[1:-1]).tolist()
    return list(itertools.pairwise(sorted({0, *cuts, len(starts) - 1})))


def ranked(matched: Sequence[NDArray[np.void]], num_classes: int, threads: int) -> Ranking:
    """The matched detections of all images, given in the images' order, sorted within each class."""
    ranking = Ranking(matched, num_classes)
    in_threads(lambda part: ranking.sort(*part), class_parts(ranking, threads), threads)
    return ranking


@dataclass(frozen=True, slots=True)
class CocoCurves:
    """COCO's curves, -1 without ground truth.

    `precision` and `scores` float64 [A, M, K, T, R], `recall` and `area` (under the exact curve) float64
    [A, M, K, T]: area ranges, limits, classes, IoU thresholds, recall points.
    """

    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recall: NDArray[np.float64]
    area: NDArray[np.float64]

    def eval(self) -> dict[str, NDArray[np.float64]]:
        """pycocotools' `COCOeval.eval`: precision and scores [T, R, K, A, M], recall [T, K, A, M]."""
        return {
            "precision": self.precision.transpose(3, 4, 2, 0, 1),
            "recall": self.recall.transpose(3, 2, 0, 1),
            "scores": self.scores.transpose(3, 4, 2, 0, 1),
        }

    def stats(self) -> NDArray[np.float64]:
        """pycocotools' twelve metrics, float64 [12]; -1 without ground truth.

        A mean depends on the order of its elements in the last bit: as in pycocotools it is taken over
        thresholds, recall points and then classes.
        """
        last = self.recall.shape[1] - 1
        at = {value: int(np.flatnonzero(np.isclose(IOU_THRESHOLDS, value))[0]) for value in (0.5, 0.75)}
        precision = self.precision[:, last].transpose(0, 2, 3, 1)
        recall = self.recall.transpose(0, 1, 3, 2)
        return np.array(
            [
                _mean(precision[0]),
                _mean(precision[0, at[0.5]]),
                _mean(precision[0, at[0.75]]),
                *(_mean(precision[a]) for a in (1, 2, 3)),
                *(_mean(recall[0, m]) for m in range(last + 1)),
                *(_mean(recall[a, last]) for a in (1, 2, 3)),
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
    """The curves of ranked detections; `positives` int64 [K, A] counts the ground truths that count."""
    classes, areas = positives.shape
    shape = (areas, len(max_dets), classes, len(IOU_THRESHOLDS))
    curves = CocoCurves(
        np.empty((*shape, len(recall_points))),
        np.empty((*shape, len(recall_points))),
        np.empty(shape),
        np.empty(shape),
    )
    out = (curves.precision, curves.scores, curves.recall, curves.area)

    def run(part: tuple[int, int]) -> None:
        ranking.accumulate(positives, recall_points, max_dets, len(IOU_THRESHOLDS), out, *part)

    in_threads(run, class_parts(ranking, threads), threads)
    return curves
