"""What is wrong with a dataset, image by image and row by row, and what to do about it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from yolofast.analyze.opened import open_folder
from yolofast.errors import ImageError
from yolofast.formats.boxes import row_finding, rows_numbered_by
from yolofast.formats.discover import scan_dataset
from yolofast.images import image_shape, read_image
from yolofast.types import Finding, ImageRecord, QualityReport

TINY_PX = 2.0
"""A box with a side below this many pixels is reported: no detector here can learn it."""
IMBALANCE = 50
"""Ratio of the largest to the smallest class above which a recommendation is made."""
EMPTY_SHARE = 0.3
FEW_BOXES = 10
_TAIL = 4096
_IMAGE_CODES = frozenset({"image-unreadable", "image-truncated"})
_FORMAT_CODES = frozenset({"image-unlisted"})
_RANK = {"error": 0, "warning": 1, "info": 2}


def _ends_early(path: Path) -> bool:
    """Whether a JPEG file lacks its end-of-image marker (looked for in the last 4 kB)."""
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return False
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return b"\xff\xd9" not in file.read()


def _check_image(path: Path, header_read: bool, decode: bool) -> Finding | None:
    try:
        if decode:
            read_image(path)
        elif not header_read:
            image_shape(path)
    except ImageError as error:
        return Finding("error", "image-unreadable", str(error).removeprefix(f"{path}: "), str(path))
    if _ends_early(path):
        message = "the JPEG data stop before the end of the image; training puts another image in its place"
        return Finding("warning", "image-truncated", message, str(path))
    return None


def _check_boxes(record: ImageRecord) -> Iterator[Finding]:
    """Boxes that are valid but hardly usable."""
    sides = (record.boxes[:, 2:] - record.boxes[:, :2]).min(axis=1, initial=np.inf)
    place = record.label_file or record.path
    for i in np.flatnonzero(sides < TINY_PX).tolist():
        message = f"a side of only {sides[i]:.2g} px"
        line = int(record.lines[i])
        yield row_finding("info", "box-tiny", message, place, line, rows_numbered_by(place))


def _recommend(
    root: Path, classes: Counter[str], records: int, empty: int, unlabelled: int
) -> Iterator[Finding]:
    """Advice about the dataset as a whole."""
    place = str(root)
    used = {name: n for name, n in classes.items() if n}
    unused = [name for name, n in classes.items() if not n]
    if unused:
        shown = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
        message = f"{len(unused)} classes have no box ({shown}): remove them or add examples"
        yield Finding("info", "class-unused", message, place)
    few = [name for name, n in used.items() if n < FEW_BOXES]
    if few:
        shown = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        message = f"{len(few)} classes have fewer than {FEW_BOXES} boxes ({shown}): add examples"
        yield Finding("info", "class-few", message, place)
    if used:
        most, least = max(used, key=used.__getitem__), min(used, key=used.__getitem__)
        if used[most] > IMBALANCE * used[least]:
            message = f"classes are uneven: '{most}' has {used[most]} boxes, '{least}' {used[least]}"
            yield Finding("info", "class-imbalance", f"{message}; add examples of the rare ones", place)
    if records and empty / records > EMPTY_SHARE:
        message = f"{empty} of {records} images have no box: make sure that they are background on purpose"
        yield Finding("info", "images-empty", message, place)
    if unlabelled:
        message = f"{unlabelled} images have no label file: they count as background in YOLO"
        yield Finding("info", "labels-missing", f"{message}; remove them if they were never labelled", place)


def check_data_quality(path: str | Path, *, decode: bool = False) -> QualityReport:
    """Check every image and every label row; nothing is changed.

    Images: headers are read, and JPEG files are checked for a missing end; `decode=True` decodes every
    image in full, which finds any damage and takes much longer. Labels: syntax, NaN, class range, boxes
    outside the image, without area or tiny, exact repeats, missing and orphan files. Recommendations: class
    imbalance, unused classes, the share of empty images.

    Raises `DatasetNotFoundError` / `DataError` when `path` is not a folder with images.
    """
    tree = scan_dataset(path)
    opened = open_folder(tree)
    found: list[Finding] = []
    classes: Counter[str] = Counter()
    rows = records = empty = unlabelled = 0
    headers_read: set[Path] = set()
    for dataset in opened.datasets:
        classes.update(dict.fromkeys(dataset.names, 0))
        reading = tqdm(dataset.read(), dataset.format, len(tree.images), False, unit="img", disable=None)
        for item in reading:
            rows += item.rows
            found.extend(item.findings)
            if item.image is not None and any(f.code == "image-unreadable" for f in item.dropped):
                headers_read.add(item.image)
            record = item.record
            if record is None:
                continue
            headers_read.add(record.path)
            records += 1
            empty += not len(record.boxes)
            if record.label_file is None:
                unlabelled += 1
                found.append(Finding("info", "label-missing", "no label file: background", str(record.path)))
            classes.update(dataset.names[i] for i in record.classes.tolist())
            found.extend(_check_boxes(record))
    broken = {f.file for f in found if f.code == "image-unreadable"}
    images = sorted({*tree.images, *headers_read} - {Path(file) for file in broken if file})
    for image in tqdm(images, "images", leave=False, unit="img", disable=None):
        problem = _check_image(image, image in headers_read, decode)
        if problem is not None:
            found.append(problem)
    found = list(dict.fromkeys(found))
    labels = [f for f in found if f.code not in _IMAGE_CODES | _FORMAT_CODES]
    formats = [*opened.findings, *(f for f in found if f.code in _FORMAT_CODES)]
    return QualityReport(
        root=tree.root,
        image_issues=_worst_first(f for f in found if f.code in _IMAGE_CODES),
        label_issues=_worst_first(labels),
        format_issues=_worst_first(formats),
        recommendations=tuple(_recommend(tree.root, classes, records, empty, unlabelled)),
        images_checked=len(images) + len(broken),
        boxes_checked=rows,
    )


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: _RANK[f.severity]))
