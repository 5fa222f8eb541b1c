"""Detections and ground truth of many images as columns, and their matching on several threads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.evaluate.coco_curves import AREA_RANGES, in_threads
from yolofast.kernels import _coco
from yolofast.kernels.matching import IOU_THRESHOLDS

_WORTH_A_THREAD = 5000
"""Detections below which a batch is not parted among threads."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Boxes of B images with their image, in the images' order: what `CocoMetrics.add_columns` takes.

    Boxes are float64 [N, 4] left, top, width, height; classes int32; offsets int64 [B + 1].
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
    """Where each of `count` images begins among rows that are sorted by image: int64 [count + 1]."""
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(images, minlength=count), out=offsets[1:])
    return offsets


class JudgedImages(NamedTuple):
    """What matching found out about a run of images; see `_coco.match_images`."""

    judged: NDArray[np.void]
    offsets: NDArray[np.int64]
    positives: NDArray[np.int64]
    images_with: NDArray[np.int64]


def judge(columns: Columns, num_classes: int, max_det: int, threads: int) -> list[JudgedImages]:
    """Match all images, run by run of them."""

    def run(part: tuple[int, int]) -> JudgedImages:
        own = columns.images(*part)
        return JudgedImages(
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

    return in_threads(run, _fair_parts(columns.dt_offsets, threads), threads)


def _fair_parts(offsets: NDArray[np.int64], threads: int) -> list[tuple[int, int]]:
    """Runs of images with about as many detections: more than threads, because some take longer."""
    images, rows = len(offsets) - 1, int(offsets[-1])
    parts = min(4 * threads, images, rows // _WORTH_A_THREAD) if threads > 1 else 1
    cuts = np.searchsorted(offsets, np.linspace(0, rows, max(parts, 1) + 1)[1:-1]).tolist()
    edges = sorted({0, *cuts, images})
    return list(itertools.pairwise(edges))
