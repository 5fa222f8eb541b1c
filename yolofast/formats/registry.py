"""The registry of readers by format name, and the choice among them.

A reader finds the label files of its format in a tree and opens them as a `LabelledDataset`. Register a
reader for your own format, and `analyze`, `check`, `prepare` and `convert` support it:

    from yolofast.formats import (
        FileTree, FoundImage, LabelledDataset, RawRows, Reader, complete_images, register_reader,
    )

    def find_points(tree: FileTree) -> tuple[Path, ...]:
        return tuple(path for path in tree.texts if path.suffix == ".txt")

    def open_points(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
        def find() -> Iterator[FoundImage]:
            for path in files:  # each line: left top right bottom, in pixels
                lines = path.read_text().splitlines()
                boxes = [(tuple(map(float, line.split())), 0, i) for i, line in enumerate(lines, 1)]
                yield FoundImage(path.with_suffix(".jpg"), None, path, RawRows.collect(boxes))

        return LabelledDataset("points", ("thing",), (), lambda: complete_images(find(), num_classes=1))

    register_reader("points", Reader(find_points, open_points))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import ConfigError, DataError, nearest, without_location
from yolofast.formats.bdd100k.reader import find_bdd100k, open_bdd100k
from yolofast.formats.coco.reader import find_coco, open_coco
from yolofast.formats.createml.reader import find_createml, open_createml
from yolofast.formats.csv.reader import find_csv, open_csv
from yolofast.formats.cvat.reader import find_cvat, open_cvat
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.dota.reader import find_dota, open_dota
from yolofast.formats.kitti.reader import find_kitti, open_kitti
from yolofast.formats.label_studio.reader import find_label_studio, open_label_studio
from yolofast.formats.labelme.reader import find_labelme, open_labelme
from yolofast.formats.lvis.reader import find_lvis, open_lvis
from yolofast.formats.names.conflicts import name_conflicts, similar_names
from yolofast.formats.ndjson.reader import find_ndjson, open_ndjson
from yolofast.formats.openimages.reader import find_open_images, open_open_images
from yolofast.formats.unique_names import check_names
from yolofast.formats.unsupported import explain_unsupported
from yolofast.formats.via.reader import find_via, open_via
from yolofast.formats.visdrone.reader import find_visdrone, open_visdrone
from yolofast.formats.voc.reader import find_voc, open_voc
from yolofast.formats.vott.reader import find_vott, open_vott
from yolofast.formats.yolo.reader import find_yolo, open_yolo
from yolofast.types import Finding


@dataclass(frozen=True, slots=True)
class Reader:
    """`find` returns the label files of one format in a tree; `open` reads them as a dataset.

    `find` decides by content, not by name, and is quick: it runs on every folder. `open` raises `DataError`
    when the whole dataset is unusable; every other problem becomes a finding about an image that
    `LabelledDataset.read` yields. With `labels_hold_names` the labels contain class names, and class files
    and YAML files in the folder are compared with them; labels with class numbers take their names from such
    a file.
    """

    find: Callable[[FileTree], tuple[Path, ...]]
    open: Callable[[FileTree, tuple[Path, ...]], LabelledDataset]
    labels_hold_names: bool = True


READERS: dict[str, Reader] = {
    "yolo": Reader(find_yolo, open_yolo, labels_hold_names=False),
    "coco": Reader(find_coco, open_coco),
    "voc": Reader(find_voc, open_voc),
    "csv": Reader(find_csv, open_csv),
    "openimages": Reader(find_open_images, open_open_images),
    "labelme": Reader(find_labelme, open_labelme),
    "cvat": Reader(find_cvat, open_cvat),
    "label_studio": Reader(find_label_studio, open_label_studio),
    "via": Reader(find_via, open_via),
    "vott": Reader(find_vott, open_vott),
    "createml": Reader(find_createml, open_createml),
    "visdrone": Reader(find_visdrone, open_visdrone),
    "kitti": Reader(find_kitti, open_kitti),
    "dota": Reader(find_dota, open_dota),
    "lvis": Reader(find_lvis, open_lvis),
    "bdd100k": Reader(find_bdd100k, open_bdd100k),
    "ndjson": Reader(find_ndjson, open_ndjson),
}
_RESERVED_NAMES = frozenset({"mixed", "unknown", "class_mapping"})
"""What `DatasetInfo` uses besides format names."""


def register_reader(name: str, reader: Reader, *, replace: bool = False) -> None:
    """Register a label format; `name` is its name in `--label-format` and `DatasetInfo.label_format`.

    Raises `DataError` when the name is invalid, or taken (unless `replace`).
    """
    if not name.isidentifier() or name in _RESERVED_NAMES:
        raise DataError(f"label format: got the name '{name}', expected one word such as 'my_format'.")
    if name in READERS and not replace:
        raise DataError(f"label format: '{name}' is taken. Choose another name, or pass replace=True.")
    READERS[name] = reader


def find_label_files(tree: FileTree) -> Mapping[str, tuple[Path, ...]]:
    """Format name -> label files, for the formats found in the tree: only YOLO's where the user named a
    data.yaml."""
    names = READERS if tree.data_yaml is None else ("yolo",)
    found = {name: READERS[name].find(tree) for name in names}
    return {name: files for name, files in found.items() if files}


def choose_format(tree: FileTree, found: Mapping[str, tuple[Path, ...]], label_format: str | None) -> str:
    """The format to read.

    Raises `ConfigError` for an unknown `label_format`, and `DataError` when there is none in the tree, or
    several and none was chosen.
    """
    if label_format is not None and label_format not in READERS:
        known = ", ".join(READERS)
        raise ConfigError(
            f"label_format: got '{label_format}', expected one of {known}.{nearest(label_format, READERS)}"
        )
    if label_format is not None and label_format not in found:
        raise DataError(f"{tree.root}: no {label_format} labels here; found: {', '.join(found) or 'none'}.")
    if label_format is not None:
        return label_format
    if not found:
        raise DataError(f"{tree.root}: {explain_unsupported(tree)}")
    if len(found) > 1:
        counts = ", ".join(f"{name} ({len(files)} files)" for name, files in found.items())
        raise DataError(f"{tree.root}: labels in several formats: {counts}. Choose one (--label-format).")
    return next(iter(found))


def open_dataset(tree: FileTree, label_format: str | None = None) -> LabelledDataset:
    """The labels of a tree, ready to stream.

    Where there are several formats and none was chosen, one that cannot be opened does not count: it is a
    finding (`format-broken`).

    Raises `ConfigError` for an unknown `label_format`, and `DataError` when there is no supported format,
    several and none was chosen, or when the files of the format are invalid.
    """
    found = find_label_files(tree)
    if label_format is None and len(found) > 1:
        return _only_sound(tree, found)
    name = choose_format(tree, found, label_format)
    return open_format(tree, name, found[name])


def _only_sound(tree: FileTree, found: Mapping[str, tuple[Path, ...]]) -> LabelledDataset:
    """The only one of several formats that can be opened; raises `DataError` when there are more, or none."""
    opened: dict[str, LabelledDataset] = {}
    broken: list[Finding] = []
    for name, files in found.items():
        try:
            opened[name] = open_format(tree, name, files)
        except DataError as error:
            broken.append(broken_format(tree, name, error))
    name = choose_format(tree, {name: found[name] for name in opened or found}, None)
    return dataclasses.replace(opened[name], findings=(*opened[name].findings, *broken))


def broken_format(tree: FileTree, name: str, error: DataError) -> Finding:
    """The finding for a format whose files are there and cannot be opened."""
    message = f"the {name} labels cannot be opened: {without_location(error, tree.root)}"
    return Finding("error", "format-broken", message, str(tree.root))


def open_format(tree: FileTree, name: str, files: tuple[Path, ...]) -> LabelledDataset:
    """The label files of one format as a dataset; its `format` is the name of the registered reader."""
    reader = READERS[name]
    dataset = reader.open(tree, files)
    check_names(dataset.names, str(tree.root))
    conflicts = name_conflicts(tree, dataset.names, name) if reader.labels_hold_names else ()
    findings = dataset.findings + conflicts + similar_names(dataset.names, tree.root)
    return dataclasses.replace(dataset, format=name, findings=findings)
