"""COCO detection json: images, annotations and categories in one file a split.

Category ids may have gaps: classes are numbered 0.. in id order. Crowd boxes stand for many objects
at once and cannot be YOLO labels; they are left out and listed.
"""

from __future__ import annotations

import json
import math
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding, rows_without_image
from yolofast.formats.dataset import FoundImage, LabelledDataset, RawRows, ReadImage, complete_images
from yolofast.formats.discover import FileTree
from yolofast.formats.image_index import ImageIndex
from yolofast.formats.splits import SPLITS, split_of
from yolofast.types import Finding, Severity, Split

NUMBERED = "annotation"
"""What `lines` counts here: annotation ids."""
_INT64 = np.iinfo(np.int64)
_NO_ANNOTATIONS = re.compile(rb'"annotations"\s*:\s*\[\s*\]')


def _json_kind(path: Path) -> str:
    """'instances', 'keypoints' or 'other', from the keys that occur in the file (no parsing)."""
    if path.stat().st_size == 0:
        return "other"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if any(text.find(key) < 0 for key in (b'"images"', b'"annotations"', b'"categories"')):
            return "other"
        if text.find(b'"bbox"') < 0 and _NO_ANNOTATIONS.search(text) is None:
            return "other"
        return "keypoints" if text.find(b'"num_keypoints"') >= 0 else "instances"


def find_coco(tree: FileTree) -> tuple[Path, ...]:
    """The COCO files with boxes. Captions are no labels; keypoint files repeat the boxes of the
    instances beside them, so they count only where there are no instances."""
    kinds = {path: _json_kind(path) for path in tree.jsons}
    instances = tuple(p for p, kind in kinds.items() if kind == "instances")
    return instances or tuple(p for p, kind in kinds.items() if kind == "keypoints")


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The file's three lists, each entry an object."""
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not valid JSON: {error.msg}.") from None
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, or a number of 5000 digits
        raise DataError(f"{path}: cannot be read as JSON: {error}") from None
    lists = {}
    for key in ("images", "annotations", "categories"):
        values = content.get(key) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
            raise DataError(f"{path}: not a COCO file: expected '{key}' to be a list of objects.")
        lists[key] = values
    return lists


def _category_names(path: Path, categories: list[dict[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for category in categories:
        number, name = category.get("id"), category.get("name")
        if not isinstance(number, int) or not isinstance(name, str):
            raise DataError(f"{path}: category {category}: expected a whole number 'id' and a text 'name'.")
        if names.setdefault(number, name) != name:
            raise DataError(f"{path}: category id {number} is both '{names[number]}' and '{name}'.")
    return names


def _all_categories(files: Mapping[Path, list[dict[str, Any]]]) -> dict[int, str]:
    """Category id -> name over all files, which must agree."""
    merged: dict[int, tuple[str, Path]] = {}
    for path, categories in files.items():
        for number, name in _category_names(path, categories).items():
            known, where = merged.setdefault(number, (name, path))
            if known != name:
                raise DataError(
                    f"{path}: category id {number} is '{name}' here and '{known}' in {where}. "
                    "Give both files the same categories, or convert them apart."
                )
    return {number: merged[number][0] for number in sorted(merged)}


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)


def _pixels(value: float) -> float:
    """A json number as float; a whole number too large for one becomes infinite, as 1e999 does."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows(
    path: Path, annotations: list[tuple[int, dict[str, Any]]], classes: Mapping[int, int]
) -> tuple[RawRows, tuple[Finding, ...]]:
    """One image's (id, annotation) pairs as pixel boxes, and those that cannot be boxes."""
    rows, dropped = [], []
    for number, annotation in annotations:
        box, category = annotation.get("bbox"), annotation.get("category_id")
        severity: Severity = "error"
        if annotation.get("iscrowd"):
            severity, code, message = "info", "box-crowd", "crowd: the box stands for many objects"
        elif not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            code, message = "box-columns", f"bbox {box}: expected [x, y, width, height] in pixels"
        elif not isinstance(category, int) or category not in classes:
            code, message = "box-class", f"category id {category!r}: not in the file's categories"
        else:
            x, y, width, height = map(_pixels, box)
            rows.append(((x, y, x + width, y + height), classes[category], number))
            continue
        dropped.append(row_finding(severity, code, message, path, number, NUMBERED))
    return RawRows.collect(rows), tuple(dropped)


def _numbered(annotations: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Annotations with their id, or with their position where the id is no int64."""
    for position, annotation in enumerate(annotations):
        number = annotation.get("id")
        if not isinstance(number, int) or not _INT64.min <= number <= _INT64.max:
            number = position
        yield number, annotation


def _read_file(
    path: Path, split: Split | None, classes: Mapping[int, int], index: ImageIndex
) -> Iterator[FoundImage | ReadImage]:
    content = _load(path)
    by_image: dict[object, list[tuple[int, dict[str, Any]]]] = {}
    for number, annotation in _numbered(content["annotations"]):
        image_id = annotation.get("image_id")
        key = image_id if _is_id(image_id) else None  # None is no image's id: the row is listed as a stray
        by_image.setdefault(key, []).append((number, annotation))
    for entry in content["images"]:
        name = entry.get("file_name")
        if not isinstance(name, str) or not _is_id(entry.get("id")):
            raise DataError(
                f"{path}: image {entry}: expected a number or text as 'id' and a text 'file_name'."
            )
        annotations = by_image.pop(entry["id"], [])
        image = index.find(name, path.parent, split)
        if image is None:
            message = f"image '{name}': no such image, or several, below the dataset's folder"
            lost = rows_without_image(
                [n for n, _ in annotations], f"its image '{name}' is missing", path, NUMBERED
            )
            gone = Finding("error", "image-missing", message, str(path))
            yield ReadImage(None, None, len(annotations), (gone, *lost))
            continue
        rows, dropped = _rows(path, annotations, classes)
        stated = (entry.get("width"), entry.get("height"))
        yield FoundImage(image, split, path, rows, dropped, stated=None if None in stated else stated)
    strays = [number for annotations in by_image.values() for number, _ in annotations]
    if strays:
        lost = rows_without_image(strays, "its image_id is not in the file's images", path, NUMBERED)
        yield ReadImage(None, None, len(strays), lost)


def open_coco(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The COCO files of a tree as one dataset; a file is a split when its path names one."""
    names = _all_categories({path: _load(path)["categories"] for path in files})
    if not names:
        raise DataError(f"{files[0]}: got no category, expected at least one.")
    classes = {number: i for i, number in enumerate(names)}
    splits = {path: split_of(path.relative_to(tree.root)) for path in files}
    index = ImageIndex(tree)

    def read() -> Iterator[ReadImage]:
        found = (item for path in files for item in _read_file(path, splits[path], classes, index))
        return complete_images(found, num_classes=len(classes))

    gaps = "" if list(names) == list(range(len(names))) else ", ids with gaps or not from 0: numbered anew"
    return LabelledDataset(
        "coco",
        tuple(names.values()),
        tuple(s for s in SPLITS if s in splits.values()),
        read,
        evidence=(f"{len(files)} COCO json file(s); {len(names)} categories{gaps}",),
    )
