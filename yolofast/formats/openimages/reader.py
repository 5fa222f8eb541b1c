"""Reads Open Images labels: a CSV of normalised boxes, and a CSV that names the classes.

A box around a group of objects (IsGroupOf) cannot be the label of one object; it is dropped and reported, as
COCO's crowds are. The published files cover the whole collection: rows of images that are not in the folder
are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.tables.header import OPEN_IMAGES, column_key, is_open_images_header
from yolofast.formats.tables.images import Table, table_dataset, tables_by_split
from yolofast.formats.tables.rows import DELIMITERS, RowColumns, head_rows, parse_box, read_rows
from yolofast.types import Finding

_BOX = ("xmin", "ymin", "xmax", "ymax")
_CODES = ("/m/", "/g/", "/t/")
"""Prefixes of class codes."""
_UNLABELLED = "no row of the Open Images boxes names this image"


def _delimiter(path: Path) -> str | None:
    """The delimiter of a CSV of Open Images boxes; None for any other file."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter, count=1)
        if rows and is_open_images_header(rows[0]):
            return delimiter
    return None


def find_open_images(tree: FileTree) -> tuple[Path, ...]:
    """The tables whose header has Open Images' columns."""
    return tuple(path for path in tree.tables if _delimiter(path) is not None)


def _describes_classes(path: Path) -> bool:
    """Whether a file has rows `/m/0abc,Name`."""
    rows = head_rows(path, ",", count=2)
    return bool(rows) and all(len(row) == 2 for row in rows) and rows[-1][0].startswith(_CODES)


def _display_names(tree: FileTree) -> tuple[dict[str, str], list[Path]]:
    """Class code -> display name, and the files with these names."""
    files = [path for path in tree.tables if _describes_classes(path)]
    names: dict[str, str] = {}
    for path in files:
        for _, row in read_rows(path, ","):
            if len(row) == 2 and row[0].startswith(_CODES) and row[1]:
                names.setdefault(row[0], row[1])
    return names, files


def _read_columns(path: Path, stems: frozenset[str], labels: dict[str, int]) -> tuple[RowColumns, int]:
    """The rows of the images `stems`, and how many rows other images have; `labels` numbers the classes."""
    columns, skipped = RowColumns(), 0
    rows = read_rows(path, _delimiter(path) or ",")
    _, header = next(rows)
    at = {column_key(name): i for i, name in enumerate(header)}
    image_at, label_at, group_at = at["imageid"], at["labelname"], at.get("isgroupof", -1)
    needed = max(at[key] for key in OPEN_IMAGES) + 1
    for line, row in rows:
        if len(row) > image_at and row[image_at] not in stems:
            skipped += 1
            continue
        image = columns.add_image(row[image_at] if len(row) > image_at else "", line)
        if len(row) < needed:
            message = f"got {len(row)} fields, expected {len(header)}"
            columns.drop_row(image, row_finding("error", "box-columns", message, path, line))
            continue
        if 0 <= group_at < len(row) and row[group_at] == "1":
            message = "group: the box stands for many objects"
            columns.drop_row(image, row_finding("info", "box-crowd", message, path, line))
            continue
        box = parse_box([row[at[key]] for key in _BOX], "XMin, YMin, XMax, YMax from 0 to 1")
        if isinstance(box, str):
            columns.drop_row(image, row_finding("error", "box-columns", box, path, line))
            continue
        if not row[label_at]:
            columns.drop_row(
                image, row_finding("error", "box-class", "a row without a LabelName", path, line)
            )
            continue
        columns.add_row(image, labels.setdefault(row[label_at], len(labels)), line, box)
    return columns, skipped


def _named(
    labels: Mapping[str, int], display: Mapping[str, str], file: Path
) -> tuple[tuple[str, ...], list[int], tuple[Finding, ...]]:
    """Class names, the class of each label, and a finding about codes without a name."""
    shown = [display.get(code, code) for code in labels]
    names = tuple(sorted(set(shown)))
    unnamed = [code for code in labels if code.startswith(_CODES) and code not in display]
    notes = []
    if unnamed:
        message = (
            f"{len(unnamed)} LabelNames such as '{unnamed[0]}' have no name here: the codes stay. "
            "Put the class-descriptions CSV into the folder."
        )
        notes.append(Finding("warning", "names-missing", message, str(file)))
    return names, [names.index(name) for name in shown], tuple(notes)


def open_open_images(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The Open Images boxes of a tree as one dataset, with the classes that occur in them.

    Raises `DataError` for a file with broken quotes, and when no box belongs to an image in the tree.
    """
    stems = frozenset(image.stem for image in tree.images)
    labels: dict[str, int] = {}
    tables, skipped = [], 0
    for path, split in tables_by_split(tree, files):
        columns, others = _read_columns(path, stems, labels)
        skipped += others
        tables.append(Table(path, columns, True, split))
    if not labels:
        raise DataError(
            f"{tree.root}: {len(files)} Open Images CSV file(s) have no box of an image in this folder "
            f"({skipped} rows name other images). Add the images, or the CSV of their split."
        )
    display, sources = _display_names(tree)
    names, classes, notes = _named(labels, display, files[0])
    return table_dataset(
        "openimages",
        tree,
        tables,
        names,
        classes,
        unlabelled=_UNLABELLED,
        findings=notes,
        evidence=(
            f"{len(files)} Open Images CSV file(s), {sum(len(t.columns) for t in tables)} rows",
            *(f"class names from {tree.relative(path)}" for path in sources),
            *([f"{skipped} rows of images that are not in this folder were skipped"] if skipped else []),
        ),
    )
