"""Reads COCO detection JSON: images, annotations and categories, one file per split.

Category ids may have gaps: classes are numbered from 0 in the order of their ids. A crowd box stands for
many objects and cannot be a YOLO label; it is dropped and reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.formats.boxes import row_finding, rows_without_image
from yolofast.formats.coco.parser import CocoFile, as_integer, is_int64, read_coco_file
from yolofast.formats.dataset import (
    FoundImage,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_files
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import default_split, in_split_order, split_of
from yolofast.types import Finding, Split

NUMBERED = "annotation"
"""`lines` are annotation ids in this format."""
_UNLABELLED = "no COCO file lists this image (a picture without boxes is an entry of 'images')"


def find_coco(tree: FileTree) -> tuple[Path, ...]:
    """The COCO files with boxes. Captions are not labels, and keypoint files repeat the boxes of the
    instances files: they are used only where there are no instances."""
    return json_files(tree, "coco") or json_files(tree, "coco_keypoints")


def _category_names(path: Path, categories: list[dict[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for category in categories:
        number, name = as_integer(category.get("id")), category.get("name")
        if not is_int64(number) or not isinstance(name, str):
            raise DataError(f"{path}: category {category}: expected a whole number 'id' and a text 'name'.")
        if names.setdefault(number, name) != name:
            raise DataError(f"{path}: category id {number} is both '{names[number]}' and '{name}'.")
    return names


def _all_categories(files: Mapping[Path, list[dict[str, Any]]]) -> dict[int, str]:
    """Category id -> name over all files, which must agree, in the order of the ids."""
    merged: dict[int, tuple[str, Path]] = {}
    for path, categories in files.items():
        for number, name in _category_names(path, categories).items():
            known, where = merged.setdefault(number, (name, path))
            if known != name:
                raise DataError(
                    f"{path}: category id {number} is '{name}' here and '{known}' in {where}. "
                    "Give both files the same categories, or convert them separately."
                )
    return {number: merged[number][0] for number in sorted(merged)}


@dataclass(frozen=True, slots=True)
class _Rows:
    """The annotations of a file as label rows; `bad` marks those that are not boxes."""

    file: CocoFile
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    bad: NDArray[np.bool_]

    @staticmethod
    def of(file: CocoFile, classes: Mapping[int, int]) -> _Rows:
        known = np.array(list(classes), dtype=np.int64)  # ascending
        index = np.minimum(np.searchsorted(known, file.category_ids), len(known) - 1)
        label = np.where(known[index] == file.category_ids, np.array(list(classes.values()))[index], -1)
        bad = label < 0
        bad[list(file.problems)] = True
        with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
            corners = np.hstack([file.boxes[:, :2], file.boxes[:, :2] + file.boxes[:, 2:]])
        return _Rows(file, label, corners, bad)

    def between(self, begin: int, end: int) -> tuple[RawRows, tuple[Finding, ...]]:
        """The rows of one image, and findings for annotations that are not boxes."""
        bad = self.bad[begin:end]
        if not bad.any():
            rows = RawRows(self.boxes[begin:end], self.classes[begin:end], self.file.ids[begin:end])
            return rows, ()
        good = begin + np.flatnonzero(~bad)
        dropped = tuple(self._finding(i) for i in (begin + np.flatnonzero(bad)).tolist())
        return RawRows(self.boxes[good], self.classes[good], self.file.ids[good]), dropped

    def _finding(self, i: int) -> Finding:
        unknown = f"category id {self.file.category_ids[i]}: not in the file's categories"
        problem = self.file.problems.get(i, ("error", "box-class", unknown))
        return row_finding(*problem, self.file.path, int(self.file.ids[i]), NUMBERED)


def _images_of_file(
    rows: _Rows, split: Split | None, finder: ImageFinder, labelled: set[Path], rest: Split | None
) -> Iterator[FoundImage | ReadImage]:
    """The images of a file with their annotations; each image is added to `labelled`.

    `rest` is the split of the images for which nothing names one.
    """
    file = rows.file
    path, offsets = file.path, file.offsets.tolist()
    for entry, begin, end in zip(file.images, offsets, offsets[1:], strict=False):
        name = entry.file_name
        image = finder.find(name, path.parent, split)
        if image is None:
            message = f"image '{name}': no such image, or several, below the dataset's folder"
            lost = rows_without_image(
                file.ids[begin:end].tolist(), f"its image '{name}' is missing", path, NUMBERED
            )
            gone = Finding("error", "image-missing", message, str(path))
            yield ReadImage(None, None, end - begin, (gone, *lost))
            continue
        labelled.add(image)
        found, dropped = rows.between(begin, end)
        own_split = split or finder.split(image) or rest
        yield FoundImage(image, own_split, path, found, dropped, stated=entry.stated)
    strays = file.ids[offsets[-1] :].tolist()
    if strays:
        lost = rows_without_image(strays, "its image_id is not in the file's images", path, NUMBERED)
        yield ReadImage(None, None, len(strays), lost)


def open_coco(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The COCO files of a tree as one dataset.

    A file is a split when its path names one; for the images of other files, lists and folders name it.
    An image that no file lists was never annotated: it is skipped and reported.

    Raises `DataError` for a file that is not valid, for categories that contradict, and without a category.
    """
    read = [read_coco_file(path) for path in files]
    names = _all_categories({file.path: file.categories for file in read})
    if not names:
        raise DataError(f"{files[0]}: got no category, expected at least one.")
    classes = {number: i for i, number in enumerate(names)}
    rows = [_Rows.of(file, classes) for file in read]
    splits = {path: split_of(path.relative_to(tree.root)) for path in files}
    finder = ImageFinder(tree, lambda: (entry.file_name for file in read for entry in file.images))
    named, source = finder.with_stated(splits.values(), "the paths of the COCO files")
    rest = default_split(named)

    def find() -> Iterator[FoundImage | ReadImage]:
        labelled = set[Path]()
        for each in rows:
            yield from _images_of_file(each, splits[each.file.path], finder, labelled, rest)
        yield from unlabelled_images(tree.images, labelled, _UNLABELLED)
        yield from notes_alone(finder.findings())

    gaps = "" if list(names) == list(range(len(names))) else ", ids with gaps or not from 0: numbered anew"
    return LabelledDataset(
        "coco",
        tuple(names.values()),
        in_split_order({*named, rest}),
        lambda: complete_images(find(), num_classes=len(classes)),
        finder.splits.findings if None in splits.values() else (),
        (f"{len(files)} COCO json file(s); {len(names)} categories{gaps}",),
        source,
    )
