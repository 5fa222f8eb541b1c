"""Advice about a dataset as a whole, from its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from yolofast.types import DatasetStatistics, Finding, Severity

MAX_IMBALANCE = 50
"""Class imbalance is reported above this ratio of the largest to the smallest class."""
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

    def advice(code: str, message: str, severity: Severity = "info") -> Finding:
        return Finding(severity, code, message, root)

    names = statistics.class_names
    boxes = statistics.class_boxes.sum(axis=0)
    unused, few = np.flatnonzero(boxes == 0), np.flatnonzero((boxes > 0) & (boxes < MIN_CLASS_BOXES))
    if len(unused):
        shown = _some(names, unused.tolist())
        yield advice(
            "class-unused", f"{len(unused)} classes have no box ({shown}): remove them or add examples"
        )
    if len(few):
        shown = _some(names, few.tolist())
        yield advice(
            "class-few", f"{len(few)} classes have fewer than {MIN_CLASS_BOXES} boxes ({shown}): add examples"
        )
    used = np.flatnonzero(boxes)
    if len(used):
        most, least = used[boxes[used].argmax()], used[boxes[used].argmin()]
        if boxes[most] > MAX_IMBALANCE * boxes[least]:
            ends = f"'{names[most]}' has {boxes[most]} boxes, '{names[least]}' {boxes[least]}"
            yield advice("class-imbalance", f"classes are imbalanced: {ends}; add examples of the rare ones")
    for split, row in zip(statistics.split_names, statistics.class_boxes, strict=True):
        missing = used[row[used] == 0]
        if split != "none" and len(missing) and len(statistics.split_names) > 1:
            shown = _some(names, missing.tolist())
            message = f"{split} has no box of {len(missing)} of {len(used)} classes ({shown})"
            yield advice("class-missing-split", message, "warning")
    images, empty = statistics.images, statistics.empty_images
    if images and empty / images > MAX_EMPTY_SHARE:
        message = f"{empty} of {images} images have no box: make sure that they are intended as background"
        yield advice("images-empty", message)
    if unlabelled:
        message = f"{unlabelled} images have no label file: they count as background in YOLO"
        yield advice("labels-missing", f"{message}; remove them if they were never labelled")
    small = statistics.boxes_by_area_at_640["small"]
    if small > MAX_SMALL_SHARE * statistics.boxes:
        share = f"{small / statistics.boxes:.0%} of the boxes"
        yield advice("boxes-small", f"{share} are smaller than 32x32 px when an image's long side is 640 px")
    low, high = long_sides
    if high > MAX_SIZE_SPREAD * low:
        message = f"the long side of the middle 90 % of the images ranges from {low:.0f} to {high:.0f} px"
        yield advice("sizes-vary", message)


def _some(names: Sequence[str], which: Sequence[int]) -> str:
    return ", ".join(names[i] for i in which[:_MAX_SHOWN]) + (", ..." if len(which) > _MAX_SHOWN else "")
