"""Reads the entries of a tar archive with a strict parser of our own.

Python's `tarfile` treats a broken header as the end of the archive, reads extension headers of any size into
memory and accepts negative sizes. Here each of these is an error. The format is POSIX.1-2017 `pax` ("ustar
Interchange Format", "pax Extended Header") with GNU tar's long names, which nearly every writer uses for
paths of more than 100 bytes. Such a path is checked like any other.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator

from yolofast.ingest.archive_entries import (
    FILE,
    FOLDER,
    HARD_LINK,
    SPARSE_FILE,
    SPECIAL_FILE,
    SYMBOLIC_LINK,
    ArchiveEntry,
    Stream,
)
from yolofast.limits import MAX_ARCHIVE_RATIO, MAX_PAX_RECORDS, MAX_TAR_EXTENSION, MIN_HEADER_BYTES
from yolofast.zip_directory import DamagedArchive, RefusedArchive

RECORD = 512
_END = bytes(RECORD)
BLOCK = 1 << 20
MAX_PADDING = 16 << 20
"""Bytes after the end mark: writers pad to a multiple of their block size, usually 10240."""
_OCTAL_LIMIT = 1 << 33
"""Sizes from here on do not fit into the eleven octal digits of the header."""
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARD_LINK,
    b"2": SYMBOLIC_LINK,
    b"5": FOLDER,
    b"S": SPARSE_FILE,
}
_WITHOUT_CONTENTS = (b"1", b"2", b"3", b"4", b"5", b"6")


def is_header(record: bytes) -> bool:
    """Whether a record of 512 bytes is a tar header: its checksum is correct."""
    if len(record) != RECORD or record == _END:
        return False
    stated = record[148:156].strip(b" \0")
    if not stated or stated.strip(b"01234567"):
        return False
    total = _byte_sum(record) - sum(record[148:156]) + 8 * ord(" ")  # the checksum counts as spaces
    checksum = int(stated, 8)
    if checksum == total:
        return True
    negative = sum(byte > 127 for byte in record[:148] + record[156:])  # old writers sum signed bytes
    return checksum == total - 256 * negative


def _byte_sum(record: bytes) -> int:
    """The sum of 512 bytes, ten times as fast as `sum`.

    The low half of an Adler-32 is one more than the sum of its bytes, modulo 65521: more than 256 bytes have.
    """
    low, high = zlib.adler32(record[:256]), zlib.adler32(record[256:])
    return (low & 0xFFFF) + (high & 0xFFFF) - 2


def is_tar(start: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar: a header, or the end mark of an empty one."""
    return is_header(start) or start == _END


def tar_entries(stream: Stream, packed: Callable[[], int]) -> Iterator[ArchiveEntry]:
    """The entries in order; `stream` is the uncompressed tar, `packed` tells the packed bytes read so far.

    The contents of an entry are read from the same `stream`, so only one at a time. At the end the rest of
    the stream is read, which verifies the checksum of a compression. Raises `DamagedArchive` and
    `RefusedArchive`, and what reading `stream` raises.
    """
    offset, extension = 0, dict[str, str]()
    headers = extended = 0
    while True:
        stream.seek(offset)
        header = stream.read(RECORD)
        if header == _END:
            break
        _check_header(header, offset)
        offset += RECORD
        kind = header[156:157]
        size = _size(header, extension)
        headers += RECORD
        if headers > MIN_HEADER_BYTES and headers > MAX_ARCHIVE_RATIO * packed():
            raise RefusedArchive(
                f"unpacks {packed()} bytes to {headers} bytes of headers "
                "(YOLOFAST_MIN_HEADER_BYTES allows more)"
            )
        if kind in (b"x", b"g", b"L", b"K", b"X"):
            headers, extended = headers + size, extended + RECORD + size
            if extended > MAX_TAR_EXTENSION:
                raise RefusedArchive(
                    f"has extension headers of {extended} bytes for one entry, expected at most "
                    f"{MAX_TAR_EXTENSION}"
                )
            contents = _extension_contents(stream, size)
            extension.update(_extension(kind, contents))
        else:
            entry = _entry(header, extension, stream, offset, size)
            yield entry
            size, extension, extended = entry.size, {}, 0
        offset += -(-size // RECORD) * RECORD
    if extension:
        raise DamagedArchive("an extension header has no entry")
    _check_end(stream)


def _check_header(header: bytes, offset: int) -> None:
    if len(header) < RECORD:
        raise DamagedArchive("it ends before its end mark")
    if not is_header(header):
        raise DamagedArchive(f"no tar header at byte {offset}")


def _check_end(stream: Stream) -> None:
    padding = 0
    while block := stream.read(1 << 16):
        padding += len(block)
        if any(block):
            raise DamagedArchive("there is more after its end mark, as if two archives were joined")
        if padding > MAX_PADDING:
            raise DamagedArchive(f"more than {MAX_PADDING} empty bytes follow its end mark")


def _number(field: bytes) -> int:
    """A number in octal digits, or in GNU's base 256 for large ones."""
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        if field[0] == 0xFF or value >= 1 << 63:
            raise DamagedArchive("an entry has a negative or impossible size")
        return value
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise DamagedArchive("the size of an entry is not a number")
    return int(digits or b"0", 8)


def _size(header: bytes, extension: dict[str, str]) -> int:
    """The bytes that follow a header. A pax size may only state what the header cannot represent."""
    size = _number(header[124:136])
    if header[156:157] in _WITHOUT_CONTENTS:
        return 0
    if header[156:157] in b"xgLKX" or "size" not in extension:
        return size
    if not extension["size"].isascii() or not extension["size"].isdecimal() or len(extension["size"]) > 19:
        raise DamagedArchive("the size in a pax header is not a number")
    stated = int(extension["size"])
    if stated != size and stated < _OCTAL_LIMIT:
        raise DamagedArchive(f"a header states {size} bytes and its pax header {stated}")
    return stated


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _entry(header: bytes, extension: dict[str, str], stream: Stream, offset: int, size: int) -> ArchiveEntry:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = _text(header[345:500].split(b"\0", 1)[0])
    if prefix and header[257:263] == b"ustar\0":  # GNU's format has other fields there
        name = f"{prefix}/{name}"
    name = extension.get("path", name)
    kind = _KINDS.get(header[156:157], SPECIAL_FILE)
    if extension and any(key.startswith("GNU.sparse.") for key in extension):
        kind = SPARSE_FILE
    elif kind == FILE and name.endswith("/"):
        kind = FOLDER  # the oldest tars mark folders this way
    return ArchiveEntry(name, kind, size, functools.partial(_contents, stream, offset, size))


def _contents(stream: Stream, offset: int, size: int) -> Iterator[bytes]:
    """The `size` bytes at `offset` of a stream, or as many as there are."""
    stream.seek(offset)
    while size and (block := stream.read(min(BLOCK, size))):
        size -= len(block)
        yield block


def _extension_contents(stream: Stream, size: int) -> bytes:
    contents = stream.read(size)
    if len(contents) < size:
        raise DamagedArchive("it ends within an extension header")
    return contents


def _extension(kind: bytes, contents: bytes) -> dict[str, str]:
    """The fields that an extension header sets for the next entry."""
    if kind == b"L":
        return {"path": _text(contents.removesuffix(b"\0"))}
    if kind == b"K":
        return {}  # the target of a link, and links are refused
    fields = _pax(contents)
    if kind != b"g":
        return fields
    for key in fields:
        if key in ("path", "size", "linkpath") or key.startswith("GNU.sparse."):
            raise DamagedArchive(f"a global pax header sets '{key}' for all entries")
    return {}


def _pax(contents: bytes) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header."""
    fields, offset, count = dict[str, str](), 0, 0
    contents = contents.rstrip(b"\0")
    while offset < len(contents):
        count += 1
        if count > MAX_PAX_RECORDS:
            raise RefusedArchive(f"has a pax header of more than {MAX_PAX_RECORDS} records")
        digits = contents[offset : offset + 8].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = contents[offset + len(digits) + 1 : offset + length - 1].partition(b"=")
        end = offset + length
        if not key or not equals or end > len(contents) or contents[end - 1 : end] != b"\n":
            raise DamagedArchive("an invalid pax header")
        fields[_text(key)] = _text(value)
        offset = end
    return fields
