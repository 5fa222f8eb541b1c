"""Unpacking archives that come from anywhere.

An archive is checked as a whole before a byte is written, unpacked beside its target, and renamed
into place: a bad or broken one leaves nothing behind. Files are written by ourselves, so nothing of
the archive but names and contents reaches the disk: no owner, no mode, no time, no link.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.ingest.archive_entries import COMPRESSIONS, Entry, reading
from yolofast.ingest.safe_paths import checked_files
from yolofast.ingest.tar_entries import RECORD, is_tar, tar_entries
from yolofast.ingest.target_folder import check_target, install_folder
from yolofast.ingest.zip_entries import SIGNATURES, zip_entries

ARCHIVES = "a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz file"
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\x07\x08": "one part of a split zip archive",
}


def extract_archive(archive: Path, target: Path, *, name: str | None = None) -> Path:
    """Unpack a zip or tar into the folder `target`, which must be missing or empty, and return it.

    The kind is told by the contents: zip, tar, and tar compressed by gzip, bzip2 or xz. Messages call
    the archive `name` where it is given: the address that a download came from. When everything in the
    archive lies in one folder, that folder becomes `target`. What macOS adds is left out; archives
    inside the archive stay packed.

    Raises `DatasetNotFoundError` when the archive is missing, and `DataError` when it is no archive, is
    damaged or cut, or has an entry that is absolute, has `..` or a NUL in its path, is a link of either
    kind (also one that stays inside), a special or sparse file or encrypted, has a name too long for a
    file system, occurs twice, is the same as another where case or the form of accents does not count,
    is a file and a folder, or when all is too many, too large or far larger than the archive. `target`
    is then untouched.
    """
    shown = name if name is not None else str(archive)
    check_target(target)
    with _opened(archive, shown) as raw, _entries(raw, shown) as entries, install_folder(target) as work:
        files = checked_files(shown, max(1, archive.stat().st_size), entries, work)
        folders = set[PurePosixPath]()
        for path, entry in tqdm(files.items(), "unpacking", leave=False, unit="file", disable=None):
            if path.parent not in folders:
                (work / path.parent).mkdir(parents=True, exist_ok=True)
                folders.add(path.parent)
            _write(work / path, entry, shown)
    return target


def name_of_archive(file_name: str) -> str:
    """The name of an archive without its ending, for the folder that it is unpacked to."""
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if file_name.lower().endswith(ending) and len(file_name) > len(ending):
            return file_name[: -len(ending)]
    return PurePosixPath(file_name).stem


def _opened(archive: Path, shown: str) -> BinaryIO:
    if not archive.exists():
        raise DatasetNotFoundError(f"{archive}: no such archive.")
    if not archive.is_file():
        raise DataError(f"{shown}: is no file, expected {ARCHIVES}.")
    try:
        return archive.open("rb")
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {error.strerror}.") from None


def _write(place: Path, entry: Entry, archive: str) -> None:
    with open(place, "xb", opener=_open_plain) as unpacked:
        for block in entry.blocks(archive):
            unpacked.write(block)


def _open_plain(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


@contextmanager
def _entries(raw: BinaryIO, archive: str) -> Iterator[Iterator[Entry]]:
    """The entries of an archive of any kind; raises `DataError` when it is none, or damaged."""
    start = raw.read(RECORD)
    raw.seek(0)
    if start.startswith(SIGNATURES):
        yield _guarded(zip_entries(raw), archive)
        return
    if is_tar(start):
        yield _guarded(tar_entries(raw), archive)
        return
    for compression, (signature, opened) in COMPRESSIONS.items():
        if start.startswith(signature):
            with opened(raw) as stream:
                with reading(archive):
                    inside = stream.read(RECORD)
                    stream.seek(0)
                if not is_tar(inside):
                    raise _not_an_archive(
                        archive, f"compressed by {compression}, but what is inside is no tar"
                    )
                yield _guarded(tar_entries(stream), archive)
            return
    others = [what for signature, what in _OTHERS.items() if start.startswith(signature)]
    if start[:512].lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        others.append("a web page; perhaps the address wants you to sign in first")
    if not start:
        others.append("empty")
    raise _not_an_archive(archive, others[0] if others else "no archive of a known kind")


def _not_an_archive(archive: str, got: str) -> DataError:
    return DataError(f"{archive}: is {got}, expected {ARCHIVES}.")


def _guarded(entries: Iterator[Entry], archive: str) -> Iterator[Entry]:
    with reading(archive):
        yield from entries
