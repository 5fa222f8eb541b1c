"""What the columns of a CSV of boxes mean: decided by the header or the shape of the first rows.

Three forms are known: a header as TensorFlow's examples have it (any order, common synonyms); RetinaNet's
six columns without a header; and Open Images' boxes, which have a module of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from yolofast.formats.tables.rows import DELIMITERS, head_rows
from yolofast.images import IMAGE_SUFFIXES

SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": (
            "filename",
            "filepath",
            "file",
            "image",
            "imagename",
            "imagepath",
            "imageid",
            "imagefile",
            "imgpath",
            "img",
            "imgname",
            "path",
        ),
        "class": ("class", "classname", "label", "labelname", "category", "categoryname", "name", "object"),
        "x1": ("xmin", "x1", "left", "bboxxmin", "bboxx1"),
        "y1": ("ymin", "y1", "top", "bboxymin", "bboxy1"),
        "x2": ("xmax", "x2", "right", "bboxxmax", "bboxx2"),
        "y2": ("ymax", "y2", "bottom", "bboxymax", "bboxy2"),
        "width": ("width", "imagewidth", "imgwidth"),
        "height": ("height", "imageheight", "imgheight"),
    }
)
"""Column names, without case, blanks, `_` and `-`; the first that a header has counts."""
_REQUIRED = ("image", "class", "x1", "y1", "x2", "y2")
OPEN_IMAGES = ("imageid", "labelname", "xmin", "xmax", "ymin", "ymax")
"""The columns that make a header Open Images', in the same spelling."""


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How to read a CSV: `columns` maps image, class, x1, y1, x2, y2 and, where there, width and height to
    positions."""

    delimiter: str
    header: bool
    columns: Mapping[str, int]


def plain(name: str) -> str:
    """A column name without case, blanks, `_` and `-`."""
    return "".join(c for c in name.casefold() if c not in " _-")


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _header_columns(row: list[str]) -> dict[str, int] | None:
    names = [plain(name) for name in row]
    columns = {}
    for key, known in SYNONYMS.items():
        position = next((names.index(name) for name in known if name in names), None)
        if position is not None:
            columns[key] = position
    return columns if all(key in columns for key in _REQUIRED) else None


def is_open_images_header(row: list[str]) -> bool:
    return set(OPEN_IMAGES) <= {plain(name) for name in row}


def _is_retinanet_row(row: list[str]) -> bool:
    """`path,x1,y1,x2,y2,class`, or `path,,,,,` for a picture without boxes."""
    if len(row) != 6 or PurePosixPath(row[0].replace("\\", "/")).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return not any(row[1:]) or (all(map(is_number, row[1:5])) and row[5] != "")


def csv_layout(path: Path) -> CsvLayout | None:
    """How to read a file as TensorFlow's or RetinaNet's CSV; None when it is neither."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter)
        if not rows:
            continue
        columns = _header_columns(rows[0])
        if columns is not None and not is_open_images_header(rows[0]):
            return CsvLayout(delimiter, True, columns)
        six = [row for row in rows if len(row) != 1]  # a path alone is a picture without boxes
        if six and all(map(_is_retinanet_row, six)):
            return CsvLayout(
                delimiter, False, dict(zip(("image", "x1", "y1", "x2", "y2", "class"), range(6), strict=True))
            )
    return None


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def class_map(path: Path) -> dict[str, int] | None:
    """The ids by name of a RetinaNet class file (`name,id` a line, ids from 0, each once), else None."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter, count=10_000)
        if not rows or any(len(row) != 2 or not row[0] or not _is_id(row[1]) for row in rows):
            continue
        found = {row[0]: int(row[1]) for row in rows}
        if sorted(found.values()) == list(range(len(rows))):
            return found
    return None
