"""Finds the YOLO label file of each image of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from yolofast.formats.data_yaml import label_candidates
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import common_prefix
from yolofast.formats.splits import split_of
from yolofast.types import Split


class LabelFinder:
    """Matches the label files of a tree with its images.

    The usual paths come first (`label_candidates`). The remaining files are matched by stem, wherever they
    are: an image and a label file are a pair when each is the other's only best match by the folders that
    their paths share at the end (`pics/a/1.jpg`, `boxes/a/1.txt`), then at the start, ignoring case.
    Folders of two different splits never match: people number each split from 1.
    """

    def __init__(self, tree: FileTree) -> None:
        self._root = tree.root
        known = {str(text): text for text in tree.texts}
        self._labels: dict[Path, Path] = {}
        self._splits: dict[str, Split | None] = {}
        unmatched = []
        for image in tree.images:
            label = next((known[path] for path in label_candidates(image) if path in known), None)
            if label is not None:
                self._labels[image] = label
            else:
                unmatched.append(image)
        if unmatched:
            self._match_by_stem(unmatched, set(tree.texts).difference(self._labels.values()))
        self.paired = frozenset(self._labels.values())
        self._folders = {os.path.dirname(label) for label in self.paired}  # noqa: PTH120
        self._stems = frozenset(image.stem for image in unmatched) | {label.stem for label in self.paired}

    def find(self, image: Path) -> Path | None:
        """The label file of an image, or None."""
        return self._labels.get(image)

    def is_near(self, text: Path) -> bool:
        """Whether a text file is in a folder of label files, or is named like an image."""
        return os.path.dirname(text) in self._folders or text.stem in self._stems  # noqa: PTH120

    def _match_by_stem(self, images: Iterable[Path], texts: Iterable[Path]) -> None:
        by_tail: dict[tuple[str, ...], list[Path]] = {}  # (stem, last folders...) -> label files
        for text in sorted(texts):
            for tail in self._tails(text):
                by_tail.setdefault(tail, []).append(text)
        claims: dict[Path, list[Path]] = {}
        for image in images:
            if (image.stem,) not in by_tail:  # the common case in datasets of other formats
                continue
            nearest = next(
                filter(None, (self._same_split(image, by_tail.get(t, ())) for t in self._tails(image))), []
            )
            label = self._only_best(image, nearest)
            if label is not None:
                claims.setdefault(label, []).append(image)
        for claimed, claimants in claims.items():
            best = self._only_best(claimed, claimants)
            if best is not None:
                self._labels[best] = claimed

    def _parents(self, path: Path) -> tuple[str, ...]:
        return tuple(part.casefold() for part in path.relative_to(self._root).parts[:-1])

    def _split(self, path: Path) -> Split | None:
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in self._splits:
            self._splits[folder] = split_of(path.relative_to(self._root).parent)
        return self._splits[folder]

    def _same_split(self, image: Path, labels: Iterable[Path]) -> list[Path]:
        """The label files that are not in a folder of another split than the image."""
        labels = list(labels)
        split = self._split(image) if labels else None
        return [label for label in labels if split is None or self._split(label) in (None, split)]

    def _tails(self, path: Path) -> Iterator[tuple[str, ...]]:
        """The stem with all folders of the path, then with fewer, down to none."""
        parents = self._parents(path)
        for start in range(len(parents) + 1):
            yield path.stem, *parents[start:]

    def _only_best(self, path: Path, others: list[Path]) -> Path | None:
        """The best match for `path` among `others`, or None when two are equally good."""
        parents = self._parents(path)

        def rank(other: Path) -> tuple[int, int]:
            theirs = self._parents(other)
            return common_prefix(parents[::-1], theirs[::-1]), common_prefix(parents, theirs)

        ranked = sorted(((rank(other), other) for other in others), reverse=True)
        unique = ranked and (len(ranked) == 1 or ranked[0][0] > ranked[1][0])
        return ranked[0][1] if unique else None
