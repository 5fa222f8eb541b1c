"""Reads one split of a prepared dataset, several hundred images at a time: what a loader does when it starts.

Columns instead of one object per image: files are found, opened, parsed and checked in a few native calls.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.formats.boxes import apply_box_rules, xywh_to_xyxy
from yolofast.formats.data_yaml import DataYaml, label_candidates, list_image_names
from yolofast.formats.dataset import rejected_image, unreadable_image
from yolofast.formats.name_keys import matched_findings
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.yolo.label_files import bad_rows, unreadable_label
from yolofast.formats.yolo.parser import LabelScan, scan_label_files
from yolofast.formats.yolo.usual_labels import UsualLabels
from yolofast.images import read_headers
from yolofast.types import Finding, ImageHeader, ImageRecord, Split


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """N images of a split in path order, with R valid boxes.

    `images` and `label_files` (None: no label file, no boxes) [N]; `usable` bool [N], False where the image
    or its label file cannot be read, or the image is `rejected`; `sizes` int64 [N, 2] width and height; image
    i has rows `offsets[i]` to `offsets[i + 1]` of `boxes` float64 [R, 4] xyxy pixels, `classes` and `lines`
    int64 [R]; `offsets` int64 [N + 1]; `findings` maps an image to what was dropped or repaired.
    """

    images: list[str]
    label_files: list[str | None]
    usable: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    findings: dict[int, tuple[Finding, ...]]
    rejected: NDArray[np.bool_]
    """bool [N], True where the image is left out because none of its label rows can be used."""
    rows: int
    """Label rows in the files, usable or not."""


_Files = tuple[list[str | None], LabelScan, list[ImageHeader | ImageError]]


def read_split(
    data: DataYaml, split: Split, notes: list[Finding] | None = None, *, keep_rejected: bool = False
) -> Iterator[ReadChunk]:
    """All images of a split with their boxes, in chunks.

    Sizes come from the image headers (EXIF orientation applied) and boxes have passed `apply_box_rules`. An
    image without a label file is background. Each bad row is dropped with a finding. An image with rows of
    which none can be used is left out, or is background with `keep_rejected`. Findings about the split as a
    whole are added to `notes`.

    Raises `DataError` when data.yaml does not name the split.
    """
    names, rule = list_image_names(data, split, notes), UsualLabels()
    read = partial(_read_files, rule=rule, keypoints=data.keypoints)
    for images, files in prefetch_batches(names, read):
        yield _check(images, *files, len(data.names), keep_rejected)
    if notes is not None:
        notes.extend(matched_findings(rule.matched, data.path))


def _read_files(images: list[str], rule: UsualLabels, keypoints: tuple[int, int] | None) -> _Files:
    labels: list[str | None] = [next(label_candidates(image)) for image in images]
    scan = scan_label_files(labels, keypoints=keypoints)
    missing = np.flatnonzero(scan.errno == errno.ENOENT).tolist()
    if missing:  # they may be at a less usual path, or absent
        for i in missing:
            labels[i] = rule.find(images[i])
        scan = scan_label_files(labels, keypoints=keypoints)
    return labels, scan, read_headers(images)


def _check(
    images: list[str],
    labels: list[str | None],
    scan: LabelScan,
    headers: list[ImageHeader | ImageError],
    num_classes: int,
    keep_rejected: bool,
) -> ReadChunk:
    counts = np.diff(scan.offsets)
    sizes = np.zeros((len(images), 2), dtype=np.int64)
    usable = scan.errno == 0
    findings: dict[int, tuple[Finding, ...]] = {}
    bad: dict[int, list[Finding]] = {}
    sources = [label or image for image, label in zip(images, labels, strict=True)]
    for i, found in bad_rows(scan, sources):
        bad.setdefault(i, []).append(found)
    for i, header in enumerate(headers):
        if not usable[i]:
            findings[i] = (unreadable_label(sources[i], scan.reason(i)),)
        elif isinstance(header, ImageError):
            usable[i] = False
            lines = scan.lines[scan.rows(i)]
            findings[i] = unreadable_image(images[i], header, lines, sources[i], tuple(bad.get(i, ())))
        else:
            sizes[i] = header.width, header.height
    row_usable = np.repeat(usable, counts)
    with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
        boxes = xywh_to_xyxy(scan.boxes) * np.repeat(np.hstack([sizes, sizes]), counts, axis=0)
    checked = apply_box_rules(
        boxes[row_usable],
        scan.classes[row_usable],
        scan.lines[row_usable],
        np.where(usable, counts, 0),
        sizes,
        sources,
        num_classes=num_classes,
    )
    for i in sorted({*bad, *checked.dropped, *checked.notes} - findings.keys()):
        findings[i] = (*bad.get(i, ()), *checked.dropped.get(i, ()), *checked.notes.get(i, ()))
    total = counts + np.bincount([i for i, _ in scan.bad_lines], minlength=len(images))
    rejected = usable & (total > 0) & (np.diff(checked.offsets) == 0) & (not keep_rejected)
    for i in np.flatnonzero(rejected).tolist():
        usable[i] = False
        findings[i] = (*findings.get(i, ()), rejected_image(images[i], int(total[i])))
    return ReadChunk(
        images,
        labels,
        usable,
        sizes,
        checked.offsets,
        checked.boxes,
        checked.classes,
        checked.lines,
        findings,
        rejected,
        int(total.sum()),
    )


def iter_yolo_records(
    data: DataYaml, split: Split
) -> Iterator[tuple[ImageRecord | None, tuple[Finding, ...]]]:
    """Every image of a split as a record, with the findings about it; see `read_split`.

    The record is None when the image or its label file cannot be read.
    """
    for chunk in read_split(data, split):
        offsets, sizes = chunk.offsets.tolist(), chunk.sizes.tolist()
        for i, (image, label) in enumerate(zip(chunk.images, chunk.label_files, strict=True)):
            record = None
            if chunk.usable[i]:
                rows = slice(offsets[i], offsets[i + 1])
                width, height = sizes[i]
                record = ImageRecord(
                    Path(image),
                    width,
                    height,
                    chunk.boxes[rows],
                    chunk.classes[rows],
                    chunk.lines[rows],
                    None if label is None else Path(label),
                    split,
                )
            yield record, chunk.findings.get(i, ())
