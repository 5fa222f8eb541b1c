"""LVIS's federated rules: an image says only of some categories whether it shows them.

Gupta, Dollar, Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation" (2019). They are put
into the input of COCO's matching, which then gives what lvis-api gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.evaluate.coco_columns import Columns, offsets_of
from yolofast.kernels.ground_truth import CategoryLists, GroundTruthColumns
from yolofast.kernels.matching import IOU_THRESHOLDS
from yolofast.types import Metrics

MAX_DETECTIONS = 300
"""Detections per image, of all categories together: the best ones."""
FREQUENCIES = ("r", "c", "f")
_FAR, _EVERYWHERE = -1e15, 2e15
"""The first corner and the sides of a box that holds every other."""


def is_federated(truth: GroundTruthColumns) -> bool:
    """Whether a ground truth says which categories were looked for in each image.

    Raises `DataError` when only some of its images say so.
    """
    given = {name: truth[name].given for name in ("negative", "not_exhaustive")}
    if not any(given.values()):
        return False
    count = len(truth["images"])
    for name, key in (("negative", "neg_category_ids"), ("not_exhaustive", "not_exhaustive_category_ids")):
        if given[name] != count:
            raise DataError(
                f"{given[name]} of {count} images have {key}; expected it in all, as in LVIS. For COCO's "
                "rules remove neg_category_ids and not_exhaustive_category_ids"
            )
    return True


def best_of_each_image(
    images: NDArray[np.int64], scores: NDArray[np.float64], limit: int
) -> NDArray[np.intp]:
    """The rows of the `limit` best detections of each image, ascending; `images`, `scores` are [N]."""
    order = np.lexsort((-scores, images))
    begins = np.searchsorted(images[order], images[order])
    kept: NDArray[np.intp] = np.sort(order[np.arange(len(order)) - begins < limit])
    return kept


def with_federated_rules(
    columns: Columns, truth: GroundTruthColumns, images: NDArray[np.int64], categories: NDArray[np.int64]
) -> Columns:
    """`columns` without what must not be judged, and with regions in which nothing is a false positive.

    Of K categories (`categories`, ascending ids) an image shows those it has objects of, and not those of its
    negative list: detections of all others are left out. Where its objects of a category are not all
    annotated, an unmatched detection does not count. Boxes without area are left out, as in lvis-api.
    `images` [I] are the rows in `columns` of the images in `truth`.
    """
    count = len(categories)
    dt_images = np.repeat(np.arange(len(columns.dt_offsets) - 1), np.diff(columns.dt_offsets))
    gt_images = np.repeat(np.arange(len(columns.gt_offsets) - 1), np.diff(columns.gt_offsets))
    gt = _has_area(columns.gt_areas)
    pairs = dt_images * count + columns.dt_classes
    is_open = np.isin(pairs, _pairs(truth["not_exhaustive"], images, categories))
    known = np.concatenate(
        [
            gt_images[gt] * count + columns.gt_classes[gt],
            _pairs(truth["negative"], images, categories),
        ]
    )
    sides = columns.dt_boxes[:, 2:]
    # A box with negative sides matches nothing: where that is no error it is left out as well.
    dt = _has_area(sides.prod(axis=1)) & np.isin(pairs, known) & ~(is_open & (sides <= 0).any(axis=1))
    regions = np.unique(pairs[dt & is_open])
    all_images = np.concatenate([gt_images[gt], regions // count])
    order = np.argsort(all_images, kind="stable")
    everywhere = np.tile([_FAR, _FAR, _EVERYWHERE, _EVERYWHERE], (len(regions), 1))

    def joined(own: NDArray[Any], added: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([own[gt], added.astype(own.dtype)])[order]

    return Columns(
        dt_boxes=columns.dt_boxes[dt],
        dt_scores=columns.dt_scores[dt],
        dt_classes=columns.dt_classes[dt],
        dt_offsets=offsets_of(dt_images[dt], len(columns.dt_offsets) - 1),
        gt_boxes=joined(columns.gt_boxes, everywhere),
        gt_classes=joined(columns.gt_classes, regions % count),
        gt_areas=joined(columns.gt_areas, np.zeros(len(regions))),
        gt_crowd=joined(np.zeros_like(columns.gt_crowd), np.ones(len(regions))),
        gt_counts=joined(columns.gt_counts, np.ones(len(regions))),
        gt_offsets=offsets_of(all_images, len(columns.gt_offsets) - 1),
    )


def _has_area(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """False for areas of 0 and less, infinite ones and NaN."""
    return (areas > 0) & (areas < np.inf)


def _pairs(
    lists: CategoryLists, images: NDArray[np.int64], categories: NDArray[np.int64]
) -> NDArray[np.int64]:
    """image * K + class of every category in the lists that is known."""
    rows = np.repeat(images, np.diff(lists.ends, prepend=0))
    known = np.isin(lists.categories, categories)
    classes = np.searchsorted(categories, lists.categories[known])
    pairs: NDArray[np.int64] = rows[known] * len(categories) + classes
    return pairs


def lvis_results(metrics: Metrics, frequencies: list[str]) -> dict[str, float]:
    """lvis-api's thirteen results by name, -1 without ground truth; `frequencies` [K] of the classes."""
    precision, recall = metrics.eval["precision"][..., -1], metrics.eval["recall"][..., -1]
    groups = {name: np.array([f == name for f in frequencies], np.bool_) for name in FREQUENCIES}
    at = {value: int(np.flatnonzero(np.isclose(IOU_THRESHOLDS, value))[0]) for value in (0.5, 0.75)}
    areas = {"s": 1, "m": 2, "l": 3}
    end = f"@{MAX_DETECTIONS}"
    return {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[at[0.5], ..., 0]),
        "AP75": _mean(precision[at[0.75], ..., 0]),
        **{f"AP{name}": _mean(precision[..., area]) for name, area in areas.items()},
        **{f"AP{name}": _mean(precision[:, :, chosen, 0]) for name, chosen in groups.items()},
        f"AR{end}": _mean(recall[..., 0]),
        **{f"AR{name}{end}": _mean(recall[..., area]) for name, area in areas.items()},
    }


def _mean(values: NDArray[np.float64]) -> float:
    valid = values[values > -1]
    return float(np.mean(valid)) if valid.size else -1.0
