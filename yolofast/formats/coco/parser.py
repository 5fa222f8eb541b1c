"""Parses a COCO JSON file into columns: usual entries natively, all others one by one in Python."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from yolofast.brief import brief, brief_text
from yolofast.errors import DataError, at
from yolofast.files import first_zeros
from yolofast.formats.coco.masks import mask_box
from yolofast.formats.values import is_number
from yolofast.kernels._annotations import read_label_file
from yolofast.limits import MAX_ENTRY_BYTES, MAX_ENTRY_VALUES
from yolofast.types import Severity

MAX_BYTES = 8 << 30
"""Larger files are refused: COCO's own are half a GB, the largest public sets have 3 GB."""
_UTF8_MARK = b"\xef\xbb\xbf"
_NATIVE_POSITION = re.compile(r"line (\d+), column \d+: ")

Problem = tuple[Severity, str, str]
"""Why an annotation is not a box: severity, code, message."""
CROWD: Problem = ("info", "box-crowd", "crowd: the box stands for many objects (one object has iscrowd 0)")


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of `images`."""

    file_name: str
    stated: tuple[object, object] | None
    """(width, height) as the file states them."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The images in the order of the file, and its N annotations grouped by image.

    Image i has annotations `offsets[i]:offsets[i + 1]`; those from `offsets[-1]` to N belong to no image.
    `offsets` int64 [images + 1], `ids` and `category_ids` int64 [N].
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
    """Index of an annotation that is not a box -> why."""
    from_masks: int = 0
    """How many boxes are those around a segmentation, because `bbox` is missing or no box."""


def read_coco_file(path: Path) -> CocoFile:
    """Read a file. Raises `DataError` when it is not JSON, or lacks one of COCO's three lists."""
    data = _read_bytes(path)
    try:
        columns = read_label_file(np.frombuffer(data, dtype=np.uint8))
    except ValueError as error:
        position = _NATIVE_POSITION.match(str(error))
        line = int(position[1]) if position else None
        reason = _NATIVE_POSITION.sub("", str(error))
        raise DataError(f"{at(path, line)}: not valid JSON: {reason}.") from None
    if columns["missing"]:
        raise _not_coco(path, columns["missing"])
    categories = _value(path, data, *columns["categories"])
    if not isinstance(categories, list) or not all(isinstance(entry, dict) for entry in categories):
        raise _not_coco(path, "categories")
    unusual_images = {index: _value(path, data, *span) for index, *span in columns["unusual_images"]}
    unusual_rows = {index: _value(path, data, *span) for index, *span in columns["unusual_annotations"]}
    images, image_index = _images(path, columns, unusual_images)
    del data
    image_of = _image_of_annotations(
        columns, unusual_rows, image_index if unusual_images or unusual_rows else None
    )
    problems: dict[int, Problem] = dict.fromkeys(np.flatnonzero(columns["crowd"]).tolist(), CROWD)
    from_masks = 0
    for index, annotation in unusual_rows.items():
        outcome = _convert_unusual(annotation, index, columns)
        if isinstance(outcome, bool):
            from_masks += outcome
        else:
            problems[index] = outcome
    order = np.argsort(image_of, kind="stable")
    counts = np.bincount(image_of, minlength=len(images) + 1)
    new_index = np.empty_like(order)
    new_index[order] = np.arange(len(order))
    return CocoFile(
        path,
        images,
        categories,
        np.concatenate([[0], np.cumsum(counts[: len(images)])]),
        columns["ids"][order],
        columns["category_ids"][order],
        columns["boxes"][order],
        {int(new_index[index]): problem for index, problem in problems.items()},
        from_masks,
    )


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: got {size} bytes, expected a COCO file of at most {MAX_BYTES}.")
        with path.open("rb") as file:
            if (zeros := first_zeros(file)) is not None:
                raise DataError(
                    f"{path}: has zeros from byte {zeros} on: its copy is incomplete. Get it again."
                )
            return file.read().removeprefix(_UTF8_MARK)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _not_coco(path: Path, key: str) -> DataError:
    return DataError(f"{path}: not a COCO file: expected '{key}' to be a list of objects.")


def _value(path: Path, data: bytes, begin: int, end: int) -> Any:
    """The JSON value between two byte offsets of the file."""
    if end - begin > MAX_ENTRY_BYTES:
        line = data.count(b"\n", 0, begin) + 1
        raise DataError(
            f"{at(path, line)}: got a value of {end - begin} bytes, expected at most {MAX_ENTRY_BYTES}."
        )
    text = data[begin:end]
    if text.count(b"{") + text.count(b"[") > MAX_ENTRY_VALUES:
        line = data.count(b"\n", 0, begin) + 1
        raise DataError(f"{at(path, line)}: got over {MAX_ENTRY_VALUES} lists and objects in one value.")
    try:
        return json.loads(text) if text else None
    except json.JSONDecodeError as error:
        line = data.count(b"\n", 0, begin) + error.lineno
        raise DataError(f"{at(path, line)}: not valid JSON: {error.msg}.") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, or a number of 5000 digits
        line = data.count(b"\n", 0, begin) + 1
        raise DataError(f"{at(path, line)}: cannot be read as JSON: {brief_text(str(error))}") from None


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)


def _images(
    path: Path, columns: Mapping[str, Any], unusual: Mapping[int, dict[str, Any]]
) -> tuple[list[CocoImage], dict[object, int]]:
    """All images, and the index of each id; among equal ids, the first."""
    images: list[CocoImage] = []
    index_of: dict[object, int] = {}
    usual = zip(columns["images"].tolist(), columns["file_names"], columns["sizes"].tolist(), strict=True)
    for index, (image_id, name, size) in enumerate(usual):
        entry = unusual.get(index)
        if entry is not None:
            image_id, name, size = (
                entry.get("id"),
                entry.get("file_name") or _end_of_url(entry.get("coco_url")),
                (entry.get("width"), entry.get("height")),
            )
            if not isinstance(name, str) or not _is_id(image_id):
                raise DataError(
                    f"{path}: image {brief(entry)}: expected a number or text as 'id' and a text 'file_name'."
                )
        else:
            try:
                name = name.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: cannot be read as JSON: image {image_id}: {error}") from None
        stated = None if None in size or -1 in size else (size[0], size[1])
        images.append(CocoImage(name, stated))
        index_of.setdefault(image_id, index)
    return images, index_of


def _end_of_url(url: object) -> str | None:
    """Folder and name of the image of a `coco_url`, which LVIS has in place of a `file_name`."""
    return "/".join(url.split("/")[-2:]) if isinstance(url, str) else None


def _image_of_annotations(
    columns: Mapping[str, Any],
    unusual: Mapping[int, dict[str, Any]],
    image_index: Mapping[object, int] | None,
) -> NDArray[np.int64]:
    """int64 [N], the image index of each annotation; the number of images for those without an image.

    `image_index` (id -> index) is given when an image or annotation is unusual: ids can then be of any type.
    """
    ids, wanted = columns["images"], columns["image_ids"]
    if image_index is not None:
        keys: list[object] = wanted.tolist()
        for index, annotation in unusual.items():
            image_id = annotation.get("image_id")
            keys[index] = image_id if _is_id(image_id) else None
        return np.array([image_index.get(key, len(ids)) for key in keys], dtype=np.int64)
    if not len(ids):
        return np.zeros(len(wanted), dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    found = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][found] == wanted, order[found], len(ids))


def _convert_unusual(annotation: dict[str, Any], index: int, columns: Mapping[str, Any]) -> Problem | bool:
    """Store an annotation in unusual form in the columns.

    Returns why it is not a box, or whether its box is the one around its segmentation.
    """
    identity = as_integer(annotation.get("id"))
    columns["ids"][index] = identity if is_int64(identity) else index
    if annotation.get("iscrowd"):
        return CROWD
    box, category = annotation.get("bbox"), as_integer(annotation.get("category_id"))
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        box = None
    has_area = box is not None and box[2] != 0 and box[3] != 0
    around = None if has_area else mask_box(annotation.get("segmentation"))
    if box is None and around is None:
        return (
            "error",
            "box-columns",
            f"bbox {brief(annotation.get('bbox'))}: {_wanted(annotation.get('segmentation'))}",
        )
    if not is_int64(category):
        return "error", "box-class", f"category id {brief(category)}: not in the file's categories"
    columns["category_ids"][index] = category
    columns["boxes"][index] = [_pixels(value) for value in around or box or ()]
    return around is not None


def _wanted(segmentation: object) -> str:
    expected = "expected [x, y, width, height] in pixels"
    if not segmentation:
        return expected
    return f"{expected}, or a segmentation of polygons of 3 or more points or COCO's run lengths"


def as_integer(value: object) -> object:
    """A float such as 3.0 as an int (data frames with gaps turn ids into floats); anything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_int64(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number that fits int64."""
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _pixels(value: float) -> float:
    """A JSON number as a float; an integer that is too large becomes infinite, as 1e999 does."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
