"""Where the folders, lists and images are that a data.yaml and its lists name.

As written first. Then as other systems write it: with backslashes, in another case or Unicode form, or with
folders of another machine or working directory in front (`data/images/train` in a data.yaml inside `data/`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from yolofast.formats.disk_names import DiskNames
from yolofast.formats.name_keys import matched_findings
from yolofast.formats.splits import split_of
from yolofast.formats.text_lines import Unfound, list_lines
from yolofast.types import Finding

_MOST_LEADING = 32
"""So many folders of another machine are tried without, and no more: each costs a look at the disk."""
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?/")


def resolve_entry(entry: str, roots: Sequence[Path]) -> Path | None:
    """The location of an entry of data.yaml below the first root that has it; None where none has.

    Exports write `../train` for `train`. Other leading folders are only left out of an absolute path, or
    where a word for the split remains: `valid/images` never becomes `images`.
    """
    for form in dict.fromkeys((entry, entry.replace("\\", "/"))):
        for root in roots:
            for tail in [form, form[3:]] if form.startswith("../") else [form]:
                if _existing(os.fspath(root / tail)):
                    return Path(os.path.normpath(root / tail))
    split, disk = split_of(PurePosixPath(form)), DiskNames()
    shorter = _without_leading(form) if split is not None or _ABSOLUTE.match(form) else ()
    tails = [tail for tail in shorter if split_of(PurePosixPath(tail)) == split]
    for find in (_existing, disk.find):
        for tail in [form, *tails]:
            for root in roots:
                found = find(os.path.normpath(root / tail))
                if found is not None:
                    return Path(found)
    return None


def read_image_list(list_file: Path, root: Path) -> tuple[list[str], tuple[Finding, ...]]:
    """The paths of the images in a .txt list, and findings about those that are not where they are listed.

    A path is absolute, or relative to the folder of the list or to the dataset's `root`. A backslash counts
    as a slash unless an image has it in its name. An image that is nowhere is returned as it is listed.
    Raises `DataError` for a list that cannot be read, or that names no image that is here.
    """
    search = _ListedImages(dict.fromkeys((os.fspath(list_file.parent), os.fspath(root))))
    unfound, images = Unfound(list_file), []
    for _, line in list_lines(list_file):
        path, found = search.find(line)
        unfound.saw(line, found=found)
        images.append(path)
    return images, search.findings(list_file)


class _ListedImages:
    """Finds the images of a list below some folders."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders, self._disk = tuple(folders), DiskNames()
        self._shortened: list[str] = []
        self._matched: dict[str, str] = {}

    def find(self, line: str) -> tuple[str, bool]:
        """The path of an image, and whether it is there; else the path that the list states."""
        path = self._below(line, _existing)
        if path is not None:
            return path, True
        text = line.replace("\\", "/")
        split = split_of(PurePosixPath(text).parent)
        tails = [tail for tail in _without_leading(text) if split_of(PurePosixPath(tail).parent) == split]
        for tail in [text, *tails]:
            path = self._below(tail, _existing)
            if path is not None:
                if tail != text:
                    self._shortened.append(line)
                return path, True
        for tail in [text, *tails]:
            path = self._below(tail, self._disk.find)
            if path is not None:
                self._matched[line] = os.path.basename(path)  # noqa: PTH119
                return path, True
        return os.path.normpath(os.path.join(self._folders[0], text)), False  # noqa: PTH118

    def findings(self, list_file: Path) -> tuple[Finding, ...]:
        notes = matched_findings(self._matched, list_file)
        if self._shortened:
            message = (
                f"{len(self._shortened)} images are listed with leading folders that are not here, such as "
                f"'{self._shortened[0]}': found without them"
            )
            count = len(self._shortened)
            notes += (Finding("info", "names-matched", message, str(list_file), count=count),)
        return notes

    def _below(self, tail: str, find: Callable[[str], str | None]) -> str | None:
        paths = (os.path.normpath(os.path.join(folder, tail)) for folder in self._folders)  # noqa: PTH118
        return next(filter(None, map(find, paths)), None)


def _existing(path: str) -> str | None:
    """A path that exists. Not `Path.exists`, which raises for a name that is too long."""
    return path if os.path.exists(path) else None  # noqa: PTH110


def _without_leading(path: str) -> Iterator[str]:
    """A path without its first folder, without its first two, and so on, down to its last part."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    begin = 0 if path[:1] in ("/", ".") else 1
    return ("/".join(parts[start:]) for start in range(begin, len(parts))[:_MOST_LEADING])
