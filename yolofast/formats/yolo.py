"""YOLO text labels of a dataset that has a data.yaml: `class x y w h` a line, one .txt an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from yolofast.formats.boxes import row_finding, rows_without_image, xywh_to_xyxy
from yolofast.formats.data_yaml import DataYaml, label_places, list_images
from yolofast.formats.dataset import FoundImage, LabelFileError, RawRows, ReadImage, complete_images, parsing
from yolofast.kernels import parse_yolo_labels
from yolofast.kernels.parsed_labels import ParsedLabels
from yolofast.types import Finding, ImageRecord, Split

_ROW_ERRORS = {
    "syntax": ("box-syntax", "a field is not a number"),
    "columns": ("box-columns", "expected 5 numbers (class x y w h) or a polygon of 3 or more points"),
    "non-finite": ("box-nan", "got NaN or infinity, expected numbers"),
    "class": ("box-class", "the class must be a whole number from 0"),
}


def find_label(image: Path) -> Path | None:
    """The label file of an image: the first of `label_places` where there is one, else None."""
    return next((Path(place) for place in label_places(image) if os.path.isfile(place)), None)  # noqa: PTH113


def parse_label_file(path: Path) -> ParsedLabels:
    """The rows of a label file; raises `LabelFileError`."""
    with parsing():
        return parse_yolo_labels(path.read_bytes())


def rows_of_no_image(
    label_file: Path, why: str, image: Path | None = None, notes: tuple[Finding, ...] = ()
) -> ReadImage:
    """All rows of a label file, left out because its image is not used (None: because it has none)."""
    try:
        parsed = parse_label_file(label_file)
    except LabelFileError as error:
        return ReadImage(image, None, 0, (error.finding(label_file),), notes)
    lines = sorted([*parsed.lines.tolist(), *(e.line for e in parsed.errors)])
    return ReadImage(image, None, len(lines), rows_without_image(lines, why, label_file), notes)


def find_in_label_file(image: Path, label_file: Path | None, split: Split | None) -> FoundImage | ReadImage:
    """One image with the rows of its label file; no file means an image without boxes.

    An image whose label file cannot be read is left out: it comes back as complete.
    """
    if label_file is None:
        parsed = parse_yolo_labels(b"")
    else:
        try:
            parsed = parse_label_file(label_file)
        except LabelFileError as error:
            return ReadImage(image, None, 0, (error.finding(label_file),))
    dropped = tuple(
        row_finding(
            "error",
            _ROW_ERRORS[e.code][0],
            f"'{e.text}': {_ROW_ERRORS[e.code][1]}",
            label_file or image,
            e.line,
        )
        for e in parsed.errors
    )
    rows = RawRows(xywh_to_xyxy(parsed.boxes), parsed.classes, parsed.lines, normalised=True)
    return FoundImage(image, split, label_file, rows, dropped)


def iter_yolo_records(
    data: DataYaml, split: Split
) -> Iterator[tuple[ImageRecord | None, tuple[Finding, ...]]]:
    """Every image of a split in path order, with what was found wrong in it.

    Sizes come from the image headers (EXIF orientation applied) and boxes have passed
    `apply_box_rules`. An image without a label file is background: a record without boxes. Bad rows
    are left out with a finding each; an image whose header cannot be read gives None as its record.

    Raises `DataError` when data.yaml does not name the split.
    """
    found = (find_in_label_file(image, find_label(image), split) for image in list_images(data, split))
    for read in complete_images(found, num_classes=len(data.names)):
        yield read.record, read.findings
