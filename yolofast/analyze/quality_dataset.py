"""Advice about a dataset as a whole, from its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from yolofast.types import DatasetStatistics, Finding, Severity

MIN_IMBALANCE = 10
"""Class imbalance is reported from this ratio of the largest to the smallest class on."""
MAX_EMPTY_SHARE = 0.3
MIN_CLASS_BOXES = 10
MAX_SMALL_SHARE = 0.5
"""Small objects are reported above this share of boxes under 32x32 px (COCO) at an image size of 640."""
MAX_SIZE_SPREAD = 4.0
"""Varying sizes are reported above this ratio of the 95th to the 5th percentile of long sides."""
_MAX_SHOWN = 5


def recommend(
    root: str, statistics: DatasetStatistics, unlabelled: int, long_sides: tuple[float, float]
) -> Iterator[Finding]:
    """Findings about the dataset at `root`.

    `unlabelled` counts the images without a label file; `long_sides` are the 5th and 95th percentile of the
    long sides, in pixels.
    """

    def advice(code: str, message: str, severity: Severity = "info", count: int = 1) -> Finding:
        return Finding(severity, code, message, root, count=count)

    names = statistics.class_names
    boxes = statistics.class_boxes.sum(axis=0)
    unused = np.flatnonzero(boxes == 0).tolist()
    few = np.flatnonzero((boxes > 0) & (boxes < MIN_CLASS_BOXES)).tolist()
    if unused:
        shown = _some(names, unused)
        message = f"{_classes_have(unused)} no box ({shown}): remove or add examples"
        yield advice("class-unused", message, count=len(unused))
    if few:
        shown = _some(names, few)
        message = f"{_classes_have(few)} fewer than {MIN_CLASS_BOXES} boxes ({shown}): add examples"
        yield advice("class-few", message, count=len(few))
    used = np.flatnonzero(boxes)
    if len(used):
        most, least = used[boxes[used].argmax()], used[boxes[used].argmin()]
        ratio = boxes[most] / boxes[least]
        if ratio >= MIN_IMBALANCE:
            ends = f"'{names[most]}' has {boxes[most]} boxes, '{names[least]}' {boxes[least]}"
            message = f"classes are imbalanced {ratio:.0f}:1: {ends}; add examples of the rare ones"
            yield advice("class-imbalance", message)
    for split, row in zip(statistics.split_names, statistics.class_boxes, strict=True):
        missing = used[row[used] == 0]
        if split != "none" and len(missing) and len(statistics.split_names) > 1:
            shown = _some(names, missing.tolist())
            message = f"{split} has no box of {len(missing)} of {len(used)} classes ({shown})"
            yield advice("class-missing-split", message, "warning", len(missing))
    images, empty = statistics.images, statistics.empty_images
    if images and empty / images > MAX_EMPTY_SHARE:
        message = f"{empty} of {images} images have no box: make sure that they are intended as background"
        yield advice("images-empty", message, count=empty)
    if unlabelled:
        images_have = "1 image has" if unlabelled == 1 else f"{unlabelled} images have"
        message = f"{images_have} no label file: they count as background in YOLO"
        message = f"{message}; remove them if they were never labelled"
        yield advice("labels-missing", message, count=unlabelled)
    small = statistics.boxes_by_area_at_640["small"]
    if small > MAX_SMALL_SHARE * statistics.boxes:
        share = f"{small / statistics.boxes:.0%} of the boxes"
        message = f"{share} are smaller than 32x32 px when an image's long side is 640 px"
        yield advice("boxes-small", message, count=small)
    low, high = long_sides
    if high > MAX_SIZE_SPREAD * low:
        message = f"the long side of the middle 90 % of the images ranges from {low:.0f} to {high:.0f} px"
        yield advice("sizes-vary", message)


def _classes_have(which: Sequence[int]) -> str:
    return "1 class has" if len(which) == 1 else f"{len(which)} classes have"


def _some(names: Sequence[str], which: Sequence[int]) -> str:
    return ", ".join(names[i] for i in which[:_MAX_SHOWN]) + (", ..." if len(which) > _MAX_SHOWN else "")
