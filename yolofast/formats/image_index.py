"""Finds the image that an annotation means.

Annotations name images by a stem, a file name, or a path from some other machine. They are looked
up among the images of the dataset's tree and nowhere else, so a path in a file can never lead
outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from yolofast.formats.discover import FileTree
from yolofast.formats.splits import split_of
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Split


def shared(a: Sequence[str], b: Sequence[str]) -> int:
    """How many leading items two sequences have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


class ImageIndex:
    """The images of a tree by stem."""

    def __init__(self, tree: FileTree) -> None:
        self._by_stem: dict[str, list[Path]] = {}
        for image in tree.images:
            self._by_stem.setdefault(image.stem, []).append(image)
        folders = {image.parent for image in tree.images}
        self._splits = {folder: split_of(folder.relative_to(tree.root)) for folder in folders}
        self._named = frozenset(split for split in self._splits.values() if split is not None)

    def find(self, name: str, folder: Path, split: Split | None = None) -> Path | None:
        """The image called `name` for an annotation file that lies in `folder`.

        `name` may have leading folders; its suffix counts only when it is an image's. Among images of
        the same name, the one that agrees with most of the named folders wins, then one in a folder of
        `split`, then the one nearest to `folder`. None when there is none, or no single best one. An image in
        the folder of another split than the annotation's own is none where that has images too, unless `name`
        says that folder: people number each split from 1.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        suffix = wanted.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            found = [p for p in self._by_stem.get(wanted.stem, []) if p.suffix.lower() == suffix]
        else:
            found = self._by_stem.get(wanted.name, [])
        if split in self._named:
            found = [p for p in found if self._may_be_of(split, p, wanted)]
        if len(found) < 2:
            return found[0] if found else None

        def rank(image: Path) -> tuple[int, bool, int]:
            parents = image.parent.parts
            together = shared(parents, folder.parts)
            return (
                shared(parents[::-1], wanted.parent.parts[::-1]),
                split is not None and self._splits[image.parent] == split,
                2 * together - len(parents) - len(folder.parts),
            )

        best, second = sorted(((rank(p), p) for p in found), reverse=True)[:2]
        return best[1] if best[0] > second[0] else None

    def split(self, image: Path) -> Split | None:
        """The split that the folders of an image of the tree name."""
        return self._splits[image.parent]

    def _may_be_of(self, split: Split | None, image: Path, wanted: PurePosixPath) -> bool:
        """Whether an image's folder is of no other split than `split`, or is what `wanted` says."""
        theirs = self._splits[image.parent]
        if theirs in (None, split):
            return True
        parents = image.parent.parts
        same = shared(parents[::-1], wanted.parent.parts[::-1])
        return split_of(PurePosixPath(*parents[len(parents) - same :])) == theirs
