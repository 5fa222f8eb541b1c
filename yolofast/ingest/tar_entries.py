"""The entries of a tar archive, read by our own strict reader of headers.

Python's `tarfile` takes a broken header for the end of the archive, reads extension headers of any
size into memory and follows sizes that go backwards. Here each of these is an error. The format is
POSIX.1-2017 `pax` ("ustar Interchange Format", "pax Extended Header") with GNU tar's long names,
which nearly every writer uses for a path of more than 100 bytes. Such a path is judged like any other.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator

from yolofast.ingest.archive_entries import (
    FILE,
    FOLDER,
    HARD_LINK,
    SPARSE_FILE,
    SPECIAL_FILE,
    SYMBOLIC_LINK,
    DamagedArchive,
    Entry,
    Stream,
)

RECORD = 512
MAX_EXTENSION = 1 << 20
"""Bytes of one extension header: a path has at most 4096."""
MAX_PADDING = 16 << 20
"""Bytes after the end mark: writers fill up to a multiple of their block, usually 10240."""
_OCTAL_LIMIT = 1 << 33
"""Sizes from here on do not fit the header's eleven octal digits."""
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
    """Whether a record of 512 bytes is a tar header: its checksum is right."""
    if len(record) != RECORD or not any(record):
        return False
    stated = record[148:156].strip(b" \0")
    if not stated or stated.strip(b"01234567"):
        return False
    blanked = record[:148] + b" " * 8 + record[156:]
    if int(stated, 8) == sum(blanked):
        return True
    return int(stated, 8) == sum(byte - 256 * (byte > 127) for byte in blanked)  # old writers: signed bytes


def is_tar(start: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar: a header, or the end mark of an empty one."""
    return is_header(start) or start == bytes(RECORD)


def tar_entries(stream: Stream) -> Iterator[Entry]:
    """The entries in their order; `stream` is the tar without its compression, and can seek.

    The contents of an entry are read from `stream` too, so only one at a time. At the end the rest of
    the stream is read, and with it a compression's checksum. Raises `DamagedArchive`, and what reading
    `stream` raises.
    """
    place, extension = 0, dict[str, str]()
    while True:
        stream.seek(place)
        header = stream.read(RECORD)
        if len(header) == RECORD and not any(header):
            break
        _check_header(header, place)
        place += RECORD
        kind = header[156:157]
        size = _size(header, extension)
        if kind in (b"x", b"g", b"L", b"K", b"X"):
            contents = _extension_contents(stream, size)
            extension.update(_extension(kind, contents))
        else:
            entry = _entry(header, extension, stream, place, size)
            yield entry
            size, extension = entry.size, {}
        place += -(-size // RECORD) * RECORD
    if extension:
        raise DamagedArchive("an extension header has no entry")
    _check_end(stream)


def _check_header(header: bytes, place: int) -> None:
    if len(header) < RECORD:
        raise DamagedArchive("it ends before its end mark")
    if not is_header(header):
        raise DamagedArchive(f"no tar header at byte {place}")


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
        raise DamagedArchive("an entry's size is no number")
    return int(digits or b"0", 8)


def _size(header: bytes, extension: dict[str, str]) -> int:
    """The size of what follows a header. A pax size may only say what the header cannot."""
    size = _number(header[124:136])
    if header[156:157] in _WITHOUT_CONTENTS:
        return 0
    if header[156:157] in b"xgLKX" or "size" not in extension:
        return size
    if not extension["size"].isascii() or not extension["size"].isdecimal() or len(extension["size"]) > 19:
        raise DamagedArchive("a pax header's size is no number")
    stated = int(extension["size"])
    if stated != size and stated < _OCTAL_LIMIT:
        raise DamagedArchive(f"a header states {size} bytes and its pax header {stated}")
    return stated


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _entry(header: bytes, extension: dict[str, str], stream: Stream, place: int, size: int) -> Entry:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = _text(header[345:500].split(b"\0", 1)[0])
    if prefix and header[257:263] == b"ustar\0":  # GNU's own format has other things there
        name = f"{prefix}/{name}"
    name = extension.get("path", name)
    kind = _KINDS.get(header[156:157], SPECIAL_FILE)
    if any(key.startswith("GNU.sparse.") for key in extension):
        kind = SPARSE_FILE
    elif kind == FILE and name.endswith("/"):
        kind = FOLDER  # the oldest tars have no other way
    return Entry(name, kind, size, functools.partial(_open, stream, place, size))


class _Contents(io.RawIOBase):
    """The next `size` bytes of a stream."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream, self._left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)


def _open(stream: Stream, place: int, size: int) -> io.RawIOBase:
    stream.seek(place)
    return _Contents(stream, size)


def _extension_contents(stream: Stream, size: int) -> bytes:
    if size > MAX_EXTENSION:
        raise DamagedArchive(f"an extension header of {size} bytes, more than {MAX_EXTENSION}")
    contents = stream.read(size)
    if len(contents) < size:
        raise DamagedArchive("it ends within an extension header")
    return contents


def _extension(kind: bytes, contents: bytes) -> dict[str, str]:
    """What an extension header says about the next entry."""
    if kind == b"L":
        return {"path": _text(contents.removesuffix(b"\0"))}
    if kind == b"K":
        return {}  # the target of a link, and links are refused
    said = _pax(contents)
    if kind != b"g":
        return said
    for key in said:
        if key in ("path", "size", "linkpath") or key.startswith("GNU.sparse."):
            raise DamagedArchive(f"a global pax header sets '{key}' for all entries")
    return {}


def _pax(contents: bytes) -> dict[str, str]:
    """The records `LENGTH KEY=VALUE\\n` of a pax header."""
    said, place = dict[str, str](), 0
    contents = contents.rstrip(b"\0")
    while place < len(contents):
        digits = contents[place : place + 8].split(b" ", 1)[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = contents[place + len(digits) + 1 : place + length - 1].partition(b"=")
        end = place + length
        if not key or not equals or end > len(contents) or contents[end - 1 : end] != b"\n":
            raise DamagedArchive("a pax header that is none")
        said[_text(key)] = _text(value)
        place = end
    return said
