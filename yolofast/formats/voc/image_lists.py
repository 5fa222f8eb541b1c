"""Splits from the lists of image names in `ImageSets`, as Pascal VOC has them.

A devkit has lists for several tasks, and people put several devkits (VOC2007, VOC2012) into one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.types import Finding, Split

LISTS: tuple[tuple[str, Split], ...] = (
    ("train", "train"),
    ("val", "valid"),
    ("valid", "valid"),
    ("test", "test"),
    ("trainval", "train"),
)
"""ImageSets files and the split of each; trainval is used only without train and val."""
_FOLDERS = ("Main", "ImageSets")
"""The folders of lists for boxes. Those of other tasks (Layout, Segmentation) are used only without these."""
_FLAG = re.compile(r"\s+(-1|0|1)$")


@dataclass(frozen=True, slots=True)
class ListedName:
    """An image name in an ImageSets file."""

    split: Split
    file: Path
    line: int


@dataclass(frozen=True, slots=True)
class ImageSets:
    """The lists of a tree: folder with an `ImageSets` -> image name -> the first list that names it."""

    devkits: dict[Path, dict[str, ListedName]]
    findings: tuple[Finding, ...]
    _only: dict[str, ListedName] | None = field(init=False)

    def __post_init__(self) -> None:
        only = next(iter(self.devkits.values())) if len(self.devkits) == 1 else None
        object.__setattr__(self, "_only", only)

    def __bool__(self) -> bool:
        return any(self.devkits.values())

    def split(self, path: Path) -> Split | None:
        """The split of an XML file, by its name in the lists of its devkit, or of the only devkit."""
        names = self._only
        if names is None:
            above = (self.devkits[folder] for folder in path.parents if folder in self.devkits)
            names = next(above, {})
        return names[path.stem].split if path.stem in names else None

    def missing(self, known: frozenset[str]) -> Iterator[Finding]:
        """A finding for each listed name that is not in `known`."""
        for names in self.devkits.values():
            for name, listed in names.items():
                if name not in known:
                    message = f"'{name}' is listed, but there is no such image"
                    yield Finding("error", "image-missing", message, str(listed.file), listed.line)


def read_image_lists(tree: FileTree) -> ImageSets:
    """The ImageSets lists of a tree."""
    known = frozenset(image.stem for image in tree.images)
    notes: list[Finding] = []
    devkits = {}
    for devkit, files in _list_files(tree.texts).items():
        names = _listed_names(files, known, notes)
        if names:
            devkits[devkit] = names
    return ImageSets(devkits, tuple(notes))


def _list_files(texts: Iterable[Path]) -> dict[Path, dict[str, Path]]:
    """Folder with an `ImageSets` -> list name -> its file, for the task that is used."""
    tasks: dict[Path, dict[str, dict[str, Path]]] = {}
    names = {name for name, _ in LISTS}
    for path in texts:
        folder, stem = path.parent, path.stem.lower()
        if "ImageSets" in folder.parts[-2:] and stem in names:
            sets = folder if folder.name == "ImageSets" else folder.parent
            tasks.setdefault(sets.parent, {}).setdefault(folder.name, {})[stem] = path
    chosen = {}
    for devkit, found in tasks.items():
        chosen[devkit] = found[next((name for name in _FOLDERS if name in found), min(found))]
    return chosen


def _listed_names(
    files: dict[str, Path], known: frozenset[str], notes: list[Finding]
) -> dict[str, ListedName]:
    """The names in the lists of one devkit; a name belongs to the first list that has it."""
    names: dict[str, ListedName] = {}
    for stem, split in LISTS:
        if stem not in files or (stem == "trainval" and ("train" in files or "val" in files)):
            continue
        path = files[stem]
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
        for number, line in enumerate(lines, 1):
            text = line.strip()
            name = text if text in known else _FLAG.sub("", text)
            if name and names.setdefault(name, ListedName(split, path, number)).split != split:
                message = f"'{name}' is also in {names[name].file.name}: it stays there"
                notes.append(Finding("warning", "split-overlap", message, str(path), number))
    return names
