"""YOLO text labels of a dataset that has a data.yaml: `class x y w h` a line, one .txt an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from yolofast.formats.boxes import row_finding, rows_without_image, xywh_to_xyxy
from yolofast.formats.data_yaml import DataYaml, label_places, list_images
from yolofast.formats.dataset import FoundImage, LabelFileError, RawRows, ReadImage, complete_images, parsing
from yolofast.formats.unread import explain_row
from yolofast.kernels import parse_yolo_labels
from yolofast.kernels.parsed_labels import KEYPOINTS, POLYGON, QUAD, LabelError, ParsedLabels
from yolofast.types import Finding, ImageRecord, Split

_KINDS = {
    POLYGON: ("polygons", "they become the boxes around them"),
    QUAD: (
        "four points (oriented boxes or polygons, which look the same)",
        "they become the upright boxes around them",
    ),
    KEYPOINTS: ("boxes with keypoints", "the boxes are taken"),
}
_ROW_ERRORS = {
    "syntax": ("box-syntax", "a field is not a number"),
    "columns": (
        "box-columns",
        "expected 5 numbers (class x y w h), a polygon of 3 or more points, or keypoints as kpt_shape says",
    ),
    "confidence": (
        "box-columns",
        "6 numbers are a box with a confidence: a prediction, no label. Remove the last column",
    ),
    "non-finite": ("box-nan", "got NaN or infinity, expected numbers"),
    "class": ("box-class", "the class must be a whole number from 0"),
}


def find_label(image: Path) -> Path | None:
    """The label file of an image: the first of `label_places` where there is one, else None."""
    return next((place for place in label_places(image) if place.is_file()), None)


class RowTally:
    """What the rows of all label files were, counted while they are read."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.kinds = np.zeros(4, dtype=np.int64)
        self.unnamed, self.unnamed_files, self.highest = 0, 0, -1

    def add(self, parsed: ParsedLabels) -> None:
        if len(parsed) == 0:
            return
        self.kinds += np.bincount(parsed.kinds, minlength=4)
        highest = int(parsed.classes.max())
        if highest >= self.num_classes:
            self.unnamed += int(np.count_nonzero(parsed.classes >= self.num_classes))
            self.unnamed_files += 1
            self.highest = max(self.highest, highest)

    def findings(self, names_from: Path | None) -> tuple[Finding, ...]:
        """One finding for each kind of row that is no plain box, and one for all class ids that the file
        `names_from` does not name."""
        found = []
        for kind, (what, becomes) in _KINDS.items():
            if self.kinds[kind]:
                message = f"{self.kinds[kind]} of {self.kinds.sum()} rows are {what}: {becomes}"
                found.append(Finding("info", "label-kinds", message))
        if self.unnamed and names_from is not None:
            message = (
                f"names the classes 0 to {self.num_classes - 1}, but {self.unnamed} rows in "
                f"{self.unnamed_files} label files have class ids up to {self.highest}. Add the names."
            )
            found.append(Finding("error", "names-short", message, str(names_from)))
        return tuple(found)


def parse_label_file(path: Path, keypoints: tuple[int, int] | None = None) -> ParsedLabels:
    """The rows of a label file; raises `LabelFileError`."""
    with parsing():
        return parse_yolo_labels(path.read_bytes(), keypoints=keypoints)


def _row_error(error: LabelError) -> tuple[str, str]:
    """Code and reason of a row that is no object."""
    code, reason = _ROW_ERRORS[error.code]
    return code, (explain_row(error.text) if error.code == "syntax" else None) or reason


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


def find_in_label_file(
    image: Path,
    label_file: Path | None,
    split: Split | None,
    keypoints: tuple[int, int] | None = None,
    tally: RowTally | None = None,
) -> FoundImage | ReadImage:
    """One image with the rows of its label file, counted in `tally`; no file means an image without boxes.

    An image whose label file cannot be read is left out: it comes back as complete.
    """
    if label_file is None:
        parsed = parse_yolo_labels(b"")
    else:
        try:
            parsed = parse_label_file(label_file, keypoints)
        except LabelFileError as error:
            return ReadImage(image, None, 0, (error.finding(label_file),))
        if tally is not None:
            tally.add(parsed)
    dropped = tuple(
        row_finding("error", code, f"'{e.text}': {reason}", label_file or image, e.line)
        for e in parsed.errors
        for code, reason in [_row_error(e)]
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
    found = (
        find_in_label_file(image, find_label(image), split, data.keypoints)
        for image in list_images(data, split)
    )
    for read in complete_images(found, num_classes=len(data.names)):
        yield read.record, read.findings
