"""Finds the YOLO label file of each image of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from yolofast.formats.data_yaml import label_candidates
from yolofast.formats.discover import FileTree
from yolofast.formats.name_keys import KEYS, matched_findings, name_key, same_name
from yolofast.formats.path_index import PathIndex, folder_of
from yolofast.formats.yolo.usual_labels import UsualLabels
from yolofast.types import Finding


class LabelFinder:
    """Matches the label files of a tree with its images.

    The usual rule comes first (`UsualLabels`). Images in folders that have no usual folder of labels, and no
    label file beside an image, are matched by stem with the remaining files, wherever these are: an image and
    a label file are a pair when each is the other's only best match by the folders that their paths share at
    the end (`pics/a/1.jpg`, `boxes/a/1.txt`), then at the start, ignoring case. Folders of two different
    splits never match: people number each split from 1.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        known = {str(text): text for text in tree.texts}
        self._rule = UsualLabels()
        self._usual: dict[Path, Path] = {}
        self._elsewhere: dict[Path, Path] = {}
        self._by_key: dict[str, str] = {}
        unmatched = []
        for image in tree.images:
            label = next((known[path] for path in label_candidates(image) if path in known), None)
            if label is None:
                unmatched.append(image)
            else:
                self._usual[image] = label
        for image in unmatched:
            found = self._rule.find_by_key(image)
            if found in known:
                self._usual[image] = known[found]
        self._folders = {folder_of(label) for label in self._usual.values()}
        if unmatched:
            self._match_elsewhere(image for image in unmatched if image not in self._usual)
        self.paired = frozenset((*self._usual.values(), *self._elsewhere.values()))
        self._folders |= {folder_of(label) for label in self._elsewhere.values()}
        self._stems = frozenset(image.stem for image in unmatched) | {label.stem for label in self.paired}

    def find(self, image: Path) -> Path | None:
        """The label file of an image, or None."""
        return self._usual.get(image) or self._elsewhere.get(image)

    def find_usual(self, image: Path) -> Path | None:
        """The label file of an image by the usual rule alone, as trainers find it; the image may be outside
        the tree."""
        label = self._usual.get(image)
        if label is not None or image.is_relative_to(self._tree.root):
            return label
        found = self._rule.find(image)
        return None if found is None else Path(found)

    def is_near(self, text: Path) -> bool:
        """Whether a text file is in a folder of label files, or is named like an image."""
        return folder_of(text) in self._folders or text.stem in self._stems

    def findings(self) -> tuple[Finding, ...]:
        """One finding about all pairs whose names differ, by either rule; none without such pairs."""
        return matched_findings({**self._rule.matched, **self._by_key}, self._tree.root)

    def _match_elsewhere(self, images: Iterable[Path]) -> None:
        open_folders: dict[str, bool] = {}
        left = set[Path]()
        for image in images:
            folder = folder_of(image)
            if folder not in open_folders:
                folders, other = self._rule.folders(folder)
                open_folders[folder] = folder not in self._folders and len(folders) == 1 and other is None
            if open_folders[folder]:
                left.add(image)
        texts = set(self._tree.texts).difference(self._usual.values())
        for key in (None, *KEYS):
            if left and texts:
                pairs = dict(self._mutual(sorted(left), sorted(texts), key))
                self._elsewhere |= pairs
                if key is not None:
                    self._by_key |= {image.name: label.name for image, label in pairs.items()}
                left.difference_update(pairs)
                texts.difference_update(pairs.values())

    def _mutual(
        self, images: list[Path], texts: list[Path], key: Callable[[str], str] | None
    ) -> Iterable[tuple[Path, Path]]:
        """The pairs in which each is the only best match of the other."""
        ours, theirs = (PathIndex(self._tree.root, files, key) for files in (images, texts))

        def best(index: PathIndex, file: Path) -> Path | None:
            stem = file.stem if key is None else key(file.stem)
            if stem not in index:  # the common case in datasets of other formats
                return None
            folders = file.relative_to(self._tree.root).parts[:-1]
            above = tuple(map(name_key, folders))
            found = index.find(stem, file.parent, above=above, split=index.split(file))
            return found if found is not None and same_name(file.stem, found.stem) else None

        for image in images:
            label = best(theirs, image)
            if label is not None and best(ours, label) == image:
                yield image, label
