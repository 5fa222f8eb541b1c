"""Names and order that depend on nothing but a file's relative path.

So the prepared dataset is the same whatever order the files are read in, on any machine.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from yolofast.formats.discover import FileTree

MAX_NAME_BYTES = 255
"""The longest file name that common file systems take."""


def path_key(tree: FileTree, image: Path) -> bytes:
    """The image's path from the dataset's root, as bytes (names need not be valid UTF-8)."""
    return os.fsencode(tree.relative(image))


def split_order(keys: Iterable[bytes], seed: int) -> list[bytes]:
    """`keys` in a random-looking order that depends only on the seed and each key."""
    return sorted(keys, key=lambda key: (hashlib.sha256(b"%d:" % seed + key).digest(), key))


def _shortened(stem: str, size: int) -> str:
    """As many of the first characters as fit into `size` bytes."""
    while len(os.fsencode(stem)) > size:
        stem = stem[:-1]
    return stem


class TargetNames:
    """Gives each image a file name of its own.

    A name that several images share (in any folder, in any case, with any suffix, because a.jpg and a.png
    would share one label file) gets a suffix made from the image's path, and loses its last characters
    where it would be too long for a file system; all others stay.
    """

    def __init__(self, tree: FileTree) -> None:
        self._tree = tree
        self._count = Counter(image.stem.casefold() for image in tree.images)
        self._taken: set[str] = set()

    def of(self, image: Path) -> str:
        """The file name of an image; call it once for each."""
        stem = image.stem
        digest = hashlib.sha256(path_key(self._tree, image)).hexdigest()
        length = 0
        while (length == 0 and self._count[image.stem.casefold()] > 1) or stem.casefold() in self._taken:
            length += 8
            ending = f"-{digest[:length]}"
            stem = _shortened(image.stem, MAX_NAME_BYTES - len(os.fsencode(ending + image.suffix))) + ending
        self._taken.add(stem.casefold())
        return stem + image.suffix
