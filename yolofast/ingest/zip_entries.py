"""The entries of a zip archive, and what is in them."""

from __future__ import annotations

import functools
import stat
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from yolofast.ingest.archive_entries import (
    ENCRYPTED_FILE,
    FILE,
    FOLDER,
    SPECIAL_FILE,
    SYMBOLIC_LINK,
    ArchiveEntry,
)
from yolofast.ingest.decompression import ZIP_METHODS, decompressed, zip_decoder
from yolofast.zip_directory import DamagedArchive, ZipMember, contents_offset, shown_name, zip_members

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_ENCRYPTED = 0x2041
_PATCH = 0x20


def zip_entries(raw: BinaryIO) -> Iterator[ArchiveEntry]:
    """The entries in the order of the central directory. Raises what `zip_members` raises."""
    for member in zip_members(raw):
        contents = functools.partial(_contents, raw, member)
        yield ArchiveEntry(member.name, _kind(member), member.size, contents)


def _kind(member: ZipMember) -> str:
    mode = stat.S_IFMT(member.mode)
    if mode == stat.S_IFLNK:
        return SYMBOLIC_LINK
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return SPECIAL_FILE
    if member.name.endswith(("/", "\\")) or (mode == stat.S_IFDIR and member.size == 0):
        return FOLDER
    if member.flags & _ENCRYPTED:
        return ENCRYPTED_FILE
    if member.method not in ZIP_METHODS or member.flags & _PATCH:
        return f"compressed by method {member.method}, which is not supported"
    return FILE


def _contents(raw: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    """The unpacked contents; raises `DamagedArchive` at the end where the checksum differs."""
    position = contents_offset(raw, member)
    end = position + member.packed

    def read(size: int) -> bytes:
        nonlocal position
        raw.seek(position)
        data = raw.read(min(size, end - position))
        position += len(data)
        return data

    crc = 0
    for block in decompressed(zip_decoder(member.method, read), read):
        crc = zlib.crc32(block, crc)
        yield block
    if crc != member.crc:
        raise DamagedArchive(f"wrong checksum of entry {shown_name(member.name)}")
