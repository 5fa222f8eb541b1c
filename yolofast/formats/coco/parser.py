"""One COCO json file as columns: what is usual is read natively, what is odd is looked at one by one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, at
from yolofast.kernels._annotations import read_label_file
from yolofast.types import Severity

MAX_BYTES = 8 << 30
"""Larger files are refused: COCO's own are half a GB, the largest public sets have 3 GB."""
_UTF8_MARK = b"\xef\xbb\xbf"
_NATIVE_PLACE = re.compile(r"line (\d+), column \d+: ")

Problem = tuple[Severity, str, str]
"""Why an annotation is no box: severity, code, message."""
CROWD: Problem = ("info", "box-crowd", "crowd: the box stands for many objects")


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of `images`."""

    file_name: str
    stated: tuple[object, object] | None
    """Its (width, height) as the file has them."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """Images in the file's order, and the annotations (N), image by image.

    Those of image i are `offsets[i]:offsets[i + 1]`; behind them, up to N, are those of no image.
    """

    path: Path
    images: list[CocoImage]
    categories: list[dict[str, Any]]
    offsets: NDArray[np.int64]
    ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    """float64 [N, 4] left, top, width, height, pixels."""
    problems: Mapping[int, Problem]
    """Of the annotations that are no boxes, by place."""


def read_coco_file(path: Path) -> CocoFile:
    """Read a file whole. Raises `DataError` where it is no JSON, or lacks one of COCO's three lists."""
    data = _bytes(path)
    try:
        columns = read_label_file(np.frombuffer(data, dtype=np.uint8))
    except ValueError as error:
        place = _NATIVE_PLACE.match(str(error))
        line = int(place[1]) if place else None
        raise DataError(f"{at(path, line)}: not valid JSON: {_NATIVE_PLACE.sub('', str(error))}.") from None
    if columns["missing"]:
        raise _not_coco(path, columns["missing"])
    categories = _value(path, data, *columns["categories"])
    if not isinstance(categories, list) or not all(isinstance(entry, dict) for entry in categories):
        raise _not_coco(path, "categories")
    odd_images = {number: _value(path, data, *place) for number, *place in columns["odd_images"]}
    odd_rows = {number: _value(path, data, *place) for number, *place in columns["odd_annotations"]}
    images, image_ids = _images(path, columns, odd_images)
    del data
    image_of = _places(columns, odd_rows, image_ids if odd_images or odd_rows else None)
    problems: dict[int, Problem] = dict.fromkeys(np.flatnonzero(columns["crowd"]).tolist(), CROWD)
    for number, annotation in odd_rows.items():
        problem = _take_odd(annotation, number, columns)
        if problem is not None:
            problems[number] = problem
    order = np.argsort(image_of, kind="stable")
    counts = np.bincount(image_of, minlength=len(images) + 1)
    new_place = np.empty_like(order)
    new_place[order] = np.arange(len(order))
    return CocoFile(
        path,
        images,
        categories,
        np.concatenate([[0], np.cumsum(counts[: len(images)])]),
        columns["ids"][order],
        columns["category_ids"][order],
        columns["boxes"][order],
        {int(new_place[number]): problem for number, problem in problems.items()},
    )


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: got {size} bytes, expected a COCO file of at most {MAX_BYTES}.")
        return path.read_bytes().removeprefix(_UTF8_MARK)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _not_coco(path: Path, key: str) -> DataError:
    return DataError(f"{path}: not a COCO file: expected '{key}' to be a list of objects.")


def _value(path: Path, data: bytes, begin: int, end: int) -> Any:
    """The value between two places of the file."""
    try:
        return json.loads(data[begin:end]) if end > begin else None
    except json.JSONDecodeError as error:
        line = data.count(b"\n", 0, begin) + error.lineno
        raise DataError(f"{at(path, line)}: not valid JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or a number of 5000 digits
        line = data.count(b"\n", 0, begin) + 1
        raise DataError(f"{at(path, line)}: cannot be read as JSON: {error}") from None


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)


def _images(
    path: Path, columns: Mapping[str, Any], odd: Mapping[int, dict[str, Any]]
) -> tuple[list[CocoImage], dict[object, int]]:
    """All images, and the place of each id: of equal ids the first."""
    images: list[CocoImage] = []
    places: dict[object, int] = {}
    usual = zip(columns["images"].tolist(), columns["file_names"], columns["sizes"].tolist(), strict=True)
    for number, (image_id, name, size) in enumerate(usual):
        entry = odd.get(number)
        if entry is not None:
            image_id, name, size = (
                entry.get("id"),
                entry.get("file_name"),
                (entry.get("width"), entry.get("height")),
            )
            if not isinstance(name, str) or not _is_id(image_id):
                raise DataError(
                    f"{path}: image {entry}: expected a number or text as 'id' and a text 'file_name'."
                )
        else:
            try:
                name = name.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: cannot be read as JSON: image {image_id}: {error}") from None
        stated = None if None in size or -1 in size else (size[0], size[1])
        images.append(CocoImage(name, stated))
        places.setdefault(image_id, number)
    return images, places


def _places(
    columns: Mapping[str, Any], odd: Mapping[int, dict[str, Any]], places: Mapping[object, int] | None
) -> NDArray[np.int64]:
    """The number of each annotation's image; one more than the last for those without.

    `places` is given where an image or annotation is odd: ids may be anything then.
    """
    ids, wanted = columns["images"], columns["image_ids"]
    if places is not None:
        keys: list[object] = wanted.tolist()
        for number, annotation in odd.items():
            image_id = annotation.get("image_id")
            keys[number] = image_id if _is_id(image_id) else None
        return np.array([places.get(key, len(ids)) for key in keys], dtype=np.int64)
    if not len(ids):
        return np.zeros(len(wanted), dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    found = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][found] == wanted, order[found], len(ids))


def _take_odd(annotation: dict[str, Any], number: int, columns: Mapping[str, Any]) -> Problem | None:
    """Put an annotation that is not as usual into the columns; why it is no box, if it is none."""
    identity = whole(annotation.get("id"))
    columns["ids"][number] = identity if _is_int64(identity) else number
    if annotation.get("iscrowd"):
        return CROWD
    box, category = annotation.get("bbox"), whole(annotation.get("category_id"))
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return "error", "box-columns", f"bbox {box}: expected [x, y, width, height] in pixels"
    if not _is_int64(category):
        return "error", "box-class", f"category id {category!r}: not in the file's categories"
    columns["category_ids"][number] = category
    columns["boxes"][number] = [_pixels(value) for value in box]
    return None


def whole(value: object) -> object:
    """A number such as 3.0 as an int, which tables with gaps make of ids; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_int64(value: object) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pixels(value: float) -> float:
    """A json number as float; a whole number too large for one becomes infinite, as 1e999 does."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
