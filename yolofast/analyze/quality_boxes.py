"""Finds boxes that are valid but hardly useful, or that look like mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from yolofast.analyze.box_batches import BoxBatch, near_duplicates
from yolofast.formats.boxes import row_finding, rows_numbered_by
from yolofast.types import Finding, ImageRecord

TINY_PX = 2.0
"""A box with a shorter side below this many pixels is reported: our detectors cannot learn it."""
NEAR_DUPLICATE_IOU = 0.9
NEAR_DUPLICATE_PX = 3.0
"""Overlapping boxes are nearly equal too if no side differs by more pixels: a small shift of a small box
costs it much of its IoU."""
NEIGHBOURS = 256
"""Each box is compared with at most this many boxes of its class and image."""
MIN_COVERAGE = 0.995
"""A box with at least this share of both sides covers the whole image."""
MAX_BOXES = 300
"""More boxes in one image are reported: detectors return at most this many by default."""

BoxFinding = tuple[Finding, int, tuple[int, ...]]
"""A finding, the index of its image in the batch, and the rows of the batch that it is about."""


def check_boxes(batch: BoxBatch, names: Sequence[str]) -> Iterator[BoxFinding]:
    """All findings about the boxes of a batch; `names` are the names of `batch.classes`."""
    sides = batch.boxes[:, 2:] - batch.boxes[:, :2]
    shortest = sides.min(axis=1, initial=np.inf)
    for i in np.flatnonzero(shortest < TINY_PX).tolist():
        yield _row(batch, "box-tiny", f"a side of only {shortest[i]:.2g} px", i)
    covers = (sides >= MIN_COVERAGE * batch.sizes[batch.image]).all(axis=1)
    for i in np.flatnonzero(covers).tolist():
        name = names[batch.classes[i]]
        yield _row(batch, "box-covers-image", f"a box of class '{name}' over the whole image", i)
    for first, later, iou in near_duplicates(batch, NEAR_DUPLICATE_IOU, NEAR_DUPLICATE_PX, NEIGHBOURS):
        numbered = rows_numbered_by(_source(batch, first))
        message = (
            f"nearly the same box as {numbered} {batch.lines[first]}, of class "
            f"'{names[batch.classes[later]]}' too: IoU {iou:.3f}"
            f"{'' if iou >= NEAR_DUPLICATE_IOU else f', all corners within {NEAR_DUPLICATE_PX:.0f} px'}"
        )
        yield _row(batch, "box-near-duplicate", message, later, first)
    for image in np.flatnonzero(batch.counts > MAX_BOXES).tolist():
        message = f"{batch.counts[image]} boxes in one image, more than {MAX_BOXES}"
        finding = Finding("warning", "boxes-many", message, str(batch.records[image].path))
        yield finding, image, ()


def _source(batch: BoxBatch, row: int) -> Path:
    record: ImageRecord = batch.records[int(batch.image[row])]
    return record.label_file or record.path


def _row(batch: BoxBatch, code: str, message: str, row: int, other: int | None = None) -> BoxFinding:
    source = _source(batch, row)
    finding = row_finding("info", code, message, source, int(batch.lines[row]), rows_numbered_by(source))
    return finding, int(batch.image[row]), (row,) if other is None else (row, other)
