"""The files and folders that an archive creates, in memory that only grows with the names in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NoReturn

from yolofast.errors import DataError
from yolofast.limits import MAX_ARCHIVE_FOLDERS
from yolofast.zip_directory import shown_name


class _Folder:
    """A folder by its name, and what is in it by folded name: a folder, or the name of a file."""

    __slots__ = ("inside", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside: dict[str, _Folder | str] = {}


class ArchiveTree:
    """Refuses an entry that cannot stand beside those before it.

    It has the path of another one, or one that is equal when case or Unicode normalisation is ignored, or it
    is a file where another one has a folder.
    """

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._root = _Folder("")
        self._folders = 0

    def add_file(self, parts: Sequence[str]) -> None:
        """Add a file by the parts of its path. Raises `DataError`."""
        inside, name = self.add_folder(parts[:-1]).inside, parts[-1]
        key = folded(name)
        other = inside.get(key)
        if other is None:
            inside[key] = name
        else:
            self._refuse_pair(parts, other, is_file=True)

    def add_folder(self, parts: Sequence[str]) -> _Folder:
        """Add a folder and those above it, as far as they are missing. Raises `DataError`."""
        folder = self._root
        for depth, name in enumerate(parts, 1):
            key = folded(name)
            inside = folder.inside.get(key)
            if inside is None:
                inside = folder.inside[key] = self._new_folder(name)
            elif isinstance(inside, str) or inside.name != name:
                self._refuse_pair(parts[:depth], inside, is_file=False)
            folder = inside
        return folder

    def _new_folder(self, name: str) -> _Folder:
        self._folders += 1
        if self._folders > MAX_ARCHIVE_FOLDERS:
            self._refuse(
                f"contains more than {MAX_ARCHIVE_FOLDERS} folders (YOLOFAST_MAX_ARCHIVE_FOLDERS raises this)"
            )
        return _Folder(name)

    def _refuse_pair(self, parts: Sequence[str], other: _Folder | str, *, is_file: bool) -> NoReturn:
        name = other if isinstance(other, str) else other.name
        path = "/".join(parts)
        if name != parts[-1]:
            before = "/".join([*parts[:-1], name])
            self._refuse(
                f"contains {shown_name(before)} and {shown_name(path)}, the same on many file systems"
            )
        if is_file and isinstance(other, str):
            self._refuse(f"contains {shown_name(path)} twice")
        self._refuse(f"contains {shown_name(path)} as a file and as a folder")

    def _refuse(self, what: str) -> NoReturn:
        raise DataError(f"{self._archive}: {what}: refused, nothing was unpacked.")


def folded(name: str) -> str:
    """The same text for all names that a file system may consider equal."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
