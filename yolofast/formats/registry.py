"""The readers by format name, and the choice among them.

A reader says which files of a tree are its own and opens them as a `LabelledDataset`. A further
format is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import DataError, nearest
from yolofast.formats.coco import find_coco, open_coco
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.voc import find_voc, open_voc
from yolofast.formats.yolo_folder import find_yolo, open_yolo


@dataclass(frozen=True, slots=True)
class Reader:
    """`find` gives the label files of one format in a tree; `open` reads them as a dataset."""

    find: Callable[[FileTree], tuple[Path, ...]]
    open: Callable[[FileTree, tuple[Path, ...]], LabelledDataset]


READERS: dict[str, Reader] = {
    "yolo": Reader(find_yolo, open_yolo),
    "coco": Reader(find_coco, open_coco),
    "voc": Reader(find_voc, open_voc),
}


def find_label_files(tree: FileTree) -> Mapping[str, tuple[Path, ...]]:
    """Format name -> its label files, for the formats that the tree has."""
    found = {name: reader.find(tree) for name, reader in READERS.items()}
    return {name: files for name, files in found.items() if files}


def choose_format(tree: FileTree, found: Mapping[str, tuple[Path, ...]], label_format: str | None) -> str:
    """The one format to read. Raises `DataError` when there is none, or several and none was chosen."""
    if label_format is not None and label_format not in READERS:
        known = ", ".join(READERS)
        raise DataError(
            f"label format: got '{label_format}', expected one of {known}.{nearest(label_format, READERS)}"
        )
    if label_format is not None and label_format not in found:
        raise DataError(f"{tree.root}: no {label_format} labels here; found: {', '.join(found) or 'none'}.")
    if label_format is not None:
        return label_format
    if not found:
        raise DataError(
            f"{tree.root}: {len(tree.images)} images but no labels that this package reads. Expected one of: "
            "YOLO .txt beside the images or in a 'labels' folder, a COCO .json with 'images', 'annotations' "
            "and 'categories', or Pascal VOC .xml files."
        )
    if len(found) > 1:
        counts = ", ".join(f"{name} ({len(files)} files)" for name, files in found.items())
        raise DataError(
            f"{tree.root}: labels in several formats: {counts}. Say which one counts (--label-format)."
        )
    return next(iter(found))


def open_dataset(tree: FileTree, label_format: str | None = None) -> LabelledDataset:
    """The labels of a tree, ready to stream.

    Raises `DataError` when there is no known format, several of them and no choice, or the files of the
    format contradict themselves.
    """
    found = find_label_files(tree)
    name = choose_format(tree, found, label_format)
    return READERS[name].open(tree, found[name])
