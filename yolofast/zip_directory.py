"""Reads the central directory of a zip, one entry at a time.

Python's `zipfile` reads the directory as a whole and makes an object of every entry before it can be asked
how many there are, and lets many entries use the same compressed bytes. The format is PKWARE's APPNOTE 6.3:
the records are in 4.3.12 (directory), 4.3.14 to 4.3.16 (its end, Zip64) and 4.5.3 (Zip64 field).
"""

from __future__ import annotations

import io
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

LOCAL_HEADER = 30
_HEADER = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ZIP64_FIELD = 1
UTF8 = 0x800
"""The flag of names in UTF-8."""
_SHARED = "has entries that share the same bytes, as a decompression bomb does"


class DamagedArchive(Exception):  # noqa: N818 - readers turn it into an error that names the archive
    """The archive breaks the rules of its format, or ends too early."""


class RefusedArchive(Exception):  # noqa: N818 - readers turn it into an error that names the archive
    """The archive keeps the rules, and asks for too much."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """What the directory says about an entry. `offset` is that of its local header, in the file."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int

    @property
    def raw_name(self) -> bytes:
        return self.name.encode(_encoding(self.flags))


def zip_members(raw: BinaryIO) -> Iterator[ZipMember]:
    """The entries in the order of the directory. Raises `DamagedArchive` and `RefusedArchive`.

    That no two entries share bytes is certain at the end only.
    """
    place, end, moved, stated, is_zip64 = _directory(raw)
    first, needed = place, 0
    starts, ends = array("q"), array("q")
    while place < end:
        raw.seek(place)
        header = raw.read(_HEADER.size)
        if len(header) < _HEADER.size or header[:4] != b"PK\x01\x02":
            raise DamagedArchive(f"no entry of the central directory at byte {place}")
        fields = _HEADER.unpack(header)
        name_size, extra_size, comment_size = fields[10:13]
        place += _HEADER.size + name_size + extra_size + comment_size
        if place > end:
            raise DamagedArchive("an entry of the central directory goes beyond its end")
        member = _member(fields, raw.read(name_size), raw.read(extra_size), moved)
        starts.append(member.offset)
        ends.append(member.offset + LOCAL_HEADER + name_size + member.packed)
        needed += ends[-1] - starts[-1]
        if needed > first:
            raise RefusedArchive(_SHARED)
        yield member
    if len(starts) != stated and (is_zip64 or len(starts) % (1 << 16) != stated):
        raise DamagedArchive(f"its directory has {len(starts)} entries and its end states {stated}")
    _check_apart(starts, ends, first)


def contents_offset(raw: BinaryIO, member: ZipMember) -> int:
    """Where the packed bytes of an entry begin. Raises `DamagedArchive` where its local header is not."""
    raw.seek(member.offset)
    header = raw.read(LOCAL_HEADER)
    raw_name = raw.read(int.from_bytes(header[26:28], "little"))
    if header[:4] != b"PK\x03\x04" or raw_name != member.raw_name:
        raise DamagedArchive(f"entry {shown_name(member.name)} is not where the directory says")
    if (header[7] ^ member.flags >> 8) & UTF8 >> 8 and not raw_name.isascii():
        raise DamagedArchive(f"entry {shown_name(member.name)} has two encodings of its name")
    return member.offset + LOCAL_HEADER + len(raw_name) + int.from_bytes(header[28:30], "little")


def shown_name(name: str) -> str:
    """A name from an archive, safe to print: quoted, control characters escaped, the middle shortened."""
    return repr(name if len(name) <= 120 else f"{name[:80]} ... {name[-20:]}")


def _directory(raw: BinaryIO) -> tuple[int, int, int, int, bool]:
    """Where the directory begins and ends, how far offsets are moved, how many entries it has, if Zip64."""
    size = raw.seek(0, io.SEEK_END)
    tail_at = max(0, size - _END.size - (1 << 16))
    raw.seek(tail_at)
    tail = raw.read(size - tail_at)
    found = tail.rfind(b"PK\x05\x06", 0, len(tail) - _END.size + 4)
    if found < 0:
        raise DamagedArchive("it has no central directory at its end")
    end = tail_at + found
    _, disk, first_disk, _, entries, length, offset, _ = _END.unpack_from(tail, found)
    raw.seek(max(0, end - _LOCATOR.size))
    locator = raw.read(_LOCATOR.size)
    is_zip64 = end >= _LOCATOR.size + _END64.size and locator[:4] == b"PK\x06\x07"
    if is_zip64:
        end -= _LOCATOR.size + _END64.size
        raw.seek(end)
        signature, _, _, _, disk, first_disk, _, entries, length, offset = _END64.unpack(
            raw.read(_END64.size)
        )
        if signature != b"PK\x06\x06":
            raise DamagedArchive("its Zip64 end record is missing")
    if disk or first_disk:
        raise RefusedArchive("is one part of a split zip archive")
    if length + offset > end:
        raise DamagedArchive("its central directory begins before the archive does")
    return end - length, end, end - length - offset, entries, is_zip64


def _member(fields: tuple[int, ...], raw_name: bytes, extra: bytes, moved: int) -> ZipMember:
    flags, method = fields[3:5]
    crc, packed, size = fields[7:10]
    disk, offset = fields[13], fields[16]
    if 0xFFFFFFFF in (packed, size, offset):
        large = _zip64_field(extra)
        try:
            size = next(large) if size == 0xFFFFFFFF else size
            packed = next(large) if packed == 0xFFFFFFFF else packed
            offset = next(large) if offset == 0xFFFFFFFF else offset
        except StopIteration:
            raise DamagedArchive("an entry has no Zip64 sizes") from None
    if disk not in (0, 0xFFFF):
        raise RefusedArchive("is one part of a split zip archive")
    if max(size, packed, offset + moved) >= 1 << 62:
        raise DamagedArchive("an entry has an impossible size")
    name = raw_name.decode(_encoding(flags))
    return ZipMember(name, flags, method, crc, packed, size, fields[15] >> 16, offset + moved)


def _zip64_field(extra: bytes) -> Iterator[int]:
    """The numbers in the Zip64 field."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == _ZIP64_FIELD:
            for at in range(4, min(4 + size, len(extra)) - 7, 8):
                yield int.from_bytes(extra[at : at + 8], "little")
            return
        extra = extra[4 + size :]


def _encoding(flags: int) -> str:
    return "utf-8" if flags & UTF8 else "cp437"


def _check_apart(starts: array[int], ends: array[int], directory: int) -> None:
    if not starts:
        return
    begins, closes = np.frombuffer(starts, np.int64), np.frombuffer(ends, np.int64)
    order = np.argsort(begins, kind="stable")
    following = np.append(begins[order][1:], directory)
    if (closes[order] > following).any():
        raise RefusedArchive(_SHARED)
