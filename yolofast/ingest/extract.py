"""Unpacks archives from untrusted sources.

An archive is checked as a whole before a byte is written, unpacked next to its target, and renamed: a
malicious or damaged one leaves nothing behind. Only the names and contents of files reach the disk: no
owners, modes, times or links.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.ingest.archive_entries import ArchiveEntry, reading
from yolofast.ingest.decompression import BLOCK, COMPRESSIONS, DecompressedFile
from yolofast.ingest.safe_paths import checked_files
from yolofast.ingest.tar_entries import RECORD, is_tar, tar_entries
from yolofast.ingest.target_folder import begin_target, check_space, install_folder
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

    The format is detected from the contents: zip, tar, and tar compressed with gzip, bzip2 or xz. Messages
    call the archive `name` if given (the URL of a download). When the archive contains a single folder, that
    folder becomes `target`. Files that macOS adds are skipped; archives inside the archive stay packed.

    Raises `DatasetNotFoundError` when the archive is missing, and `DataError` when it is not an archive, is
    damaged or truncated, or has an entry that is absolute, has `..` or NUL in its path, is a hard or symbolic
    link (even one that stays inside), a special or sparse file or encrypted, has a name too long for a file
    system, occurs twice, equals another one on file systems that ignore case or Unicode normalisation, is
    both a file and a folder, or when the archive has too many entries, is too large or expands too much.
    `target` is then untouched, as it is when the disk has no space for the files.
    """
    shown = name if name is not None else str(archive)
    begin_target(target)
    with _open_archive(archive, shown) as raw, install_folder(target) as work:
        packed = max(1, archive.stat().st_size)
        files = checked_files(shown, packed, _entries(raw, shown), work)
        check_space(target, sum(entry.size for entry in files.values()), "unpack")
        folders = set[str]()
        for path, entry in tqdm(files.items(), "unpacking", leave=False, unit="file", disable=None):
            folder = path.rpartition("/")[0]
            if folder not in folders:
                (work / folder).mkdir(parents=True, exist_ok=True)
                folders.add(folder)
            _write(work / path, entry, shown)
    return target


def name_of_archive(file_name: str) -> str:
    """The file name of an archive without its suffix, as the name of the folder to unpack to."""
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if file_name.lower().endswith(ending) and len(file_name) > len(ending):
            return file_name[: -len(ending)]
    return PurePosixPath(file_name).stem


def _open_archive(archive: Path, shown: str) -> BinaryIO:
    if not archive.exists():
        raise DatasetNotFoundError(f"{archive}: no such archive. Give the path of {ARCHIVES}.")
    if not archive.is_file():
        raise DataError(f"{shown}: is not a file, expected {ARCHIVES}.")
    try:
        return archive.open("rb")
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {error.strerror}.") from None


def _write(path: Path, entry: ArchiveEntry, archive: str) -> None:
    with open(path, "xb", opener=_open_new) as unpacked:
        for block in entry.blocks(archive):
            unpacked.write(block)


def _open_new(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def what_it_is(start: bytes) -> str | None:
    """What a file that begins with these (at least 512) bytes is, unless it can be an archive."""
    signatures = (*SIGNATURES, *(signature for signature, _ in COMPRESSIONS.values()))
    if start.startswith(signatures) or is_tar(start[:RECORD]):
        return None
    for signature, what in _OTHERS.items():
        if start.startswith(signature):
            return what
    if start[:512].lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "a web page; perhaps the URL requires you to sign in first"
    return "not an archive of a supported format" if start else "empty"


def _entries(raw: BinaryIO, archive: str) -> Iterator[ArchiveEntry]:
    """The entries of an archive of any format; raises `DataError` when it is not an archive, or damaged."""
    start = raw.read(RECORD)
    raw.seek(0)
    other = what_it_is(start)
    if other is not None:
        raise not_an_archive(archive, other)
    with reading(archive):
        if start.startswith(SIGNATURES):
            yield from zip_entries(raw)
            return
        if is_tar(start):
            yield from tar_entries(raw, raw.tell)
            return
        for compression, (signature, decoder) in COMPRESSIONS.items():
            if start.startswith(signature):
                stream = io.BufferedReader(DecompressedFile(raw, decoder), BLOCK)
                if not is_tar(stream.read(RECORD)):
                    raise not_an_archive(archive, f"compressed by {compression}, but does not contain a tar")
                yield from tar_entries(stream, raw.tell)


def not_an_archive(archive: str, got: str) -> DataError:
    return DataError(f"{archive}: is {got}, expected {ARCHIVES}.")
