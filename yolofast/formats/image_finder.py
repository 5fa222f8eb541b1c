"""Finds the image that an annotation refers to.

Annotations name images by a stem, a file name, or a path on some other machine. Images are looked up in
the file tree of the dataset and nowhere else, so a path in an annotation can never lead outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from yolofast.formats.discover import FileTree
from yolofast.formats.splits import split_of
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Split


def common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """How many leading items two sequences have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


class ImageFinder:
    """Looks up the images of a tree by name."""

    def __init__(self, tree: FileTree) -> None:
        self._by_stem: dict[str, list[Path]] = {}
        for image in tree.images:
            self._by_stem.setdefault(image.stem, []).append(image)
        folders = {image.parent for image in tree.images}
        self._splits = {folder: split_of(folder.relative_to(tree.root)) for folder in folders}
        self._named = frozenset(split for split in self._splits.values() if split is not None)

    def find(self, name: str, folder: Path, split: Split | None = None) -> Path | None:
        """The image called `name`, for an annotation file in `folder`; None without a unique best match.

        `name` may have leading folders; its suffix matters only when it is an image suffix. Among images of
        the same name, the one that shares most of the leading folders of `name` wins, then one in a folder
        of `split`, then the one nearest to `folder`. People number the images of each split from 1: where
        `split` has images of its own, an image in the folder of another split only matches when `name`
        includes that folder.
        """
        wanted = PurePosixPath(name.replace("\\", "/"))
        suffix = wanted.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            found = [p for p in self._by_stem.get(wanted.stem, []) if p.suffix.lower() == suffix]
        else:
            found = self._by_stem.get(wanted.name, [])
        if split in self._named:
            found = [p for p in found if self._may_belong_to(split, p, wanted)]
        if len(found) < 2:
            return found[0] if found else None

        def rank(image: Path) -> tuple[int, bool, int]:
            parents = image.parent.parts
            common = common_prefix(parents, folder.parts)
            return (
                common_prefix(parents[::-1], wanted.parent.parts[::-1]),
                split is not None and self._splits[image.parent] == split,
                2 * common - len(parents) - len(folder.parts),
            )

        best, second = sorted(((rank(p), p) for p in found), reverse=True)[:2]
        return best[1] if best[0] > second[0] else None

    def split(self, image: Path) -> Split | None:
        """The split that the folders of an image name."""
        return self._splits[image.parent]

    def _may_belong_to(self, split: Split | None, image: Path, wanted: PurePosixPath) -> bool:
        """Whether the image's folder names no split other than `split`, or `wanted` includes that folder."""
        theirs = self._splits[image.parent]
        if theirs in (None, split):
            return True
        parents = image.parent.parts
        common = common_prefix(parents[::-1], wanted.parent.parts[::-1])
        return split_of(PurePosixPath(*parents[len(parents) - common :])) == theirs
