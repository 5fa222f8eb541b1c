"""CSV labels with pixel boxes: TensorFlow's columns with a header, RetinaNet's six without.

One row is one box, and an image's rows may stand anywhere. A row with an image and nothing else is a
picture without boxes. Coordinates that end at 1 or before are shares of the image's sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding
from yolofast.formats.dataset import LabelledDataset, complete_images
from yolofast.formats.discover import FileTree
from yolofast.formats.csv.columns import CsvLayout, class_map, csv_layout
from yolofast.formats.tables.images import (
    Table,
    find_table_images,
    in_split_order,
    sorted_names,
    table_splits,
)
from yolofast.formats.tables.rows import RowColumns, read_rows
from yolofast.types import Finding

_BOX = ("x1", "y1", "x2", "y2")
_UNLABELLED = "no row of a CSV names this image (a picture without boxes is a row with the path alone)"


def find_csv(tree: FileTree) -> tuple[Path, ...]:
    """The tables with boxes, by their header or the shape of their first rows."""
    return tuple(path for path in tree.tables if csv_layout(path) is not None)


class _Labels:
    """Numbers for class names in the order in which they are met; only known ones where a file lists them."""

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


def _read_columns(path: Path, form: CsvLayout, labels: _Labels) -> RowColumns:
    columns, at = RowColumns(), form.columns
    wanted = max(at.values()) + 1 if form.header else 6
    needed = max(at[key] for key in ("image", "class", *_BOX)) + 1
    sizes = "width" in at and "height" in at
    rows = read_rows(path, form.delimiter)
    if form.header:
        next(rows, None)
    for line, row in rows:
        name = row[at["image"]] if at["image"] < len(row) else ""
        stated = (row[at["width"]], row[at["height"]]) if sizes and len(row) >= wanted else None
        image = columns.add_image(name, line, stated if stated and all(stated) else None)
        if name and not any(row[i] for i in (at["class"], *(at[key] for key in _BOX)) if i < len(row)):
            continue  # a picture without boxes
        if len(row) < needed:
            message = f"got {len(row)} fields, expected {wanted}"
            columns.drop_row(image, row_finding("error", "box-columns", message, path, line))
            continue
        texts = [row[at[key]] for key in _BOX]
        try:
            box = [float(text) for text in texts]
        except ValueError:
            message = f"box {texts}: expected four numbers xmin, ymin, xmax, ymax"
            columns.drop_row(image, row_finding("error", "box-columns", message, path, line))
            continue
        label = labels.number(row[at["class"]])
        if isinstance(label, str):
            columns.drop_row(image, row_finding("error", "box-class", label, path, line))
            continue
        columns.add_row(image, label, line, box)
    return columns


def _class_files(tree: FileTree) -> tuple[Mapping[str, int] | None, str, tuple[Finding, ...]]:
    """The first class file (`name,id`), what it is called, and those that say something else."""
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
    """The CSV files of a tree as one dataset; a file is a split when its path names one.

    Class names come from a class file (`name,id` a line) where there is one, else from the rows, sorted.

    Raises `DataError` for a file whose quotes are broken, and when no row has a class.
    """
    known, source, notes = _class_files(tree)
    labels = _Labels(known, source)
    tables = []
    for path, split in in_split_order(tree, files):
        form = csv_layout(path)
        if form is not None:
            columns = _read_columns(path, form, labels)
            tables.append(Table(path, columns, columns.are_shares(), split))
    names = tuple(sorted(known, key=lambda name: known[name])) if known else sorted_names(labels.numbers)
    if not names:
        first = next((f for t in tables for found in t.columns.dropped.values() for f in found), None)
        problem = f" The first problem: {first}." if first else ""
        raise DataError(f"{tree.root}: {len(files)} CSV file(s) hold no box with a class.{problem}")
    classes = [names.index(name) for name in labels.numbers]
    shares = [tree.relative(t.path) for t in tables if t.normalised]
    return LabelledDataset(
        "csv",
        names,
        table_splits(tree, tables),
        lambda: complete_images(
            find_table_images(tree, tables, classes, _UNLABELLED), num_classes=len(names)
        ),
        notes,
        (
            f"{len(files)} CSV file(s) with boxes, {sum(len(t.columns) for t in tables)} rows",
            *([f"class names and ids from {source}"] if known else []),
            *(
                [f"coordinates of {', '.join(shares)} end at 1: shares of the image's sides"]
                if shares
                else []
            ),
        ),
    )
