"""Finds the image that an annotation refers to.

Annotations name images by a stem, a file name, or a path on some other machine. Images are looked up in
the file tree of the dataset and nowhere else, so a path in an annotation can never lead outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.formats.name_keys import KEYS, decoded, matched_findings, same_name
from yolofast.formats.path_index import PathIndex, stated_path
from yolofast.formats.split_lists import ImageSplits, with_rest
from yolofast.types import Finding, Split


class ImageFinder:
    """Looks up the images of a tree by name, and their splits.

    `names` gives all names that will be looked up. It is only called when a name is not found as it is: a
    name whose key equals that of another one in `names` is then not matched by key.
    """

    def __init__(self, tree: FileTree, names: Callable[[], Iterable[str]] | None = None) -> None:
        self._tree, self._names = tree, names
        self._index = PathIndex(tree.root, tree.images)
        self._matched: dict[str, str] = {}

    def __contains__(self, stem: str) -> bool:
        """Whether an image has exactly this stem."""
        return stem in self._index

    def find(self, name: str, folder: Path, split: Split | None = None) -> Path | None:
        """The image called `name`, for an annotation file in `folder`; None without a unique best match.

        `name` may have leading folders; its suffix matters only when it is an image suffix. Among images of
        that name, the one that shares most of the folders in `name` matches, then one in a folder of
        `split`, then the one nearest to `folder`. People number the images of each split from 1: where
        `split` has images of its own, an image in the folder of another split only matches when `name`
        includes that folder. A name that no image has is compared by its keys (`formats.name_keys`).
        """
        split = split if split in self._index.splits else None
        stem, suffix, above = stated_path(name)
        image = self._index.find(stem, folder, above=above, split=split, suffix=suffix)
        return image or self._find_by_key(name, folder, split)

    @cached_property
    def splits(self) -> ImageSplits:
        """The splits that lists of images and folders name."""
        return ImageSplits(self._tree, self)

    def split(self, image: Path) -> Split | None:
        """The split of an image by lists, else by its folders."""
        return self.splits.of(image)

    def folder_split(self, file: Path) -> Split | None:
        """The split that the folders between the root and a file name."""
        return self._index.split(file)

    def has_folder(self, split: Split) -> bool:
        """Whether an image is in a folder of a split."""
        return split in self._index.splits

    def with_stated(
        self, stated: Collection[Split | None], stated_by: str
    ) -> tuple[frozenset[Split | None], str]:
        """All splits of a dataset whose labels state splits, and in words where they come from.

        `stated` are the splits that labels state, with None when they state none for some images: lists and
        folders decide on these. `stated_by` says in words what states them.
        """
        named = frozenset(stated) - {None}
        sources = [stated_by] if named else []
        if None in stated:
            others = self.splits.named
            named |= others
            sources += filter(None, [self.splits.source(others - {None})])
        return named, with_rest(sources, named)

    def findings(self) -> tuple[Finding, ...]:
        """One finding about all names that were matched by key so far; none without such names."""
        return matched_findings(self._matched, self._tree.root)

    def _find_by_key(self, name: str, folder: Path, split: Split | None) -> Path | None:
        stem, suffix, above = stated_path(decoded(name))
        for level, key in enumerate(KEYS):
            value = key(stem)
            index = self._indices[level]
            if value not in index or len(self._asked[level].get(value, ())) > 1:
                continue
            image = index.find(value, folder, above=above, split=split, suffix=suffix)
            if image is not None and same_name(stem, image.stem):
                self._matched[name] = image.name
                return image
        return None

    @cached_property
    def _indices(self) -> list[PathIndex]:
        return [PathIndex(self._tree.root, self._tree.images, key) for key in KEYS]

    @cached_property
    def _asked(self) -> list[dict[str, set[str]]]:
        """For each kind of key: key -> the spellings of the stems that are looked up."""
        asked: list[dict[str, set[str]]] = [{} for _ in KEYS]
        stems = {stated_path(name)[0] for name in self._names()} if self._names is not None else ()
        for stem in stems:
            for level, key in enumerate(KEYS):
                asked[level].setdefault(key(stem), set()).add(stem)
        return asked
