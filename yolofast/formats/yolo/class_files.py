"""Which class file rules which label files of a YOLO dataset without a data.yaml.

Annotation tools such as labelImg write a classes.txt into each folder of labels, in the order in which its
classes were first used there: it rules the folder, and the folders below it that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.discover import FileTree
from yolofast.formats.names.reader import read_class_file
from yolofast.types import Finding


def ruling_class_files(tree: FileTree, labels: Iterable[Path]) -> Mapping[Path, tuple[str, ...]]:
    """The class files that rule label files, with their names; one alone where they all agree.

    The first file of a folder counts there. A single file (or several that agree) rules all labels, wherever
    it is. Empty without class files.

    Raises `DataError` for a file that rules labels and cannot be read, and for labels that no file rules
    while those of other folders differ.
    """
    if not tree.class_files:
        return {}
    first = tree.class_files[0]
    by_folder = {path.parent: path for path in reversed(tree.class_files)}
    if len(by_folder) == 1:
        return {first: read_class_file(first)}
    folders = dict.fromkeys(label.parent for label in labels)
    nearest = {folder: nearest_file(folder, by_folder) for folder in folders}
    used = {path for path in nearest.values() if path is not None}
    ruling = {path: read_class_file(path) for path in tree.class_files if path in used}
    if len(set(ruling.values())) == 1 and (None not in nearest.values() or _all_agree(tree, ruling)):
        path, names = next(iter(ruling.items()))
        return {path: names}
    bare = next((folder for folder, path in nearest.items() if path is None), None)
    if bare is None:
        return ruling
    if not ruling and _all_agree(tree, {}):
        return {first: read_class_file(first)}
    listed = ", ".join(map(tree.relative, tree.class_files[:4]))
    raise DataError(
        f"{tree.root}: the class files differ ({listed}), and none is in the folder '{tree.relative(bare)}' "
        "with labels, or above it: their class ids have no names. Put its classes.txt there, or remove the "
        "others."
    )


def nearest_file(folder: Path, by_folder: Mapping[Path, Path]) -> Path | None:
    """The class file in `folder`, or in the nearest folder above it."""
    return next((by_folder[above] for above in (folder, *folder.parents) if above in by_folder), None)


def _all_agree(tree: FileTree, known: Mapping[Path, tuple[str, ...]]) -> bool:
    """Whether all class files that can be read have the same names."""
    names = set(known.values())
    for path in tree.class_files:
        if path not in known:
            try:
                names.add(read_class_file(path))
            except DataError:  # said by `id_conflicts`
                continue
    return len(names) == 1


def mapped_finding(lists: Mapping[Path, tuple[str, ...]], tree: FileTree) -> Finding:
    """What is said when class lists that differ each rule a part of the dataset."""
    files = [*lists]
    others = ", ".join(map(tree.relative, files[1:]))
    message = (
        f"names other classes than {others}: each rules the labels of its own part, and classes are mapped "
        "by name"
    )
    return Finding("warning", "names-mapped", message, str(files[0]))
