"""What the columns of a CSV of boxes mean: decided by the header or the form of the first rows.

Two layouts are supported: a header as in TensorFlow's examples (any order, common synonyms), and RetinaNet's
six columns without a header. Open Images' boxes have their own reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from yolofast.formats.tables.header import column_key, is_open_images_header
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
        "split": ("split", "splitname", "set", "subset", "datasplit", "mluse", "partition"),
    }
)
"""Known column names, as `column_key` spells them; the first that a header has is used."""
_REQUIRED = ("image", "class", "x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How to read a CSV: `columns` maps image, class, x1, y1, x2, y2 and, if present, width, height and split
    to column indices."""

    delimiter: str
    header: bool
    columns: Mapping[str, int]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _header_columns(row: list[str]) -> dict[str, int] | None:
    names = [column_key(name) for name in row]
    columns = {}
    for key, known in SYNONYMS.items():
        column = next((names.index(name) for name in known if name in names), None)
        if column is not None:
            columns[key] = column
    return columns if all(key in columns for key in _REQUIRED) else None


def _is_retinanet_row(row: list[str]) -> bool:
    """`path,x1,y1,x2,y2,class`, or `path,,,,,` for an image without boxes."""
    if len(row) != 6 or PurePosixPath(row[0].replace("\\", "/")).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    return not any(row[1:]) or (all(map(_is_number, row[1:5])) and row[5] != "")


def csv_layout(path: Path) -> CsvLayout | None:
    """How to read a TensorFlow or RetinaNet CSV; None when the file is neither."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter)
        if not rows:
            continue
        columns = _header_columns(rows[0])
        if columns is not None and not is_open_images_header(rows[0]):
            return CsvLayout(delimiter, True, columns)
        six = [row for row in rows if len(row) != 1]  # a path alone is an image without boxes
        if six and all(map(_is_retinanet_row, six)):
            return CsvLayout(
                delimiter, False, dict(zip(("image", "x1", "y1", "x2", "y2", "class"), range(6), strict=True))
            )
    return None


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def class_map(path: Path) -> dict[str, int] | None:
    """Name -> id of a RetinaNet class file (`name,id` per line, ids from 0, each once), else None."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter, count=10_000)
        if not rows or any(len(row) != 2 or not row[0] or not _is_id(row[1]) for row in rows):
            continue
        found = {row[0]: int(row[1]) for row in rows}
        if sorted(found.values()) == list(range(len(rows))):
            return found
    return None
