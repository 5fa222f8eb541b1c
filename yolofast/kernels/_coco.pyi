from collections.abc import Sequence
from typing import Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_THRESHOLDS: int
MAX_AREAS: int
JUDGED: np.dtype[np.void]

def match_images(
    dt_boxes: ArrayLike,
    dt_scores: ArrayLike,
    dt_classes: ArrayLike,
    dt_offsets: ArrayLike,
    gt_boxes: ArrayLike,
    gt_classes: ArrayLike,
    gt_areas: ArrayLike,
    gt_crowd: ArrayLike,
    gt_counts: ArrayLike,
    gt_offsets: ArrayLike,
    *,
    thresholds: ArrayLike,
    areas: ArrayLike,
    max_det: int,
    num_classes: int,
) -> tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def match_image(
    dt_boxes: ArrayLike,
    dt_scores: ArrayLike,
    dt_classes: ArrayLike,
    dt_ignore: ArrayLike,
    gt_boxes: ArrayLike,
    gt_classes: ArrayLike,
    gt_crowd: ArrayLike,
    gt_ignore: ArrayLike,
    *,
    thresholds: ArrayLike,
    max_det: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]: ...

@final
class Ranking:
    num_classes: int
    def __new__(cls, parts: Sequence[NDArray[np.void]], num_classes: int) -> Self: ...
    def starts(self) -> NDArray[np.int64]: ...
    def sort(self, first: int, last: int) -> None: ...
    def accumulate(
        self,
        positives: NDArray[np.int64],
        recall_points: NDArray[np.float64],
        max_dets: ArrayLike,
        thresholds: int,
        out: tuple[NDArray[np.float64], ...],
        first: int,
        last: int,
    ) -> None: ...
    def count_above(self, confidences: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    def best_confidence(
        self,
        positives: NDArray[np.int64],
        confidences: ArrayLike,
        right: NDArray[np.int64],
        counted: NDArray[np.int64],
    ) -> float: ...
