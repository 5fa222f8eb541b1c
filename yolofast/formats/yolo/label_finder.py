"""Which YOLO label file belongs to which image of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import shared
from yolofast.formats.splits import split_of
from yolofast.formats.yolo.data_yaml import label_candidates
from yolofast.types import Split


class LabelFinder:
    """The label files of a tree by image.

    The usual places first (`label_candidates`). What is left over goes by its stem, wherever it lies: an
    image and a label file are a pair when each is the other's single best match by the folders that their
    paths share at the end (`pics/a/1.jpg`, `boxes/a/1.txt`), then at the start. Case does not count there.
    Folders of two different splits never go together: people number each split from 1.
    """

    def __init__(self, tree: FileTree) -> None:
        self._root = tree.root
        known = {str(text): text for text in tree.texts}
        self._labels: dict[Path, Path] = {}
        self._splits: dict[str, Split | None] = {}
        elsewhere = []
        for image in tree.images:
            usual = next((known[place] for place in label_candidates(image) if place in known), None)
            if usual is not None:
                self._labels[image] = usual
            else:
                elsewhere.append(image)
        if elsewhere:
            self._match_by_stem(elsewhere, set(tree.texts).difference(self._labels.values()))
        self.paired = frozenset(self._labels.values())
        self._folders = {os.path.dirname(label) for label in self.paired}  # noqa: PTH120
        self._stems = frozenset(image.stem for image in elsewhere) | {label.stem for label in self.paired}

    def find(self, image: Path) -> Path | None:
        """The label file of an image, or None."""
        return self._labels.get(image)

    def is_near(self, text: Path) -> bool:
        """Whether a text file lies among label files, or is named like an image."""
        return os.path.dirname(text) in self._folders or text.stem in self._stems  # noqa: PTH120

    def _match_by_stem(self, images: Iterable[Path], texts: Iterable[Path]) -> None:
        by_tail: dict[tuple[str, ...], list[Path]] = {}  # (stem, last folders...) -> label files
        for text in sorted(texts):
            for tail in self._tails(text):
                by_tail.setdefault(tail, []).append(text)
        claims: dict[Path, list[Path]] = {}
        for image in images:
            if (image.stem,) not in by_tail:  # most of a dataset whose labels are no text files
                continue
            nearest = next(
                filter(None, (self._of_split(image, by_tail.get(t, ())) for t in self._tails(image))), []
            )
            label = self._single_best(image, nearest)
            if label is not None:
                claims.setdefault(label, []).append(image)
        for claimed, claimants in claims.items():
            best = self._single_best(claimed, claimants)
            if best is not None:
                self._labels[best] = claimed

    def _parents(self, path: Path) -> tuple[str, ...]:
        return tuple(part.casefold() for part in path.relative_to(self._root).parts[:-1])

    def _split(self, path: Path) -> Split | None:
        folder = os.path.dirname(path)  # noqa: PTH120
        if folder not in self._splits:
            self._splits[folder] = split_of(path.relative_to(self._root).parent)
        return self._splits[folder]

    def _of_split(self, image: Path, labels: Iterable[Path]) -> list[Path]:
        """The label files that lie in no folder of another split than the image."""
        labels = list(labels)
        split = self._split(image) if labels else None
        return [label for label in labels if split is None or self._split(label) in (None, split)]

    def _tails(self, path: Path) -> Iterator[tuple[str, ...]]:
        """The stem with all of the path's folders, then with fewer, down to none."""
        parents = self._parents(path)
        for start in range(len(parents) + 1):
            yield path.stem, *parents[start:]

    def _single_best(self, path: Path, others: list[Path]) -> Path | None:
        parents = self._parents(path)

        def rank(other: Path) -> tuple[int, int]:
            theirs = self._parents(other)
            return shared(parents[::-1], theirs[::-1]), shared(parents, theirs)

        ranked = sorted(((rank(other), other) for other in others), reverse=True)
        single = ranked and (len(ranked) == 1 or ranked[0][0] > ranked[1][0])
        return ranked[0][1] if single else None
