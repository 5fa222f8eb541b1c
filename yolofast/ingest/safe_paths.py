"""Checks all paths and sizes of an archive before a byte is written.

An untrusted archive can name files outside the target, be a decompression bomb, or unpack to different files
on another file system. It is refused as a whole, and the message names the entry at fault.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from yolofast.errors import DataError
from yolofast.ingest.archive_entries import FILE, FOLDER, ArchiveEntry, shown_name

MAX_BYTES = 1 << 40
MAX_FILES = 10_000_000
MAX_RATIO = 100
"""Unpacked over packed size; images hardly compress, and label text compresses about tenfold."""
MIN_RATIO_BYTES = 64 << 20
"""The ratio is only checked for archives that unpack to more than this."""
MAX_NAME, MAX_PATH = 255, 4095
"""Bytes of a name and of a path that Linux file systems support."""


class _Tree:
    """The paths that an archive creates: files and the folders above them."""

    def __init__(self, archive: str) -> None:
        self.files: dict[PurePosixPath, ArchiveEntry] = {}
        self._archive = archive
        self._paths: dict[str, str] = {}
        self._folders: set[str] = set()

    def add(self, path: PurePosixPath, entry: ArchiveEntry) -> None:
        if entry.kind == FOLDER:
            self._add_folder(path)
            return
        if path in self.files:
            self._refuse(f"contains {shown_name(str(path))} twice")
        self._add_folder(path.parent)
        self._claim(path)
        if str(path) in self._folders:
            self._refuse(f"contains {shown_name(str(path))} as a file and as a folder")
        self.files[path] = entry

    def _add_folder(self, path: PurePosixPath) -> None:
        while path.parts and str(path) not in self._folders:
            if path in self.files:
                self._refuse(f"contains {shown_name(str(path))} as a file and as a folder")
            self._claim(path)
            self._folders.add(str(path))
            path = path.parent

    def _claim(self, path: PurePosixPath) -> None:
        """Refuse a path that equals another one when case or Unicode normalisation is ignored."""
        name = str(path)
        other = self._paths.setdefault(_folded(name), name)
        if other != name:
            self._refuse(
                f"contains {shown_name(other)} and {shown_name(name)}, the same on many file systems"
            )

    def _refuse(self, what: str) -> None:
        raise DataError(f"{self._archive}: {what}: refused, nothing was unpacked.")


def checked_files(
    archive: str, packed: int, entries: Iterable[ArchiveEntry], work: Path
) -> dict[PurePosixPath, ArchiveEntry]:
    """The files of an archive of `packed` bytes by their safe path, in the order of the archive.

    `work` is the folder to unpack to. Files that macOS adds (`__MACOSX`, `._name`, `.DS_Store`) are skipped.
    Raises `DataError` for the first entry that is refused: see `extract_archive`.
    """
    tree, size = _Tree(archive), 0
    for count, entry in enumerate(entries, 1):
        if count > MAX_FILES:
            raise DataError(
                f"{archive}: contains more than {MAX_FILES} entries: refused, nothing was unpacked."
            )
        path = _safe_path(archive, entry, work)
        size += entry.size
        if size > MAX_BYTES or (size > MIN_RATIO_BYTES and size > MAX_RATIO * packed):
            limit = MAX_BYTES if size > MAX_BYTES else MAX_RATIO * packed
            raise DataError(
                f"{archive}: would unpack {packed} bytes to {size} or more, expected at most {limit} "
                f"(and at most {MAX_RATIO} times its size): refused, nothing was unpacked."
            )
        if path.parts and not _is_macos(path):
            tree.add(path, entry)
    if not tree.files:
        raise DataError(f"{archive}: the archive contains no files.")
    return tree.files


def _safe_path(archive: str, entry: ArchiveEntry, work: Path) -> PurePosixPath:
    """The path of an entry below the target; raises `DataError` for a path that could leave it."""
    raw = entry.name.replace("\\", "/")
    path = PurePosixPath(raw)
    problem = _problem(raw, path, entry.kind, len(os.fsencode(work)) + 1)
    if problem is not None:
        raise DataError(
            f"{archive}: entry {shown_name(entry.name)} {problem}: refused, nothing was unpacked."
        )
    return path


def _problem(raw: str, path: PurePosixPath, kind: str, above: int) -> str | None:
    if "\0" in raw:
        return "has a NUL in its name"
    if path.is_absolute() or (raw[1:2] == ":" and raw[0].isalpha()):
        return "is an absolute path"
    if ".." in path.parts:
        return "is a path with '..'"
    if kind not in (FILE, FOLDER):
        return f"is {kind}"
    if not path.parts and kind == FILE:
        return "has an empty name"
    if above + len(raw.encode("utf-8", "surrogateescape")) > MAX_PATH:
        return f"has a path of more than {MAX_PATH} bytes"
    if any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME for part in path.parts):
        return f"has a name of more than {MAX_NAME} bytes"
    return None


def _is_macos(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _folded(name: str) -> str:
    """The same text for all names that a file system may consider equal."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
