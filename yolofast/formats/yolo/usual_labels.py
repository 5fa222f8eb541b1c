"""The usual rule of YOLO label files: `labels/` for `images/`, else next to the image.

The loader and `prepare` both find labels here, so that they agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from yolofast.formats.data_yaml import label_candidates
from yolofast.formats.discover import CLASS_FILE_NAMES
from yolofast.formats.disk_names import DiskNames
from yolofast.formats.name_keys import pair_by_key
from yolofast.images import IMAGE_SUFFIXES


class UsualLabels:
    """Finds label files on disk. Where the exact name is not there, names are compared by key.

    Such a pair has to be the only one: among the images of the folder that have no label file of their exact
    name, and the label files there that have no image. Folders are listed once, and only if needed.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, dict[str, str]] = {}
        self._disk = DiskNames()
        self.matched: dict[str, str] = {}
        """The names of images that got a label by key so far, and of these labels."""
        self._lock = Lock()

    def find(self, image: str | Path) -> str | None:
        """The label file of an image, or None."""
        exact = next((file for file in label_candidates(image) if os.path.isfile(file)), None)  # noqa: PTH113
        return exact or self.find_by_key(image)

    def find_by_key(self, image: str | Path) -> str | None:
        """The label file of an image for which `label_candidates` has none, by the keys of the names."""
        folder, name = os.path.split(image)
        with self._lock:
            if folder not in self._pairs:
                self._pairs[folder] = self._pair(folder)
            label = self._pairs[folder].get(os.path.splitext(name)[0])  # noqa: PTH122
            if label is not None:
                self.matched[name] = os.path.basename(label)  # noqa: PTH119
        return label

    def folders(self, folder: str) -> tuple[list[str], str | None]:
        """The folders in which labels of the images in `folder` may be: `labels/` if it exists, then itself.

        Without a `labels/`, also the folder whose path has the same keys, if there is one.
        """
        inside = os.path.join(folder, "x")  # noqa: PTH118
        *labels, beside = dict.fromkeys(os.path.dirname(f) for f in label_candidates(inside))  # noqa: PTH120
        found = [path for path in labels if os.path.isdir(path)]  # noqa: PTH112
        other = self._disk.find(labels[0]) if labels and not found else None
        return [*found, beside], other

    def _pair(self, folder: str) -> dict[str, str]:
        """Stem -> label file, for the images of a folder that get one by key."""
        usual, other = self.folders(folder)
        here = _listed(folder)
        images = _image_stems(here)
        files = {where: _label_files(here if where == folder else _listed(where)) for where in usual}
        free, pairs = images.difference(*files.values()), dict[str, str]()
        if other is not None:
            labels = _label_files(_listed(other))
            pairs = {stem: os.path.join(other, labels[stem]) for stem in free & labels.keys()}  # noqa: PTH118
            files = {other: labels} | files
        for where, labels in files.items():
            free.difference_update(pairs)
            orphans = labels.keys() - images
            if orphans and free:
                found = pair_by_key(free, orphans)
                pairs |= {stem: os.path.join(where, labels[name]) for stem, name in found.items()}  # noqa: PTH118
        return pairs


def _listed(folder: str) -> list[str]:
    """The names in a folder; none where it cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _image_stems(names: Iterable[str]) -> set[str]:
    parts = (name.rpartition(".") for name in names)
    return {stem for stem, _, suffix in parts if f".{suffix.lower()}" in IMAGE_SUFFIXES}


def _label_files(names: Iterable[str]) -> dict[str, str]:
    """Stem -> name of the label files among names."""
    texts = (name for name in names if name.endswith((".txt", ".TXT")))
    return {name[:-4]: name for name in texts if name.lower() not in CLASS_FILE_NAMES}
