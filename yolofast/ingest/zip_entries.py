"""Reads the entries of a zip archive from its central directory."""

from __future__ import annotations

import functools
import stat
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from yolofast.ingest.archive_entries import (
    ENCRYPTED_FILE,
    FILE,
    FOLDER,
    SPECIAL_FILE,
    SYMBOLIC_LINK,
    ArchiveEntry,
)

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zip_entries(raw: BinaryIO) -> Iterator[ArchiveEntry]:
    """The entries in the order of the central directory. Raises what `zipfile` raises for damage."""
    source = zipfile.ZipFile(raw)
    for info in source.infolist():
        # zipfile cuts `filename` at a NUL; check the original name
        contents = functools.partial(source.open, info)
        yield ArchiveEntry(
            info.orig_filename, _kind(info), info.file_size, cast("Callable[[], BinaryIO]", contents)
        )


def _kind(info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        return SYMBOLIC_LINK
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return SPECIAL_FILE
    if info.orig_filename.endswith(("/", "\\")) or (mode == stat.S_IFDIR and info.file_size == 0):
        return FOLDER
    if info.flag_bits & 1:
        return ENCRYPTED_FILE
    if info.compress_type not in _METHODS:
        return f"compressed by method {info.compress_type}, which is not supported"
    return FILE
