"""The split of every image of a tree: by lists of images, else by folders.

Lists are text files: those in `ImageSets`, as Pascal VOC has them, or files named after a split
(`train.txt`, `val.txt`), as Darknet and PaddleDetection have them. A line names an image by its path or its
stem; VOC's flag (-1, 0 or 1) or a label file may follow. A devkit has lists for several tasks, and people
put several devkits (VOC2007, VOC2012) into one folder.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from yolofast.formats.discover import FileTree
from yolofast.formats.path_index import stated_path
from yolofast.formats.splits import SPLITS, default_split, in_split_order, split_of, split_of_name
from yolofast.formats.text_lines import Unfound, list_lines
from yolofast.images import SUFFIX_PATTERN
from yolofast.limits import MAX_UNFOUND
from yolofast.types import Finding, Split

MIN_REST = 0.2
"""The share of all images that images without a split must have to be train, where nothing names train."""
IMAGE_SETS = "ImageSets"
_FOLDERS = ("Main", IMAGE_SETS)
"""The folders of lists for boxes. Those of other tasks (Layout, Segmentation) are used only without these."""
_STEMS: Mapping[str, Split] = {"train": "train", "val": "valid", "valid": "valid", "test": "test"}
"""The lists in `ImageSets`; others (cat_train.txt) are about single classes."""
_TRAINVAL = "trainval"
"""The list that is train, where no list is train or valid."""
_IMAGE = re.compile(rf".*({SUFFIX_PATTERN})", re.IGNORECASE)
_IMAGE_AND_LABEL = re.compile(rf"(.+?(?:{SUFFIX_PATTERN}))\s+(\S.*\.(?:xml|txt|json))", re.IGNORECASE)
_LABELS = (".xml", ".txt", ".json")
_FLAG = re.compile(r"\s+(-1|0|1)$")
_HEAD_BYTES = 4096


class Finder(Protocol):
    """What `image_finder.ImageFinder` does for lists."""

    def find(self, name: str, folder: Path, split: Split | None = None) -> Path | None: ...

    def folder_split(self, file: Path) -> Split | None: ...

    def has_folder(self, split: Split) -> bool: ...

    def __contains__(self, stem: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class ListFile:
    """A list of images, the split that it stands for, and the folder whose images it names."""

    path: Path
    split: Split
    folder: Path


class ImageSplits:
    """The splits of the images of a tree, where they come from, and what is wrong with the lists.

    `files` are the lists that were used, `labels` the label file of each image with which a list names one,
    as the list writes it.
    """

    def __init__(self, tree: FileTree, finder: Finder) -> None:
        self._tree, self._finder = tree, finder
        self.labels: dict[Path, str] = {}
        self.missing: list[tuple[str, Finding]] = []
        """The stems in lists that no image has, with the finding about each."""
        self.notes: list[Finding] = []
        """All other findings about the lists."""
        self._listed: dict[Path, ListFile] = {}
        files = sorted(_list_files(tree, finder), key=lambda file: SPLITS.index(file.split))
        self.files = tuple(filter(self._read, files))
        self._by_list = frozenset(file.split for file in self.files)

    def of(self, image: Path, label_file: Path | None = None) -> Split | None:
        """The split of an image: that of its list, else of the folders of its label file, else of its own.

        None where nothing names one, and where folders name a split that has a list without this image.
        """
        listed = self._listed.get(image)
        if listed is not None:
            return listed.split
        split = self._finder.folder_split(label_file) if label_file is not None else None
        split = split or self._finder.folder_split(image)
        return None if split in self._by_list else split

    @cached_property
    def named(self) -> frozenset[Split | None]:
        """Every split of an image by lists and its own folders, and None when images have none.

        A few stray images among those of a validation set are no training set: None is then left out.
        """
        counts = Counter(map(self.of, self._tree.images))
        few = "train" not in counts and counts[None] < MIN_REST * counts.total()
        return frozenset(split for split in counts if counts[split] and not (few and split is None))

    def named_with(self, label_files: Iterable[Path]) -> frozenset[Split | None]:
        """`named`, and the splits that the folders of label files name."""
        folders = {self._finder.folder_split(file) for file in label_files}
        return self.named | (folders - self._by_list - {None})

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong with the lists."""
        return (*(finding for _, finding in self.missing), *self.notes)

    def source(self, named: frozenset[Split | None]) -> str:
        """Where the splits `named` come from, in words; empty when nothing names one."""
        sources = []
        if self.files:
            sources.append(", ".join(self._tree.relative(file.path) for file in self.files))
        if in_split_order(named - self._by_list):
            sources.append("folder names")
        return with_rest(sources, named)

    def _read(self, file: ListFile) -> bool:
        """Add the images of a list; False for a list that is not used, because none of its images is here."""
        missing, found, unfound = list[tuple[str, Finding]](), 0, Unfound(file.path)
        for number, line in list_lines(file.path):
            pair = _IMAGE_AND_LABEL.fullmatch(line) if line.lower().endswith(_LABELS) else None
            name = pair[1] if pair else line
            image = self._find(name, file)
            if image is None and _FLAG.search(name):
                name = _FLAG.sub("", name)
                image = self._find(name, file)
            if image is None:
                message = f"'{line}' is listed: no such image, or several, below the dataset's folder"
                finding = Finding("error", "image-missing", message, str(file.path), number)
                missing.append((stated_path(name)[0], finding))
                if not found and len(missing) >= MAX_UNFOUND:
                    break
                unfound.saw(line, found=False)
                continue
            found += 1
            unfound.saw(line, found=True)
            if self._listed.setdefault(image, file).split != file.split:
                message = f"'{line}' is also in {self._listed[image].path.name}: it stays there"
                self.notes.append(Finding("warning", "split-overlap", message, str(file.path), number))
            elif pair:
                self.labels[image] = pair[2]
        if found:
            self.missing.extend(missing)
        elif missing:
            which = f"first {MAX_UNFOUND}" if len(missing) >= MAX_UNFOUND else f"{len(missing)}"
            message = f"none of the {which} images that it lists is here: it is not used"
            self.notes.append(Finding("warning", "split-list-unused", message, str(file.path)))
        return found > 0

    def _find(self, name: str, file: ListFile) -> Path | None:
        # a stated folder of a split is meant: the image of that name in another split is another image
        stated = _stated_split(name.replace("\\", "/").rpartition("/")[0])
        image = self._finder.find(name, file.folder, stated)
        if image is not None or stated is not None:
            return image
        # images of several splits have the name (KITTI: `training/` and `testing/`), and the list says which
        own = self._finder.has_folder(file.split)
        among: Split | None = file.split if own else "train" if file.split == "valid" else None
        return None if among is None else self._finder.find(name, file.folder, among)


@lru_cache(4096)
def _stated_split(folder: str) -> Split | None:
    return split_of(PurePosixPath(folder))


def with_rest(sources: Sequence[str], named: frozenset[Split | None]) -> str:
    """`sources` in words, and that the images without a split are train where that is the rule."""
    rest = "; the images without one are train" if default_split(named) else ""
    return " and ".join(sources) + rest


def _list_files(tree: FileTree, finder: Finder) -> Iterator[ListFile]:
    """The lists of a tree: those in `ImageSets`; without any, text files named after a split."""
    found = list(_image_sets(tree.texts))
    yield from found or _named_lists(tree, finder)


def _image_sets(texts: Iterable[Path]) -> Iterator[ListFile]:
    """The lists of each devkit, for the task that is used."""
    devkits: dict[Path, dict[str, dict[str, Path]]] = {}
    for path in texts:
        folder, stem = path.parent, path.stem.lower()
        if IMAGE_SETS in folder.parts[-2:] and (stem in _STEMS or stem == _TRAINVAL):
            sets = folder if folder.name == IMAGE_SETS else folder.parent
            devkits.setdefault(sets.parent, {}).setdefault(folder.name, {})[stem] = path
    for devkit, tasks in devkits.items():
        lists = tasks[next((name for name in _FOLDERS if name in tasks), min(tasks))]
        yield from _without_trainval(lists, _STEMS, devkit)


def _named_lists(tree: FileTree, finder: Finder) -> Iterator[ListFile]:
    """Text files that are named after a split and list images: for each split those nearest to the root."""
    folders: dict[Path, dict[str, Path]] = {}
    depths: dict[str, int] = {}
    for path in tree.texts:
        name = os.path.basename(path)[:-4].lower()  # noqa: PTH119 - runs once per label file of huge trees
        if "train" not in name and "val" not in name and "test" not in name:
            continue
        kind = _TRAINVAL if name == _TRAINVAL else split_of_name(name)
        if kind is None or path.stem in finder or not _lists_images(path, finder):
            continue
        depth = len(path.parts)
        if depth > depths.setdefault(kind, depth):
            continue
        if depth < depths[kind]:
            depths[kind] = depth
            for others in folders.values():
                others.pop(kind, None)
        known = folders.setdefault(path.parent, {})
        if kind not in known or len(name) < len(known[kind].stem):  # train.txt before autosplit_train.txt
            known[kind] = path
    for folder, lists in folders.items():
        yield from _without_trainval(lists, {split: split for split in SPLITS}, folder)


def _without_trainval(
    lists: Mapping[str, Path], kinds: Mapping[str, Split], folder: Path
) -> Iterator[ListFile]:
    """Lists by kind as splits; a trainval list is train where there is no list for train or valid."""
    found = [ListFile(lists[kind], split, folder) for kind, split in kinds.items() if kind in lists]
    if _TRAINVAL in lists and not {"train", "valid"} & {file.split for file in found}:
        found.append(ListFile(lists[_TRAINVAL], "train", folder))
    return iter(found)


def _lists_images(path: Path, finder: Finder) -> bool:
    """Whether the first line that is not blank names an image, by its suffix or as a stem that there is."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8-sig", "surrogateescape")
    except OSError:
        return False
    line = next(filter(None, map(str.strip, head.splitlines())), "")
    if _IMAGE.fullmatch(line) or _IMAGE_AND_LABEL.fullmatch(line):
        return True
    return _FLAG.sub("", line) in finder
