"""What the columns of a CSV of boxes mean: decided by the header or the form of the first rows.

A header may be in any order and use common synonyms; it has the corners of a box, or a corner or the centre
and the size, or all four numbers in one column (`bbox`). Four forms without a header are known by the place
of the image's name. Open Images' boxes have their own reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from yolofast.formats.tables.header import column_key, is_open_images_header
from yolofast.formats.tables.rows import DELIMITERS, head_rows
from yolofast.images import IMAGE_SUFFIXES

BoxForm = Literal["corners", "size", "centre", "cell"]
"""Corners; left, top and size; centre and size; or four numbers in one column."""
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
            "patientid",
        ),
        "class": (
            "class",
            "classname",
            "label",
            "labelname",
            "category",
            "categoryname",
            "name",
            "object",
            "classid",
            "labelid",
            "categoryid",
            "target",
        ),
        "x1": ("xmin", "x1", "left", "bboxxmin", "bboxx1", "x", "bboxx", "boxx"),
        "y1": ("ymin", "y1", "top", "bboxymin", "bboxy1", "y", "bboxy", "boxy"),
        "x2": ("xmax", "x2", "right", "bboxxmax", "bboxx2"),
        "y2": ("ymax", "y2", "bottom", "bboxymax", "bboxy2"),
        "xc": ("xcenter", "xcentre", "centerx", "centrex", "xc", "cx"),
        "yc": ("ycenter", "ycentre", "centery", "centrey", "yc", "cy"),
        "w": ("w", "bboxwidth", "boxwidth", "bboxw", "width"),
        "h": ("h", "bboxheight", "boxheight", "bboxh", "height"),
        "bbox": ("bbox", "box", "boundingbox", "bboxes", "coordinates"),
        "width": ("imagewidth", "imgwidth", "width"),
        "height": ("imageheight", "imgheight", "height"),
        "split": ("split", "splitname", "set", "subset", "datasplit", "mluse", "partition"),
    }
)
"""Known column names, as `column_key` spells them; the first that a header has is used."""
BOX_COLUMNS: Mapping[BoxForm, tuple[str, ...]] = MappingProxyType(
    {
        "corners": ("x1", "y1", "x2", "y2"),
        "size": ("x1", "y1", "w", "h"),
        "centre": ("xc", "yc", "w", "h"),
        "cell": ("bbox",),
    }
)
"""The columns of each form; a header that has those of several is of the first."""


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How to read a CSV: `columns` maps image, those of `BOX_COLUMNS[form]` and, if present, class, width and
    height of the image, and split to column indices. Without a header, a row has `fields` fields."""

    delimiter: str
    header: bool
    columns: Mapping[str, int]
    form: BoxForm = "corners"
    fields: int = 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _header_layout(row: list[str], delimiter: str) -> CsvLayout | None:
    names = [column_key(name) for name in row]
    found = {}
    for key, known in SYNONYMS.items():
        column = next((names.index(name) for name in known if name in names), None)
        if column is not None:
            found[key] = column
    form = next((form for form, keys in BOX_COLUMNS.items() if found.keys() >= set(keys)), None)
    if form is None or "image" not in found:
        return None
    keys = ("image", *BOX_COLUMNS[form])
    box = {found[key] for key in keys}
    extra = (key for key in ("class", "width", "height", "split") if found.get(key, -1) not in {-1, *box})
    return CsvLayout(delimiter, True, {key: found[key] for key in (*keys, *extra)}, form)


def _is_image(text: str) -> bool:
    return PurePosixPath(text.replace("\\", "/")).suffix.lower() in IMAGE_SUFFIXES


def _are_numbers(texts: list[str]) -> bool:
    return all(map(_is_number, texts))


def _is_retinanet_row(row: list[str]) -> bool:
    """`path,x1,y1,x2,y2,class`, or `path,,,,,` for an image without boxes."""
    return _is_image(row[0]) and (not any(row[1:]) or (_are_numbers(row[1:5]) and row[5] != ""))


def _is_sku110k_row(row: list[str]) -> bool:
    """`path,x1,y1,x2,y2,class,width,height` of the image."""
    return _is_image(row[0]) and _are_numbers([*row[1:5], *row[6:]]) and row[5] != ""


def _is_makesense_row(row: list[str]) -> bool:
    """`class,x,y,width,height,path,width,height`: of the box, then of the image."""
    return _is_image(row[5]) and _are_numbers([*row[1:5], *row[6:]]) and row[0] != ""


def _is_automl_row(row: list[str]) -> bool:
    """`split,path,class,x1,y1,,,x2,y2,,`, or without class and numbers for an image without boxes."""
    return _is_image(row[1]) and (not any(row[2:]) or _are_numbers([*row[3:5], *row[7:9]]))


def _without_header(names: str) -> Mapping[str, int]:
    return {name: index for index, name in enumerate(names.split(",")) if name}


_HEADERLESS: tuple[tuple[Callable[[list[str]], bool], int, BoxForm, Mapping[str, int]], ...] = (
    (_is_retinanet_row, 6, "corners", _without_header("image,x1,y1,x2,y2,class")),
    (_is_sku110k_row, 8, "corners", _without_header("image,x1,y1,x2,y2,class,width,height")),
    (_is_makesense_row, 8, "size", _without_header("class,x1,y1,w,h,image,width,height")),
    (_is_automl_row, 11, "corners", _without_header("split,image,class,x1,y1,,,x2,y2,,")),
)
"""Whether a row has a form, its number of fields, and what they are."""


def csv_layout(path: Path) -> CsvLayout | None:
    """How to read a CSV of boxes; None when the file has none of the forms."""
    for delimiter in DELIMITERS:
        rows = head_rows(path, delimiter)
        if not rows:
            continue
        layout = _header_layout(rows[0], delimiter)
        if layout is not None and not is_open_images_header(rows[0]):
            return layout
        full = [row for row in rows if len(row) != 1]  # a path alone is an image without boxes
        for fits, fields, form, columns in _HEADERLESS:
            if full and all(len(row) == fields and fits(row) for row in full):
                return CsvLayout(delimiter, False, columns, form, fields)
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
