"""YOLO labels in a folder as people have it: with a data.yaml or without, in any layout."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.class_files import read_class_file
from yolofast.formats.data_yaml import DataYaml, label_path, list_images, read_data_yaml, top_level_keys
from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import FileTree
from yolofast.formats.splits import SPLITS, split_of
from yolofast.formats.yolo import find_label, read_yolo_image
from yolofast.kernels import parse_yolo_labels
from yolofast.types import Finding, Split

MAX_UNNAMED = 9999
"""Above this class id, labels without class names are taken to be something else."""


def find_data_yaml(tree: FileTree) -> Path | None:
    """The data.yaml of a tree: a file of that name, else the yaml with `names` and a split."""
    by_depth = sorted(tree.yamls, key=lambda p: (len(p.parts), p))
    for path in by_depth:
        if path.stem.lower() == "data":
            return path
    for path in by_depth:
        try:
            keys = top_level_keys(path)
        except DataError:
            continue  # some other tool's file; nothing says that it is ours
        if "names" in keys and keys & {"train", "val", "valid"}:
            return path
    return None


def _looks_like_rows(path: Path) -> bool | None:
    """Whether the first line with text in it is all numbers; None for a file without text."""
    with path.open("rb") as file:
        line = next((text for text in file.read(4096).splitlines() if text.strip()), None)
    if line is None:
        return None
    fields = line.removeprefix(b"\xef\xbb\xbf").split()
    try:
        return len([float(field) for field in fields]) > 1
    except ValueError:
        return False


class LabelIndex:
    """Which label file belongs to which image of a tree.

    The usual places first (`find_label`); then a file of the same stem anywhere in the tree, when
    there is exactly one.
    """

    def __init__(self, tree: FileTree) -> None:
        self._known = frozenset(tree.texts)
        self._by_stem: dict[str, Path | None] = {}
        for path in tree.texts:
            self._by_stem[path.stem] = None if path.stem in self._by_stem else path

    def find(self, image: Path) -> Path | None:
        for candidate in (label_path(image), image.with_suffix(".txt")):
            if candidate in self._known:
                return candidate
        return self._by_stem.get(image.stem)


def find_yolo(tree: FileTree) -> tuple[Path, ...]:
    """The YOLO label files of a tree: text files that go with an image, and any in a `labels` folder.

    None when not one of them begins with a row of numbers (captions, notes), unless all are empty.
    """
    index = LabelIndex(tree)
    paired = {index.find(image) for image in tree.images} - {None}
    labels = tuple(p for p in tree.texts if p in paired or "labels" in p.relative_to(tree.root).parts[:-1])
    verdicts = {_looks_like_rows(path) for path in islice(labels, 1000)}
    return () if verdicts == {False} or verdicts == {False, None} else labels


def orphan_labels(tree: FileTree, files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Those of a tree's YOLO label files that no image goes with."""
    index = LabelIndex(tree)
    paired = {index.find(image) for image in tree.images}
    return tuple(file for file in files if file not in paired)


def _names(tree: FileTree, files: tuple[Path, ...]) -> tuple[tuple[str, ...], str]:
    """Class names without a data.yaml, and where they come from."""
    if tree.class_files:
        path = tree.class_files[0]
        return read_class_file(path), f"class names from {tree.relative(path)}"
    highest = -1
    for path in files:
        highest = max(highest, int(parse_yolo_labels(path.read_bytes()).classes.max(initial=-1)))
    if highest > MAX_UNNAMED:
        raise DataError(
            f"{tree.root}: a label has class id {highest} and nothing names the classes. "
            "Add a data.yaml with 'names:', or a classes.txt."
        )
    return tuple(f"class_{i}" for i in range(highest + 1)), "no class names anywhere: class_0, class_1, ..."


def open_yolo(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The YOLO labels of a tree as one dataset.

    A data.yaml decides splits and names. Without one, splits come from folder names, and class names
    from a class-mapping file or the highest class id. An image without a label file is background.

    Raises `DataError` for a data.yaml or class file that is wrong.
    """
    data_yaml = find_data_yaml(tree)
    if data_yaml is not None:
        return _open_with_yaml(tree, read_data_yaml(data_yaml))
    names, source = _names(tree, files)
    if not names:
        raise DataError(
            f"{tree.root}: {len(files)} label files hold no box: nothing says what the classes are."
        )
    index = LabelIndex(tree)
    splits = {image: split_of(image.relative_to(tree.root).parent) for image in tree.images}

    def read() -> Iterator[ReadImage]:
        for image in tree.images:
            yield read_yolo_image(image, index.find(image), splits[image], len(names))

    named = tuple(s for s in SPLITS if s in splits.values())
    evidence = (f"{len(files)} YOLO label files", source)
    return LabelledDataset("yolo", names, named, read, evidence=evidence)


def _open_with_yaml(tree: FileTree, data: DataYaml) -> LabelledDataset:
    listed: dict[Path, Split] = {}
    notes = []
    for split in data.splits:
        for image in list_images(data, split):
            if listed.setdefault(image, split) != split:
                message = (
                    f"in both {listed[image]} and {split} of {data.path.name}: it stays in {listed[image]}"
                )
                notes.append(Finding("warning", "split-overlap", message, str(image)))
    for path in tree.class_files:
        names = read_class_file(path)
        if names != data.names:
            message = f"has other class names than {data.path.name}, which counts"
            notes.append(Finding("warning", "names-conflict", message, str(path)))

    def read() -> Iterator[ReadImage]:
        for image, split in listed.items():
            yield read_yolo_image(image, find_label(image), split, len(data.names))
        for image in tree.images:
            if image not in listed:
                message = f"not in any split of {data.path.name}"
                yield ReadImage(image, None, 0, (Finding("info", "image-unlisted", message, str(image)),))

    evidence = f"splits and class names from {tree.relative(data.path)}"
    return LabelledDataset("yolo", data.names, tuple(data.splits), read, tuple(notes), (evidence,))
