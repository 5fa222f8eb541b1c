"""Reads the YOLO labels of a folder in any layout, with or without a data.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from yolofast.errors import DataError, at
from yolofast.formats.data_yaml import DataYaml, list_image_names
from yolofast.formats.dataset import FoundImage, LabelledDataset, ReadImage, complete_images, notes_alone
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.names.conflicts import id_conflicts
from yolofast.formats.names.merge import ClassList, merge_class_lists, renumber
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.splits import SPLITS, default_split, in_split_order
from yolofast.formats.yolo.class_files import mapped_finding, nearest_file, ruling_class_files
from yolofast.formats.yolo.label_files import (
    ImageLabel,
    RowCounts,
    bad_rows,
    read_label_rows,
    rows_of_no_image,
)
from yolofast.formats.yolo.label_finder import LabelFinder
from yolofast.formats.yolo.parser import scan_label_files
from yolofast.formats.yolo.yaml_choice import choose_data_yamls
from yolofast.types import Finding, Split

MAX_UNNAMED = 9999
"""Rows without class names and with a class id above this are assumed not to be labels."""


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
    if not tree.texts:
        return ()
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


def _numbered(root: Path, files: tuple[Path, ...]) -> tuple[str, ...]:
    """Names for the class ids of labels that nothing names: class_0, class_1, ...

    Raises `DataError` for labels without a box, and for an id that is too high.
    """
    highest, problem = -1, ""
    for some, scan in prefetch_batches(files, scan_label_files):
        for _, finding in islice(bad_rows(scan, list(map(str, some))), not problem):
            problem = f". The first problem: {finding}."
        highest = max(highest, int(scan.classes.max(initial=-1)))
        if highest > MAX_UNNAMED:
            row = int(scan.classes.argmax())
            file = some[int(np.searchsorted(scan.offsets, row, side="right")) - 1]
            raise DataError(
                f"{at(str(file), int(scan.lines[row]))}: class id {highest}, and nothing names the classes. "
                "Fix the row, or add a data.yaml with 'names:' or a classes.txt."
            )
    if highest < 0:
        why = problem or ", and nothing names the classes. Add labels, or a data.yaml with 'names:'."
        raise DataError(f"{root}: {len(files)} label files have no box{why}")
    return tuple(f"class_{i}" for i in range(highest + 1))


_ListOf = Callable[[FoundImage], ClassList]


def _read(
    pairs: Iterator[ImageLabel | ReadImage],
    num_classes: int,
    names_from: Path | None,
    keypoints: tuple[int, int] | None = None,
    list_of: _ListOf | None = None,
) -> Iterator[FoundImage | ReadImage]:
    """The images with their rows, then findings about all of them.

    `names_from` names all `num_classes`; None where nothing does, or `list_of` gives the list of each image.
    """
    counts = RowCounts(num_classes)
    found = read_label_rows(pairs, counts, keypoints)
    yield from found if list_of is None else renumber(found, list_of)
    yield from notes_alone(counts.findings(names_from))


def open_yolo(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The YOLO labels of a tree as one dataset.

    A data.yaml decides splits and names, and labels are then found by the usual rule alone, as trainers find
    them. Without one, splits come from lists of images (`train.txt`, `valid.txt`), else from folder names,
    and class names from a class file or the highest class id. An image without a label file is background.

    Raises `DataError` for an invalid data.yaml or class file.
    """
    chosen = choose_data_yamls(tree)
    if chosen.yamls:
        return _open_with_yamls(tree, files, chosen.yamls, chosen.findings)
    lists = ruling_class_files(tree, files)
    names, by_file = merge_class_lists(lists)
    names_from = next(iter(lists)) if len(lists) == 1 else None
    conflicts: tuple[Finding, ...] = ()
    list_of: _ListOf | None = None
    if names_from is not None:
        source = f"class names from {tree.relative(names_from)}"
        conflicts = id_conflicts(tree, names, [names_from], "error")
    elif lists:
        source = f"class names from {', '.join(map(tree.relative, lists))}, each for its folder"
        conflicts = (
            mapped_finding(lists, tree),
            *id_conflicts(tree, names, list(lists), "error", lists.values()),
        )
        by_folder = {path.parent: path for path in lists}

        def list_of(found: FoundImage) -> ClassList:
            return by_file[nearest_file(found.source.parent, by_folder) or next(iter(by_file))]
    else:
        names, source = _numbered(tree.root, files), "no class names anywhere: class_0, class_1, ..."
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
        lambda: complete_images(
            _read(pairs(), len(names), names_from, list_of=list_of), num_classes=len(names)
        ),
        splits.findings + conflicts,
        (f"{len(files)} YOLO label files", source),
        splits.source(splits.named),
    )


def _open_with_yamls(
    tree: FileTree, files: tuple[Path, ...], yamls: tuple[DataYaml, ...], findings: tuple[Finding, ...]
) -> LabelledDataset:
    """The labels that data.yaml files describe; with several of them, classes are mapped by name."""
    finder = LabelFinder(tree)
    listed: dict[Path, tuple[Split, DataYaml]] = {}
    numbers: dict[Path, int] = {}
    counts = dict.fromkeys(SPLITS, 0)
    notes: list[Finding] = list(findings)
    for data in yamls:
        for split in data.splits:
            for image in map(Path, list_image_names(data, split, notes)):
                counts[split] += 1
                numbers.setdefault(image, counts[split])
                first, by = listed.setdefault(image, (split, data))
                if first != split:
                    message = f"in both {first} and {split} of {by.path.name}: it stays in {first}"
                    notes.append(Finding("warning", "split-overlap", message, str(image)))
    names, lists = merge_class_lists({data.path: data.names for data in yamls})
    used_lists = [data.names for data in yamls]
    notes.extend(id_conflicts(tree, names, [data.path for data in yamls], "warning", used_lists))
    named = ", ".join(data.path.name for data in yamls[:1]) if len(yamls) == 1 else "any data.yaml"

    def pairs(used: set[Path | None], data: DataYaml) -> Iterator[ImageLabel | ReadImage]:
        for image, (split, by) in listed.items():
            if by is data:
                label = finder.find_usual(image)
                used.add(label)
                yield ImageLabel(image, label, split)

    def others(used: set[Path | None]) -> Iterator[ReadImage]:
        for image in tree.images:
            if image in listed:
                continue
            message = f"not in any split of {named}"
            gone = Finding("info", "image-unlisted", message, str(image))
            label = finder.find_usual(image)
            if label is None or label in used or tree.data_yaml is not None:  # not of the dataset meant
                used.add(label)
                yield ReadImage(image, None, 0, (gone,))
            else:
                used.add(label)
                item = rows_of_no_image(label, f"its image '{image.name}' is {message}", image)
                yield replace(item, dropped=(gone, *item.dropped))
        yield from _orphans(files, used)
        yield from notes_alone(finder.findings())

    def read() -> Iterator[FoundImage | ReadImage]:
        used: set[Path | None] = set()
        for data in yamls:
            size, ruling = len(data.names), lists[data.path]
            list_of = None if data.names == names else (lambda _, ruling=ruling: ruling)
            yield from _read(pairs(used, data), size, data.path, data.keypoints, list_of)
        yield from others(used)

    source = " and ".join(tree.relative(data.path) for data in yamls)
    return LabelledDataset(
        "yolo",
        names,
        in_split_order({split for data in yamls for split in data.splits}),
        lambda: complete_images(read(), num_classes=len(names)),
        tuple(notes),
        (f"{len(files)} YOLO label files", f"class names from {source}"),
        source,
        numbers,
    )
