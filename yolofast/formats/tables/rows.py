"""Rows of delimited text (CSV) with their lines, and boxes grouped by image.

A CSV names its images in any order, so all rows are kept until the last one is read: in flat columns of
numbers, about 50 bytes per row.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.brief import brief
from yolofast.errors import DataError, at
from yolofast.formats.dataset import RawRows
from yolofast.types import Finding, Split

DELIMITERS = (",", ";", "\t")
MAX_LINE = 1 << 20
"""A longer line is refused: the file is not a table, and the line would have to fit into memory."""
_HEAD_BYTES = 64 * 1024


def head_rows(path: Path, delimiter: str, count: int = 5) -> list[list[str]]:
    """The first non-blank rows of a file with stripped fields; a line that the head cuts off is ignored."""
    with path.open("rb") as file:
        data = file.read(_HEAD_BYTES)
    lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
    if len(data) == _HEAD_BYTES:
        lines = lines[:-1]
    try:
        rows = csv.reader([line for line in lines if line.strip()][:count], delimiter=delimiter)
        return [[field.strip() for field in row] for row in rows]
    except csv.Error:
        return []


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        while text := file.readline(MAX_LINE + 1):
            if len(text) > MAX_LINE:
                raise csv.Error(f"a line of more than {MAX_LINE} characters")
            yield text


def read_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped fields of each non-blank row, streamed.

    UTF-8 with or without a byte-order mark; other bytes become surrogates, so that file names in other
    encodings are found. Raises `DataError`, with the line, for broken quotes and for a field that spans lines
    or exceeds csv's limit of 131072 characters (a quote that is never closed).
    """
    line = 1
    try:
        reader = csv.reader(_lines(path), delimiter=delimiter, strict=True)
        for row in reader:
            if reader.line_num > line:
                raise DataError(f"{at(path, line)}: a quoted field runs over several lines. Close the quote.")
            fields = [field.strip() for field in row]
            if any(fields):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{at(path, line)}: not valid CSV: {error}.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def parse_box(texts: list[str], columns: str) -> list[float] | str:
    """Four coordinates, or why they are not a box; `columns` names them in that message."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        return f"box {brief(texts)}: expected four numbers {columns}"
    return numbers


@dataclass(slots=True)
class RowColumns:
    """Label rows of one file as columns; they refer to images by index.

    `add_image` gives a name its index. `dropped` maps an image to its rows that are not boxes.
    """

    names: list[str] = field(default_factory=list)
    stated: list[tuple[str, str] | None] = field(default_factory=list)
    stated_lines: list[int] = field(default_factory=list)
    dropped: dict[int, list[Finding]] = field(default_factory=dict)
    splits: dict[int, Split] = field(default_factory=dict)
    """The split of each image for which a column names one."""
    _indices: dict[str, int] = field(default_factory=dict)
    _image: array[int] = field(default_factory=lambda: array("q"))
    _class: array[int] = field(default_factory=lambda: array("q"))
    _line: array[int] = field(default_factory=lambda: array("q"))
    _box: array[float] = field(default_factory=lambda: array("d"))

    def add_image(self, name: str, line: int, stated: tuple[str, str] | None = None) -> int:
        """The index of the image called `name`; its first row states its size."""
        index = self._indices.setdefault(name, len(self.names))
        if index == len(self.names):
            self.names.append(name)
            self.stated.append(stated)
            self.stated_lines.append(line)
        return index

    def add_row(self, image: int, label: int, line: int, box: Sequence[float]) -> None:
        """Add one box, xyxy."""
        self._image.append(image)
        self._class.append(label)
        self._line.append(line)
        self._box.extend(box)

    def drop_row(self, image: int, finding: Finding) -> None:
        """Add a row that is not a box."""
        self.dropped.setdefault(image, []).append(finding)

    def __len__(self) -> int:
        return len(self._line)

    def boxes(self) -> NDArray[np.float64]:
        """The boxes [N, 4], which can be written; no row can be added while they are held."""
        return np.frombuffer(self._box, np.float64).reshape(-1, 4) if self._box else np.empty((0, 4))

    def images(self) -> NDArray[np.int64]:
        """int64 [N], the image of each box."""
        return np.frombuffer(self._image, np.int64) if self._image else np.empty(0, np.int64)

    def from_sizes(self) -> None:
        """Convert the boxes from left, top, width, height to corners."""
        boxes = self.boxes()
        with np.errstate(invalid="ignore", over="ignore"):  # the rules drop boxes that overflow
            boxes[:, 2:] += boxes[:, :2]

    def from_centres(self) -> None:
        """Convert the boxes from centre x, y, width, height to corners."""
        boxes = self.boxes()
        with np.errstate(invalid="ignore", over="ignore"):
            boxes[:, :2] -= boxes[:, 2:] / 2
        self.from_sizes()

    def are_normalised(self) -> bool:
        """Whether no coordinate of most boxes exceeds 1: they are then normalised by the image size.

        Not where all of these are whole numbers: `0, 0, 1, 1` may be a box of one pixel.
        """
        boxes = self.boxes()
        within = boxes[boxes.max(axis=1, initial=-np.inf) <= 1.0]
        return len(within) * 2 > len(boxes) and bool((within != np.round(within)).any())

    def by_image(self, classes: Sequence[int], *, normalised: bool) -> Iterator[tuple[int, RawRows]]:
        """Index and rows of every image, in the order of the file; `classes[label]` is the class of a row."""
        if not self.names:
            return
        image = np.frombuffer(self._image, np.int64)
        order = np.argsort(image, kind="stable")
        ends = np.cumsum(np.bincount(image, minlength=len(self.names)))
        labels, lines = np.frombuffer(self._class, np.int64), np.frombuffer(self._line, np.int64)
        boxes = np.frombuffer(self._box, np.float64).reshape(-1, 4)
        renumbered = np.asarray(classes, dtype=np.int64)
        begin = 0
        for index, end in enumerate(ends.tolist()):
            rows = order[begin:end]
            numbers = renumbered[labels[rows]] if end > begin else labels[rows]
            yield index, RawRows(boxes[rows], numbers, lines[rows], normalised)
            begin = end
