"""File names that depend only on the relative path of each image.

So the prepared dataset is the same on any machine, whatever order the files are read in.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

from yolofast.files import shortened
from yolofast.formats.discover import FileTree
from yolofast.limits import MAX_NAME_BYTES


class PathKeys:
    """Paths relative to the root of a dataset, as strings; files elsewhere keep their own path."""

    def __init__(self, root: Path) -> None:
        self._prefix = os.path.join(root, "")  # noqa: PTH118 - ends with a separator

    def of(self, path: Path) -> str:
        return str(path).removeprefix(self._prefix)

    def outside(self, path: Path | None) -> bool:
        """Whether a file is outside the root; False for None."""
        return path is not None and not str(path).startswith(self._prefix)


class TargetNames:
    """Gives each image a unique file name.

    A name that several images share (in any folder, ignoring case and suffix, because a.jpg and a.png would
    share one label file) gets an ending derived from the path of the image, and is shortened where it would
    be too long for a file system; all others stay.
    """

    def __init__(self, tree: FileTree) -> None:
        self._count = Counter(_parts(image)[0].casefold() for image in tree.images)
        self._taken: set[str] = set()

    def of(self, image: Path, key: str) -> str:
        """The file name of an image with the relative path `key`; call it once per image."""
        own, suffix = _parts(image)
        stem, folded, length = own, own.casefold(), 0
        shared = self._count[folded] > 1
        while (length == 0 and shared) or folded in self._taken:
            length += 8
            ending = f"-{hashlib.sha256(os.fsencode(key)).hexdigest()[:length]}"
            stem = shortened(own, MAX_NAME_BYTES - len(os.fsencode(ending + suffix))) + ending
            folded = stem.casefold()
        self._taken.add(folded)
        return stem + suffix


def _parts(image: Path) -> tuple[str, str]:
    """Stem and suffix, without the cost of `Path`."""
    return os.path.splitext(os.path.basename(str(image)))  # noqa: PTH119, PTH122
