"""CocoMetrics: mAP by the COCO definition, accumulated batch by batch.

Detections are matched when they arrive; of each only 32 bytes are kept: class, score, rank and one bit per
threshold and area range. The accumulation follows pycocotools operation by operation and equals its
arrays to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from yolofast.errors import DataError
from yolofast.evaluate.coco_columns import Columns, column, columns_of, match
from yolofast.evaluate.coco_curves import AREA_RANGES, MAX_DETS, checked_threads, ranked
from yolofast.evaluate.coco_summary import ApMethod, EvaluationCounts, summarise
from yolofast.types import Detections, Metrics

_MAX_DETECTIONS = 2**31 - 1


def _checked_limits(max_dets: Sequence[int]) -> tuple[int, ...]:
    limits = np.asarray(max_dets)
    rising = limits.shape == (3,) and np.issubdtype(limits.dtype, np.integer) and (np.diff(limits) > 0).all()
    if not rising or limits[0] < 1 or limits[-1] > _MAX_DETECTIONS:
        raise ValueError(
            f"max_dets is {max_dets}; expected three rising whole numbers from 1, such as (1, 10, 100)"
        )
    return tuple(limits.tolist())


class CocoMetrics:
    """Accumulates detections and ground truth and computes COCO's AP and AR, and P, R and F1.

    Args:
        num_classes: number of classes, C.
        class_names: their names; omitted means '0' .. 'C-1'.
        max_dets: the three detection limits of AR, ascending (COCO: 1, 10, 100). The last one limits the
            detections of a class in an image, best first; AP is computed at it, also when it is not 100
            (pycocotools' stats give -1 then).
        threads: threads for large batches and for accumulation; omitted means one per core. The results do
            not depend on it.

    Equal scores keep the order of the images: that of `image_ids`, as in pycocotools, or without them the
    order in which the images were added.
    """

    def __init__(
        self,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        *,
        max_dets: Sequence[int] = MAX_DETS,
        threads: int | None = None,
    ) -> None:
        names = tuple(map(str, range(num_classes) if class_names is None else class_names))
        if num_classes < 1 or len(names) != num_classes:
            raise ValueError(
                f"got {num_classes} classes and {len(names)} names; expected equally many, at least 1"
            )
        self.num_classes = num_classes
        self.class_names = names
        self.max_dets = _checked_limits(max_dets)
        self.threads = checked_threads(threads)
        self._matched: list[NDArray[np.void]] = []
        self._offsets: list[NDArray[np.int64]] = []
        self._image_ids: list[NDArray[np.int64]] = []
        self._known: set[int] = set()
        self._images = 0
        self._detections = 0
        self._positives = np.zeros((num_classes, len(AREA_RANGES)), np.int64)
        self._images_with = np.zeros(num_classes, np.int64)

    def update(
        self,
        detections: Detections | Sequence[Detections],
        gt_boxes: ArrayLike,
        gt_classes: ArrayLike,
        gt_crowd: ArrayLike | None = None,
        *,
        gt_images: ArrayLike | None = None,
        gt_areas: ArrayLike | None = None,
        image_ids: ArrayLike | None = None,
    ) -> CocoMetrics:
        """Add a batch of images, or one.

        Args:
            detections: of each of B images, in any order; boxes in the pixels of `gt_boxes`. A single
                `Detections` is one image.
            gt_boxes: [M, 4] xyxy pixels, of all images.
            gt_classes: whole numbers [M].
            gt_crowd: bool [M]; a crowd region is not an object to find, and detections in it are not false
                positives.
            gt_images: whole numbers [M], the index in the batch of each box's image, 0 to B - 1. Required
                when B is not 1.
            gt_areas: float [M], square pixels, to sort objects into small, medium and large (COCO uses the
                area of the outline); omitted means width times height.
            image_ids: whole numbers [B], unique across all batches; give them always or never.

        Returns:
            This object.

        Raises:
            DataError: a class is outside 0 .. C-1, or an image id was added before.
            ValueError: shapes do not fit, or a score is NaN. Nothing is added then.
            TypeError: classes or images are not whole numbers.

        Degenerate boxes: a box with a NaN matches nothing; one without area has IoU 0 with every box. The GIL
        is released while matching.
        """
        columns = columns_of(
            detections,
            gt_boxes,
            gt_classes,
            gt_crowd,
            gt_images=gt_images,
            gt_areas=gt_areas,
            num_classes=self.num_classes,
        )
        count = len(columns.dt_offsets) - 1
        self.add_columns(
            columns, None if image_ids is None else column("image_ids", image_ids, np.int64, count)
        )
        return self

    def add_columns(self, columns: Columns, image_ids: NDArray[np.int64] | None = None) -> None:
        """Add images given as columns (see `Columns`); `update` and `evaluate_coco` both use this."""
        count = len(columns.dt_offsets) - 1
        new = self._checked_ids(image_ids, count)
        for matched, offsets, positives, images_with in match(
            columns, self.num_classes, self.max_dets[-1], self.threads
        ):
            self._matched.append(matched)
            self._offsets.append(offsets)
            self._positives += positives
            self._images_with += images_with
        self._images += count
        self._detections += len(columns.dt_scores)
        if image_ids is not None:
            self._image_ids.append(image_ids.copy())
            self._known |= new

    def _checked_ids(self, image_ids: NDArray[np.int64] | None, count: int) -> set[int]:
        if self._images and count and (image_ids is None) != (not self._known):
            raise ValueError(
                "some images have ids and some do not; expected image_ids for all images or for none"
            )
        new = set() if image_ids is None else set(image_ids.tolist())
        if image_ids is not None and (len(new) != count or new & self._known):
            seen = set(self._known)
            twice = next(i for i in image_ids.tolist() if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise DataError(
                f"image {twice} was added twice; expected each image once: "
                "a sampler that pads its last batch repeats images"
            )
        return new

    def merge(self, other: CocoMetrics) -> CocoMetrics:
        """Add the images of `other` (another process's share of a dataset), and return this object.

        Without image ids they come after the images of this object.

        Raises:
            ValueError: `other` has other classes or limits.
            DataError: an image is in both.
        """
        if (other.class_names, other.max_dets) != (self.class_names, self.max_dets):
            raise ValueError(
                f"cannot merge metrics of {other.num_classes} classes and max_dets {other.max_dets} into "
                f"{self.num_classes} classes and max_dets {self.max_dets}; expected the same"
            )
        if other is self:
            raise ValueError("cannot merge metrics into themselves; expected those of another process")
        ids = np.concatenate(other._image_ids) if other._known else None
        self._known |= self._checked_ids(ids, other._images)
        self._matched.extend(other._matched)
        self._offsets.extend(other._offsets)
        self._image_ids.extend(other._image_ids)
        self._images += other._images
        self._detections += other._detections
        self._positives += other._positives
        self._images_with += other._images_with
        return self

    def _in_image_order(self) -> list[NDArray[np.void]]:
        ids = np.concatenate(self._image_ids) if self._image_ids else np.empty(0, np.int64)
        if (np.diff(ids) > 0).all():
            return self._matched
        images = [
            matched[start:end]
            for matched, offsets in zip(self._matched, self._offsets, strict=True)
            for start, end in itertools.pairwise(offsets)
        ]
        return [images[i] for i in np.argsort(ids)]

    def compute(self, ap_method: ApMethod = "101-point") -> Metrics:
        """The metrics over all images so far.

        AP: area under the precision-recall curve, mean over the classes that have ground truth. COCO
        interpolates it at 101 recall points (Lin et al., ECCV 2014, arXiv:1405.0312, and its evaluation
        code); Pascal VOC at 11 (to 2009) or at all (from 2010; Everingham et al., IJCV 2010). `ap_method`
        chooses the interpolation of `map50`, `map50_95` and the classes' AP; matching, `stats` and `eval` are
        always COCO's. Without any ground truth every metric is NaN (-1 in `stats`) and `confidence` is 0.
        `boxes` does not count crowds.

        Raises:
            ValueError: `ap_method` is unknown.
        """
        counts = EvaluationCounts(
            self.class_names,
            self._images,
            self._detections,
            self._positives,
            self._images_with,
            self.max_dets,
            self.threads,
        )
        return summarise(ranked(self._in_image_order(), self.num_classes, self.threads), counts, ap_method)
