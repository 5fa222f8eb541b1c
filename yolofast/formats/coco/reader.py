"""Reads COCO detection JSON: images, annotations and categories, one file per split.

Classes are numbered from 0, by name where the files number them differently (`categories`). An image in
several files has the boxes of all of them. A crowd box stands for many objects and cannot be a YOLO label; it
is dropped and reported. Without a `bbox`, the box around the segmentation is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import are_shares, normalised_finding, row_finding, rows_without_image
from yolofast.formats.coco.categories import map_classes
from yolofast.formats.coco.parser import CocoFile, read_coco_file
from yolofast.formats.dataset import (
    FoundImage,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    merge_repeated,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_files
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import SPLITS, default_split, in_split_order, split_of
from yolofast.types import Finding, Split

NUMBERED = "annotation"
"""`lines` are annotation ids in this format."""
_UNLABELLED = "no COCO file lists this image (a picture without boxes is an entry of 'images')"


def find_coco(tree: FileTree) -> tuple[Path, ...]:
    """The COCO files with boxes. Captions are not labels, and keypoint files repeat the boxes of the
    instances files: they are used only where there are no instances."""
    return json_files(tree, "coco") or json_files(tree, "coco_keypoints")


@dataclass(frozen=True, slots=True)
class _Rows:
    """The annotations of a file as label rows; `bad` marks those that are not boxes."""

    file: CocoFile
    split: Split | None
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    bad: NDArray[np.bool_]
    normalised: bool = False

    @staticmethod
    def of(file: CocoFile, split: Split | None, classes: Mapping[int, int]) -> _Rows:
        """`classes` maps the file's category ids, ascending, to classes."""
        known, numbers = np.array([*classes, -1], dtype=np.int64), np.array([*classes.values(), -1])
        index = np.minimum(np.searchsorted(known[:-1], file.category_ids), max(len(classes) - 1, 0))
        label = np.where(known[index] == file.category_ids, numbers[index], -1)
        bad = label < 0
        bad[list(file.problems)] = True
        with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
            corners = np.hstack([file.boxes[:, :2], file.boxes[:, :2] + file.boxes[:, 2:]])
        return _Rows(file, split, label, corners, bad)

    def between(self, begin: int, end: int) -> tuple[RawRows, tuple[Finding, ...]]:
        """The rows of one image, and findings for annotations that are not boxes."""
        bad = self.bad[begin:end]
        if not bad.any():
            return self._raw(slice(begin, end)), ()
        good = begin + np.flatnonzero(~bad)
        dropped = tuple(self._finding(i) for i in (begin + np.flatnonzero(bad)).tolist())
        return self._raw(good), dropped

    def _raw(self, rows: slice | NDArray[np.int64]) -> RawRows:
        return RawRows(self.boxes[rows], self.classes[rows], self.file.ids[rows], self.normalised)

    def _finding(self, i: int) -> Finding:
        unknown = f"category id {self.file.category_ids[i]}: not in the file's categories"
        problem = self.file.problems.get(i, ("error", "box-class", unknown))
        return row_finding(*problem, self.file.path, int(self.file.ids[i]), NUMBERED)


_Entry = tuple[_Rows, int]
"""An image of a file: the file's rows, and the number of the image in it."""


class _Images:
    """The images of COCO files with their annotations; an image that several entries name comes once."""

    def __init__(
        self, rows: Sequence[_Rows], tree: FileTree, finder: ImageFinder, rest: Split | None
    ) -> None:
        """`rest` is the split of the images for which nothing names one."""
        self._rows, self._tree, self._finder, self._rest = rows, tree, finder, rest
        self._entries_of = self._repeated()

    @property
    def repeated(self) -> dict[Path, int]:
        """How many entries name an image, for those that several name."""
        return {image: len(entries) for image, entries in self._entries_of.items()}

    def _repeated(self) -> dict[Path, list[_Entry]]:
        """The images that several entries name, with these entries, those of files with a split first."""
        names = [_base(entry.file_name) for rows in self._rows for entry in rows.file.images]
        if len(set(names)) == len(names):
            return {}
        by_name: dict[str, list[_Entry]] = {}
        entries_in_order = ((rows, i) for rows in self._rows for i in range(len(rows.file.images)))
        for name, entry in zip(names, entries_in_order, strict=True):
            by_name.setdefault(name, []).append(entry)
        entries_of: dict[Path, list[_Entry]] = {}
        for entries in by_name.values():
            if len(entries) > 1:
                for rows, number in sorted(entries, key=lambda entry: entry[0].split is None):
                    image = self._find(rows, number)
                    if image is not None:
                        entries_of.setdefault(image, []).append((rows, number))
        return {image: entries for image, entries in entries_of.items() if len(entries) > 1}

    def _find(self, rows: _Rows, number: int) -> Path | None:
        return self._finder.find(rows.file.images[number].file_name, rows.file.path.parent, rows.split)

    def find(self) -> Iterator[FoundImage | ReadImage]:
        """Every entry in order, all entries of an image together, then the images that no file lists."""
        labelled = set[Path]()
        for rows in self._rows:
            for number in range(len(rows.file.images)):
                image = self._find(rows, number)
                if image is None:
                    yield self._missing(rows, number)
                elif image not in labelled:
                    labelled.add(image)
                    entries = self._entries_of.get(image) or [(rows, number)]
                    named: list[Split | None] = [e.split or self._finder.split(image) for e, _ in entries]
                    default = next((split for split in named if split is not None), self._rest)
                    for entry, split in zip(entries, named, strict=True):
                        yield self._found(image, *entry, split or default)
            yield from self._strays(rows)
        yield from unlabelled_images(self._tree.images, labelled, _UNLABELLED)
        if self._entries_of:
            yield from notes_alone((self._joined(),))
        yield from notes_alone(self._finder.findings())

    def _joined(self) -> Finding:
        """What is said about the images that several entries name."""
        files = dict.fromkeys(rows.file.path for each in self._entries_of.values() for rows, _ in each)
        shown = ", ".join(self._tree.relative(path) for path in list(files)[:4])
        message = (
            f"{len(self._entries_of)} images are listed several times ({shown}): they have all these boxes"
        )
        return Finding(
            "warning", "images-joined", message, str(next(iter(files))), count=len(self._entries_of)
        )

    def _found(self, image: Path, rows: _Rows, number: int, split: Split | None) -> FoundImage:
        found, dropped = rows.between(*_span(rows, number))
        stated = rows.file.images[number].stated
        return FoundImage(image, split, rows.file.path, found, dropped, stated=stated)

    def _missing(self, rows: _Rows, number: int) -> ReadImage:
        name, path = rows.file.images[number].file_name, rows.file.path
        message = f"image '{name}': no such image, or several, below the dataset's folder"
        begin, end = _span(rows, number)
        lost = rows_without_image(
            rows.file.ids[begin:end].tolist(), f"its image '{name}' is missing", path, NUMBERED
        )
        return ReadImage(
            None, None, end - begin, (Finding("error", "image-missing", message, str(path)), *lost)
        )

    def _strays(self, rows: _Rows) -> Iterator[ReadImage]:
        """The annotations that belong to no image of their file."""
        strays = rows.file.ids[int(rows.file.offsets[-1]) :].tolist()
        if strays:
            why = "its image_id is not in the file's images"
            lost = rows_without_image(strays, why, rows.file.path, NUMBERED)
            yield ReadImage(None, None, len(strays), lost)


def _base(name: str) -> str:
    """The last part of a path with slashes or backslashes."""
    return name[max(name.rfind("/"), name.rfind("\\")) + 1 :]


def _span(rows: _Rows, number: int) -> tuple[int, int]:
    """The annotations of an image of a file."""
    return int(rows.file.offsets[number]), int(rows.file.offsets[number + 1])


def _findings(tree: FileTree, rows: Sequence[_Rows]) -> Iterator[Finding]:
    """What is worth knowing about the boxes as a whole."""
    shares = [each.file.path for each in rows if each.normalised]
    if len(shares) == len(rows):
        yield normalised_finding(tree.root)
    elif shares:
        yield from map(normalised_finding, shares)
    for file in (each.file for each in rows):
        if file.from_masks:
            message = (
                f"{file.from_masks} of {len(file.ids)} annotations have no usable bbox: the box around their "
                "segmentation is taken"
            )
            yield Finding("warning", "boxes-from-masks", message, str(file.path), count=file.from_masks)


def open_coco(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The COCO files of a tree as one dataset.

    A file is a split when its path names one; for the images of other files, lists and folders name it.
    An image that no file lists was never annotated: it is skipped and reported. An image in several files has
    the boxes of all of them, in the first split that one of them names.

    Raises `DataError` for a file that is not valid, and for categories that cannot be mapped (`map_classes`).
    """
    splits = {path: split_of(path.relative_to(tree.root)) for path in files}
    read = [read_coco_file(path) for path in sorted(files, key=lambda path: _split_order(splits[path]))]
    classes = map_classes(read)
    tables = zip(read, classes.tables, strict=True)
    rows = [_Rows.of(file, splits[file.path], table) for file, table in tables]
    rows = [replace(each, normalised=are_shares([each.boxes[~each.bad]])) for each in rows]
    finder = ImageFinder(tree, lambda: (entry.file_name for file in read for entry in file.images))
    named, source = finder.with_stated(splits.values(), "the paths of the COCO files")
    rest = default_split(named)

    def read_images() -> Iterator[ReadImage]:
        images = _Images(rows, tree, finder, rest)
        complete = complete_images(images.find(), num_classes=len(classes.names))
        return merge_repeated(complete, images.repeated) if images.repeated else complete

    from_lists = finder.splits.findings if None in splits.values() else ()
    return LabelledDataset(
        "coco",
        classes.names,
        in_split_order({*named, rest}),
        read_images,
        (*from_lists, *classes.findings, *_findings(tree, rows)),
        (f"{len(files)} COCO json file(s); {classes.evidence}",),
        source,
    )


def _split_order(split: Split | None) -> int:
    """Files of train, valid, test, then those without a split; otherwise in the order of their paths."""
    return SPLITS.index(split) if split else len(SPLITS)
