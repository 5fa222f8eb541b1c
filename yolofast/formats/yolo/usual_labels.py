"""The usual rule of YOLO label files: `labels/` for `images/`, else next to the image.

The loader and `prepare` both find labels here, so that they agree.
"""

from __future__ import annotations

import os
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

    def folders(self, folder: str) -> list[str]:
        """The folders in which labels of the images in `folder` may be: a `labels/` that exists, itself."""
        inside = os.path.join(folder, "x")  # noqa: PTH118
        wanted = dict.fromkeys(os.path.dirname(file) for file in label_candidates(inside))  # noqa: PTH120
        *labels, beside = wanted
        found = [path for path in labels if os.path.isdir(path)]  # noqa: PTH112
        if labels and not found:
            other = self._disk.find(labels[0])
            found = [other] if other is not None else []
        return [*found, beside]

    def _pair(self, folder: str) -> dict[str, str]:
        """Stem -> label file, for the images of a folder that get one by key."""
        images = {stem for stem, suffix in _names(folder) if suffix in IMAGE_SUFFIXES}
        files = [(where, _label_files(where)) for where in self.folders(folder)]
        free = images.difference(*(labels for _, labels in files))
        pairs: dict[str, str] = {}
        for where, labels in files:
            orphans = labels.keys() - images
            if orphans and free:
                found = pair_by_key(free, orphans)
                pairs |= {stem: os.path.join(where, labels[label]) for stem, label in found.items()}  # noqa: PTH118
                free.difference_update(found)
        return pairs


def _names(folder: str) -> list[tuple[str, str]]:
    """(stem, suffix in lower case) of everything in a folder; nothing where it cannot be read."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
    return [(stem, suffix.lower()) for stem, suffix in map(os.path.splitext, names)]


def _label_files(folder: str) -> dict[str, str]:
    """Stem -> name of the text files in a folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return {}
    texts = (name for name in names if name[-4:].lower() == ".txt")
    return {name[:-4]: name for name in texts if name.lower() not in CLASS_FILE_NAMES}
