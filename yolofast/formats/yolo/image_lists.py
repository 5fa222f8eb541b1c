"""Splits from lists of images (`train.txt`, `valid.txt`) without a data.yaml, as Darknet uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import SPLITS, split_of
from yolofast.formats.yolo.label_finder import LabelFinder
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Finding, Split

_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ListedImages:
    """The split of each listed image, the list files, and the problems in them."""

    splits: dict[Path, Split] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    findings: tuple[Finding, ...] = ()


def _names_images(path: Path) -> bool:
    """Whether the first non-blank line ends with an image suffix."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
    line = next(filter(None, map(str.strip, head.splitlines())), "")
    return PurePosixPath(line).suffix.lower() in IMAGE_SUFFIXES


def read_image_lists(tree: FileTree, labels: LabelFinder) -> ListedImages:
    """The lists of a tree: text files named after a split, for each split the one nearest to the root.

    Without a list for training there are none. Lines are looked up among the images of the tree.
    """
    lists: dict[Split, Path] = {}
    for path in sorted(tree.texts, key=lambda p: (len(p.parts), p)):
        split = split_of(PurePath(path.name))
        if split and split not in lists and path not in labels.paired and _names_images(path):
            lists[split] = path
    if "train" not in lists:
        return ListedImages()
    finder, splits, notes = ImageFinder(tree), dict[Path, Split](), []
    for split, path in ((split, lists[split]) for split in SPLITS if split in lists):
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
        for number, line in enumerate(map(str.strip, lines), 1):
            image = finder.find(line, path.parent) if line else None
            if line and image is None:
                message = f"'{line}' is listed: no such image, or several, below the dataset's folder"
                notes.append(Finding("error", "image-missing", message, str(path), number))
            elif image is not None and splits.setdefault(image, split) != split:
                message = f"'{line}' is also in {lists[splits[image]].name}: it stays there"
                notes.append(Finding("warning", "split-overlap", message, str(path), number))
    return ListedImages(splits, tuple(lists.values()), tuple(notes))
