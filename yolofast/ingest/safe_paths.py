"""Checks all paths and sizes of an archive before a byte is written.

An untrusted archive can name files outside the target, be a decompression bomb, or unpack to different files
on another file system. It is refused as a whole, and the message names the entry at fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from yolofast.errors import DataError
from yolofast.ingest.archive_entries import FILE, FOLDER, ArchiveEntry
from yolofast.ingest.archive_tree import ArchiveTree
from yolofast.limits import (
    MAX_ARCHIVE_BYTES,
    MAX_ARCHIVE_DEPTH,
    MAX_ARCHIVE_ENTRIES,
    MAX_ARCHIVE_NAME_BYTES,
    MAX_ARCHIVE_RATIO,
    MAX_NAME_BYTES,
    MIN_RATIO_BYTES,
)
from yolofast.zip_directory import shown_name

MAX_PATH_BYTES = 4095
"""Bytes of a path that Linux file systems support."""


def checked_files(
    archive: str, packed: int, entries: Iterable[ArchiveEntry], work: Path
) -> dict[str, ArchiveEntry]:
    """The files of an archive of `packed` bytes by their safe path, in the order of the archive.

    `work` is the folder to unpack to. Files that macOS adds (`__MACOSX`, `._name`, `.DS_Store`) are skipped.
    Raises `DataError` for the first entry that is refused: see `extract_archive`.
    """
    files, tree = dict[str, ArchiveEntry](), ArchiveTree(archive)
    size = names = 0
    above = len(os.fsencode(work)) + 1
    for count, entry in enumerate(entries, 1):
        if count > MAX_ARCHIVE_ENTRIES:
            raise _refused(
                archive,
                f"contains more than {MAX_ARCHIVE_ENTRIES} entries "
                "(YOLOFAST_MAX_ARCHIVE_ENTRIES raises this)",
            )
        parts = _safe_path(archive, entry, above)
        size += entry.size
        names += len(entry.name)
        if size > MAX_ARCHIVE_BYTES or (size > MIN_RATIO_BYTES and size > MAX_ARCHIVE_RATIO * packed):
            limit = MAX_ARCHIVE_BYTES if size > MAX_ARCHIVE_BYTES else MAX_ARCHIVE_RATIO * packed
            raise _refused(
                archive,
                f"would unpack {packed} bytes to {size} or more, expected at most {limit} "
                f"(and at most {MAX_ARCHIVE_RATIO} times its size)",
            )
        if names > MAX_ARCHIVE_NAME_BYTES:
            raise _refused(archive, f"contains paths of more than {MAX_ARCHIVE_NAME_BYTES} bytes together")
        if not parts or _is_macos(parts):
            continue
        if entry.kind == FOLDER:
            tree.add_folder(parts)
        else:
            tree.add_file(parts)
            files["/".join(parts)] = entry
    if not files:
        raise DataError(f"{archive}: the archive contains no files.")
    return files


def _safe_path(archive: str, entry: ArchiveEntry, above: int) -> list[str]:
    """The parts of the path of an entry below the target, whose own path has `above` bytes.

    Raises `DataError` for a path that could leave it.
    """
    raw = entry.name.replace("\\", "/")
    is_long = above + len(raw.encode("utf-8", "surrogateescape")) > MAX_PATH_BYTES
    parts = [] if is_long else [part for part in raw.split("/") if part not in ("", ".")]
    problem = (
        f"has a path of more than {MAX_PATH_BYTES} bytes" if is_long else _problem(raw, parts, entry.kind)
    )
    if problem is not None:
        raise _refused(archive, f"entry {shown_name(entry.name)} {problem}")
    return parts


def _problem(raw: str, parts: Sequence[str], kind: str) -> str | None:
    if "\0" in raw:
        return "has a NUL in its name"
    if raw.startswith("/") or (raw[1:2] == ":" and raw[0].isalpha()):
        return "is an absolute path"
    if ".." in parts:
        return "is a path with '..'"
    if kind not in (FILE, FOLDER):
        return f"is {kind}"
    if not parts and kind == FILE:
        return "has an empty name"
    if len(parts) > MAX_ARCHIVE_DEPTH + 1:
        return f"is in more than {MAX_ARCHIVE_DEPTH} folders, one in another"
    if any(len(part.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES for part in parts):
        return f"has a name of more than {MAX_NAME_BYTES} bytes"
    return None


def _is_macos(parts: Sequence[str]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


def _refused(archive: str, what: str) -> DataError:
    return DataError(f"{archive}: {what}: refused, nothing was unpacked.")
