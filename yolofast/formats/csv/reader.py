"""Reads CSV labels: with a header, as of TensorFlow and Kaggle, or in one of the forms without one.

One row is one box; the rows of an image may be anywhere in the file. A row with an image and nothing else is
an image without boxes. Coordinates that do not exceed 1 are normalised by the image size. Without a column of
classes there is one class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding
from yolofast.formats.csv.cells import cell_fields, cells_are_corners
from yolofast.formats.csv.columns import BOX_COLUMNS, BoxForm, CsvLayout, class_map, csv_layout
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.names.order import ONLY_CLASS, sorted_names
from yolofast.formats.splits import split_of_name
from yolofast.formats.tables.images import Table, table_dataset, tables_by_split
from yolofast.formats.tables.rows import RowColumns, parse_box, read_rows
from yolofast.formats.unique_names import check_names
from yolofast.limits import MAX_CLASSES
from yolofast.types import Finding

_NO_OBJECT = frozenset({"", "0", "none", "nan", "no finding", "background", "negative"})
"""Classes, in lower case, of rows without coordinates that mean an image without boxes."""
_EXPECTED: Mapping[BoxForm, str] = MappingProxyType(
    {
        "corners": "xmin, ymin, xmax, ymax",
        "size": "x, y, width, height",
        "centre": "centre x, centre y, width, height",
        "cell": "x, y, width, height",
    }
)
_UNLABELLED = "no row of a CSV names this image (a picture without boxes is a row with the path alone)"


def find_csv(tree: FileTree) -> tuple[Path, ...]:
    """The tables with boxes, recognised by their header or the form of their first rows."""
    return tuple(path for path in tree.tables if csv_layout(path) is not None)


class _Labels:
    """Numbers class names in order of appearance; where a class file lists names, only those."""

    def __init__(self, known: Mapping[str, int] | None, source: str) -> None:
        self.known, self.source = known, source
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int | str:
        """The number of a name, or why it has none."""
        if not name:
            return "a row without a class name"
        if self.known is not None and name not in self.known:
            return f"class '{name}': not in {self.source}"
        return self.numbers.setdefault(name, len(self.numbers))


class _Splits:
    """The split of each image of a file by its column; what it does not say, or says twice, is a finding."""

    def __init__(self, path: Path, columns: RowColumns) -> None:
        self.path, self.columns = path, columns
        self.unknown: dict[str, int] = {}
        """Texts that name no split -> the first line with each."""
        self.changes: dict[int, int] = {}
        """Images with rows of two splits -> the first line with the second."""

    def add(self, image: int, text: str, line: int) -> None:
        split = split_of_name(text)
        if split is None:
            if text:
                self.unknown.setdefault(text, line)
        elif self.columns.splits.setdefault(image, split) != split:
            self.changes.setdefault(image, line)

    def findings(self) -> Iterator[Finding]:
        for text, line in self.unknown.items():
            message = f"got '{text}' as a split, expected train, val or test"
            yield Finding("warning", "split-unknown", message, str(self.path), line)
        for image, line in self.changes.items():
            name, split = self.columns.names[image], self.columns.splits[image]
            message = f"image '{name}' has rows of two splits: it stays in {split}"
            yield Finding("warning", "split-overlap", message, str(self.path), line)


def _read_columns(path: Path, layout: CsvLayout, labels: _Labels) -> tuple[RowColumns, list[Finding]]:
    """The rows of a file, with labels numbered by `labels`, and what is wrong with its splits."""
    columns, at = RowColumns(), layout.columns
    splits, split_column = _Splits(path, columns), at.get("split")
    box_at, class_at = [at[key] for key in BOX_COLUMNS[layout.form]], at.get("class")
    wanted = layout.fields or max(at.values()) + 1
    needed = max(at["image"], *box_at, -1 if class_at is None else class_at) + 1
    sizes = "width" in at and "height" in at
    rows = read_rows(path, layout.delimiter)
    if layout.header:
        next(rows, None)
    for line, row in rows:
        name = row[at["image"]] if at["image"] < len(row) else ""
        stated = (row[at["width"]], row[at["height"]]) if sizes and len(row) >= wanted else None
        image = columns.add_image(name, line, stated if stated and all(stated) else None)
        if split_column is not None and split_column < len(row):
            splits.add(image, row[split_column], line)
        label = ONLY_CLASS if class_at is None else row[class_at] if class_at < len(row) else ""
        empty = name and not any(row[i] for i in box_at if i < len(row))
        if empty and (class_at is None or label.lower() in _NO_OBJECT):
            continue  # an image without boxes
        box: list[float] | str = f"got {len(row)} fields, expected {wanted}"
        if len(row) >= needed:
            texts = [row[i] for i in box_at]
            box = parse_box(texts if len(texts) == 4 else cell_fields(texts[0]), _EXPECTED[layout.form])
        if isinstance(box, str):
            columns.drop_row(image, row_finding("error", "box-columns", box, path, line))
            continue
        number = labels.number(label)
        if isinstance(number, str):
            columns.drop_row(image, row_finding("error", "box-class", number, path, line))
            continue
        if number > MAX_CLASSES:
            check_names(labels.numbers, str(path))
        columns.add_row(image, number, line, box)
    return columns, list(splits.findings())


def _to_corners(tree: FileTree, path: Path, layout: CsvLayout, columns: RowColumns) -> str:
    """Turn the boxes of a file into corners; a sentence says what was decided about them, if anything."""
    if layout.form == "centre":
        columns.from_centres()
    elif layout.form == "size":
        columns.from_sizes()
    elif layout.form == "cell":
        corners = cells_are_corners(tree, path, columns)
        if not corners:
            columns.from_sizes()
        form = "[xmin, ymin, xmax, ymax]" if corners else "[x, y, width, height]"
        return f"the boxes of {tree.relative(path)} are read as {form}"
    return ""


def _class_files(tree: FileTree) -> tuple[Mapping[str, int] | None, str, tuple[Finding, ...]]:
    """The first class file (`name,id`), its path, and findings about class files that contradict it."""
    maps = {path: found for path in tree.tables if (found := class_map(path)) is not None}
    if not maps:
        return None, "", ()
    first = next(iter(maps))
    notes = tuple(
        Finding(
            "error",
            "names-conflict",
            f"has other classes than {tree.relative(first)}, which counts. Keep one of the two.",
            str(path),
        )
        for path, found in maps.items()
        if found != maps[first]
    )
    return maps[first], tree.relative(first), notes


def open_csv(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The CSV files of a tree as one dataset.

    The split of an image is that of its rows' split column, else of the CSV file's path, else of lists and
    folders.

    Class names come from a class file (`name,id` per line) where there is one, else from the rows, sorted.

    Raises `DataError` for a file whose quotes are broken, and when no row has a class.
    """
    known, source, notes = _class_files(tree)
    labels = _Labels(known, source)
    tables, forms = [], list[str]()
    for path, split in tables_by_split(tree, files):
        layout = csv_layout(path)
        if layout is not None:
            columns, found = _read_columns(path, layout, labels)
            check_names(labels.numbers, str(path))
            notes += tuple(found)
            note = _to_corners(tree, path, layout, columns)
            forms += [note] if note else []
            if "class" not in layout.columns:
                message = f"no column names a class: all boxes are of one class, '{ONLY_CLASS}'"
                notes += (Finding("warning", "names-missing", message, str(path)),)
            tables.append(Table(path, columns, columns.are_normalised(), split))
    names = tuple(sorted(known, key=lambda name: known[name])) if known else sorted_names(labels.numbers)
    if not names:
        first = next((f for t in tables for found in t.columns.dropped.values() for f in found), None)
        problem = f" The first problem: {first}." if first else ""
        raise DataError(f"{tree.root}: {len(files)} CSV file(s) contain no box with a class.{problem}")
    index = {name: i for i, name in enumerate(names)}
    classes = [index[name] for name in labels.numbers]
    normalised = [tree.relative(t.path) for t in tables if t.normalised]
    return table_dataset(
        "csv",
        tree,
        tables,
        names,
        classes,
        unlabelled=_UNLABELLED,
        findings=notes,
        evidence=(
            f"{len(files)} CSV file(s) with boxes, {sum(len(t.columns) for t in tables)} rows",
            *([f"class names and ids from {source}"] if known else []),
            *([f"coordinates of {', '.join(normalised)} are normalised"] if normalised else []),
            *forms,
        ),
    )
