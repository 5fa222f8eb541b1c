"""Images with the rows of their YOLO label files: `class x y w h` per line, one .txt per image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from yolofast.formats.boxes import row_finding, rows_without_image, xywh_to_xyxy
from yolofast.formats.dataset import FoundImage, LabelFileError, RawRows, ReadImage, parsing
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.unsupported import explain_row
from yolofast.formats.yolo.parser import LabelScan, scan_label_files
from yolofast.kernels import parse_yolo_labels
from yolofast.kernels.parsed_labels import KEYPOINTS, POLYGON, QUAD, LabelError, ParsedLabels
from yolofast.types import Finding, Split

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


class RowCounts:
    """Counts the kinds of rows, and the rows without a class name, while label files are read."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.kinds = np.zeros(4, dtype=np.int64)
        self.unnamed, self.unnamed_files, self.highest = 0, 0, -1

    def add(self, scan: LabelScan) -> None:
        self.kinds += np.bincount(scan.kinds, minlength=4)
        beyond = np.flatnonzero(scan.classes >= self.num_classes)
        if len(beyond):
            self.unnamed += len(beyond)
            self.unnamed_files += len(np.unique(np.searchsorted(scan.offsets, beyond, side="right")))
            self.highest = max(self.highest, int(scan.classes[beyond].max()))

    def findings(self, names_from: Path | None) -> tuple[Finding, ...]:
        """One finding per kind of row other than a plain box, and one for all class ids that the file
        `names_from` does not name."""
        found = []
        for kind, (what, becomes) in _KINDS.items():
            if self.kinds[kind]:
                message = f"{self.kinds[kind]} of {self.kinds.sum()} rows are {what}: {becomes}"
                found.append(Finding("info", "label-kinds", message, count=int(self.kinds[kind])))
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
    """Code and reason of a row that is not an object."""
    code, reason = _ROW_ERRORS[error.code]
    return code, (explain_row(error.text) if error.code == "syntax" else None) or reason


def rows_of_no_image(
    label_file: Path, why: str, image: Path | None = None, notes: tuple[Finding, ...] = ()
) -> ReadImage:
    """All rows of a label file, dropped because its image is not used (None: because it has no image)."""
    try:
        parsed = parse_label_file(label_file)
    except LabelFileError as error:
        return ReadImage(image, None, 0, (error.finding(label_file),), notes)
    lines = sorted([*parsed.lines.tolist(), *(e.line for e in parsed.errors)])
    return ReadImage(image, None, len(lines), rows_without_image(lines, why, label_file), notes)


class ImageLabel(NamedTuple):
    """An image and its label file; no label file means an image without boxes."""

    image: Path
    label_file: Path | None
    split: Split | None


def read_label_rows(
    pairs: Iterable[ImageLabel | ReadImage], counts: RowCounts, keypoints: tuple[int, int] | None = None
) -> Iterator[FoundImage | ReadImage]:
    """Images with the rows of their label files, in order; many files are read at once.

    An image whose label file cannot be read is skipped (a `ReadImage` without a record). Complete items pass
    through. Rows are added to `counts`.
    """
    for items, scan in prefetch_batches(pairs, partial(_scan, keypoints=keypoints)):
        counts.add(scan)
        boxes = xywh_to_xyxy(scan.boxes)
        bad: dict[int, list[Finding]] = {}
        for file, finding in bad_rows(scan, [_source(item) for item in items]):
            bad.setdefault(file, []).append(finding)
        for i, item in enumerate(items):
            if isinstance(item, ReadImage):
                yield item
            elif scan.errno[i]:
                yield ReadImage(item.image, None, 0, (unreadable_label(_source(item), scan.reason(i)),))
            else:
                rows = scan.rows(i)
                found = RawRows(boxes[rows], scan.classes[rows], scan.lines[rows], normalised=True)
                yield FoundImage(item.image, item.split, item.label_file, found, tuple(bad.get(i, ())))


def _scan(items: list[ImageLabel | ReadImage], keypoints: tuple[int, int] | None) -> LabelScan:
    files = [item.label_file if isinstance(item, ImageLabel) else None for item in items]
    return scan_label_files(files, keypoints=keypoints)


def _source(item: ImageLabel | ReadImage) -> str:
    """The file to which findings about an item refer."""
    return str(item.label_file or item.image) if isinstance(item, ImageLabel) else ""


def unreadable_label(file: str | Path, reason: str) -> Finding:
    """The finding for a label file that cannot be read; its image is skipped."""
    return LabelFileError(f"cannot be read: {reason}").finding(Path(file))


def bad_rows(scan: LabelScan, files: Sequence[str]) -> Iterator[tuple[int, Finding]]:
    """(index of the file, finding) for each line that is not an object."""
    for file, error in scan.bad_lines:
        code, why = _row_error(error)
        yield file, row_finding("error", code, f"'{error.text}': {why}", files[file], error.line)
