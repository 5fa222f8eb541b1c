"""Reads the YOLO labels of a folder in any layout, with or without a data.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from yolofast.errors import DataError, at
from yolofast.formats.data_yaml import DataYaml, list_image_names, read_data_yaml, top_level_keys
from yolofast.formats.dataset import LabelledDataset, ReadImage, complete_images, notes_alone
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.names.conflicts import id_conflicts
from yolofast.formats.names.reader import read_class_file
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.splits import WORDS, default_split, in_split_order
from yolofast.formats.yolo.label_files import (
    ImageLabel,
    RowCounts,
    read_label_rows,
    rows_of_no_image,
)
from yolofast.formats.yolo.label_finder import LabelFinder
from yolofast.formats.yolo.parser import scan_label_files
from yolofast.types import Finding, Split

MAX_UNNAMED = 9999
"""Rows without class names and with a class id above this are assumed not to be labels."""


def choose_data_yaml(tree: FileTree) -> Path | None:
    """The data.yaml of a tree: a file of that name, else a YAML file with `names` and a split."""
    by_depth = sorted(tree.yamls, key=lambda p: (len(p.parts), p))
    for path in by_depth:
        if path.stem.lower() == "data":
            return path
    for path in by_depth:
        try:
            keys = top_level_keys(path)
        except DataError:
            continue  # probably the file of another tool
        if "names" in keys and any(key.lower() in WORDS for key in keys):
            return path
    return None


def _looks_like_rows(path: Path) -> bool | None:
    """Whether the first non-blank line is all numbers; None for a blank or unreadable file."""
    try:
        with path.open("rb") as file:
            line = next((text for text in file.read(4096).splitlines() if text.strip()), None)
    except OSError:  # the label reader reports this file
        return None
    if line is None:
        return None
    fields = line.removeprefix(b"\xef\xbb\xbf").split()
    try:
        return len([float(field) for field in fields]) > 1
    except ValueError:
        return False


def find_yolo(tree: FileTree) -> tuple[Path, ...]:
    """The YOLO label files of a tree.

    Text files that belong to an image, any text file in a `labels` folder, and files of numbers that are
    among label files or are named like an image. None when no file begins with a row of numbers (captions,
    notes), unless all are empty.
    """
    finder = LabelFinder(tree)

    def is_label(path: Path) -> bool:
        if path in finder.paired:
            return True
        folders = path.relative_to(tree.root).parts[:-1]
        if any(folder.lower() == "labels" for folder in folders):
            return True
        return finder.is_near(path) and _looks_like_rows(path) is True

    labels = tuple(filter(is_label, tree.texts))
    verdicts = {_looks_like_rows(path) for path in islice(labels, 1000)}
    return () if verdicts == {False} or verdicts == {False, None} else labels


def _orphans(files: tuple[Path, ...], used: set[Path | None]) -> Iterator[ReadImage]:
    """The label files without an image: their rows are dropped and reported."""
    for file in files:
        if file not in used:
            why = "no image goes with this label file"
            note = Finding("warning", "label-orphan", why, str(file))
            if _looks_like_rows(file) is False:  # notes in a labels folder have no rows
                yield ReadImage(None, None, 0, notes=(note,))
            else:
                yield rows_of_no_image(file, why, notes=(note,))


def _names(tree: FileTree, files: tuple[Path, ...]) -> tuple[tuple[str, ...], str, Path | None]:
    """Class names without a data.yaml, a sentence that says where they come from, and the file used."""
    if tree.class_files:
        path = tree.class_files[0]
        return read_class_file(path), f"class names from {tree.relative(path)}", path
    highest = -1
    for some, scan in prefetch_batches(files, scan_label_files):
        highest = max(highest, int(scan.classes.max(initial=-1)))
        if highest > MAX_UNNAMED:
            row = int(scan.classes.argmax())
            file = some[int(np.searchsorted(scan.offsets, row, side="right")) - 1]
            raise DataError(
                f"{at(str(file), int(scan.lines[row]))}: class id {highest}, and nothing names the classes. "
                "Fix the row, or add a data.yaml with 'names:' or a classes.txt."
            )
    numbered = tuple(f"class_{i}" for i in range(highest + 1))
    return numbered, "no class names anywhere: class_0, class_1, ...", None


def _read(
    pairs: Iterator[ImageLabel | ReadImage],
    num_classes: int,
    names_from: Path | None,
    keypoints: tuple[int, int] | None = None,
) -> Iterator[ReadImage]:
    counts = RowCounts(num_classes)

    def _summary() -> Iterator[ReadImage]:  # when all rows have been counted
        yield from notes_alone(counts.findings(names_from))

    found = chain(read_label_rows(pairs, counts, keypoints), _summary())
    return complete_images(found, num_classes=num_classes)


def open_yolo(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The YOLO labels of a tree as one dataset.

    A data.yaml decides splits and names, and labels are then found by the usual rule alone, as trainers find
    them. Without one, splits come from lists of images (`train.txt`, `valid.txt`), else from folder names,
    and class names from a class file or the highest class id. An image without a label file is background.

    Raises `DataError` for an invalid data.yaml or class file.
    """
    data_yaml = choose_data_yaml(tree)
    if data_yaml is not None:
        return _open_with_yaml(tree, files, read_data_yaml(data_yaml))
    names, source, names_from = _names(tree, files)
    if not names:
        raise DataError(
            f"{tree.root}: {len(files)} label files have no box, and nothing names the classes. "
            "Add labels, or a data.yaml with 'names:'."
        )
    finder, images = LabelFinder(tree), ImageFinder(tree)
    splits = images.splits
    rest = default_split(splits.named)

    def pairs() -> Iterator[ImageLabel | ReadImage]:
        for image in tree.images:
            yield ImageLabel(image, finder.find(image), splits.of(image) or rest)
        yield from _orphans(files, set(finder.paired))
        yield from notes_alone(finder.findings() + images.findings())

    return LabelledDataset(
        "yolo",
        names,
        in_split_order({*splits.named, rest}),
        lambda: _read(pairs(), len(names), names_from),
        splits.findings + (id_conflicts(tree, names, names_from, "error") if names_from is not None else ()),
        (f"{len(files)} YOLO label files", source),
        splits.source(splits.named),
    )


def _open_with_yaml(tree: FileTree, files: tuple[Path, ...], data: DataYaml) -> LabelledDataset:
    finder = LabelFinder(tree)
    listed: dict[Path, Split] = {}
    notes: list[Finding] = []
    for split in data.splits:
        for image in map(Path, list_image_names(data, split, notes)):
            if listed.setdefault(image, split) != split:
                message = (
                    f"in both {listed[image]} and {split} of {data.path.name}: it stays in {listed[image]}"
                )
                notes.append(Finding("warning", "split-overlap", message, str(image)))
    notes.extend(id_conflicts(tree, data.names, data.path, "warning"))

    def pairs() -> Iterator[ImageLabel | ReadImage]:
        used: set[Path | None] = set()
        for image, split in listed.items():
            label = finder.find_usual(image)
            used.add(label)
            yield ImageLabel(image, label, split)
        for image in tree.images:
            if image in listed:
                continue
            message = f"not in any split of {data.path.name}"
            gone = Finding("info", "image-unlisted", message, str(image))
            label = finder.find_usual(image)
            if label is None or label in used:
                yield ReadImage(image, None, 0, (gone,))
            else:
                used.add(label)
                item = rows_of_no_image(label, f"its image '{image.name}' is {message}", image)
                yield replace(item, dropped=(gone, *item.dropped))
        yield from _orphans(files, used)
        yield from notes_alone(finder.findings())

    return LabelledDataset(
        "yolo",
        data.names,
        tuple(data.splits),
        lambda: _read(pairs(), len(data.names), data.path, data.keypoints),
        tuple(notes),
        (f"{len(files)} YOLO label files", f"class names from {tree.relative(data.path)}"),
        tree.relative(data.path),
    )
