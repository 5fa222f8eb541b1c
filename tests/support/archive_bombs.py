"""Archives that ask for more memory or time than their size is worth: small to make, each of another kind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable

from support.archive_files import END, record

LONG_TEXT = bytes(1 << 20)


def zip_member(
    name: str,
    packed: bytes = b"",
    *,
    size: int = 0,
    crc: int = 0,
    method: int = 0,
    offset: int = 0,
    comment: bytes = b"",
) -> tuple[bytes, bytes]:
    """A local header with its data, and a header of the central directory, both as the arguments say."""
    raw = name.encode()
    fields = struct.pack("<3H2H3I", 20, 0, method, 0, 0, crc, len(packed), size)
    local = b"PK\x03\x04" + fields + struct.pack("<2H", len(raw), 0) + raw + packed
    central = b"PK\x01\x02" + struct.pack("<H", 20) + fields
    central += struct.pack("<5H2I", len(raw), 0, len(comment), 0, 0, 0, offset) + raw + comment
    return local, central


def zip_end(entries: int, size: int, offset: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, entries & 0xFFFF, entries & 0xFFFF, size, offset, 0)


def zip_of(locals_: bytes, centrals: bytes, entries: int) -> bytes:
    return locals_ + centrals + zip_end(entries, len(centrals), len(locals_))


def _lying_zip(method: int, packed: bytes) -> bytes:
    """A zip with one entry that states a size of a thousand bytes."""
    local, central = zip_member("a.txt", packed, size=1000, method=method)
    return zip_of(local, central, 1)


def _overlapping_zip() -> bytes:
    packed = zlib.compress(LONG_TEXT, 9)[2:-4]
    crc, entries = zlib.crc32(LONG_TEXT), 60
    local = zip_member("a.txt", packed, size=len(LONG_TEXT), crc=crc, method=8)[0]
    centrals = b"".join(
        zip_member(f"{i:04}t", packed, size=len(LONG_TEXT), crc=crc, method=8)[1] for i in range(entries)
    )
    return zip_of(local, centrals, entries)


def _zip_of_paths(paths: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in paths:
            archive.writestr(path, b"")
    return buffer.getvalue()


def _zip_of_comments() -> bytes:
    locals_, centrals = b"", []
    for i in range(1500):
        local, central = zip_member(f"{i:04}", offset=len(locals_), comment=b"c" * 65535)
        locals_ += local
        centrals.append(central)
    return zip_of(locals_, b"".join(centrals), 1500)


def _zip_of_many_entries() -> bytes:
    """Half a million entries of 46 bytes, which all have the same local header."""
    local, central = zip_member("a/")
    return local + central * 500_000 + zip_end(0, len(central) * 500_000, len(local))


def _false_zip64() -> bytes:
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 62, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    return b"PK\x03\x04" + bytes(100) + end64 + locator + zip_end(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def _joined(header: bytes, gigabytes: int = 1, finish: bytes = END) -> bytes:
    """A tar.gz of `header` again and again: 4 MB of it are packed once, and joined as gzip allows."""
    part = header * max(1, (4 << 20) // len(header))
    return gzip.compress(part, 6) * (gigabytes * 256) + gzip.compress(finish)


def _pax_of_small_records() -> bytes:
    return record("x", b"6 a=b\n" * 150_000, b"x") + record("x.txt")


def _xz_with_dictionary(code: int) -> bytes:
    """A tar.xz whose block header asks for a dictionary of 4 GB (code 40): xz format 1.2.1, 3.1 and 5.3.1."""
    packed = bytearray(lzma.compress(record("a.txt", b"1") + END, preset=0))
    header_size = (packed[12] + 1) * 4
    packed[12 + 4] = code
    checksum = zlib.crc32(packed[12 : 12 + header_size - 4])
    packed[12 + header_size - 4 : 12 + header_size] = checksum.to_bytes(4, "little")
    return bytes(packed)


def _lzma_zip() -> bytes:
    return _lying_zip(14, b"\x09\x04\x05\x00\x5d\xff\xff\xff\xff" + bytes(1000))


BOMBS: dict[str, Callable[[], bytes]] = {
    "zip: zeros": lambda: zip_of(*_zeros_member(1 << 30), 1),
    "zip: entries that share their bytes": _overlapping_zip,
    "zip: bzip2 that states less": lambda: _lying_zip(12, bz2.compress(LONG_TEXT * 16)),
    "zip: deflate that states less": lambda: _lying_zip(8, zlib.compress(LONG_TEXT * 200, 9)[2:-4]),
    "zip: LZMA with a dictionary of 4 GB": _lzma_zip,
    "zip: a path of 1,900 folders, a thousand times": lambda: _zip_of_paths(
        [f"{i}/" + "a/" * 1900 + "x" for i in range(1000)]
    ),
    "zip: folders by the hundred thousand": lambda: _zip_of_paths(
        [f"{i}/" + "/".join("bcdefghijk" * 6) for i in range(2000)]
    ),
    "zip: comments of 64 kB": _zip_of_comments,
    "zip: entries by the million": _zip_of_many_entries,
    "zip: a Zip64 end with absurd numbers": _false_zip64,
    "tar.gz: empty entries by the million": lambda: _joined(record("a/", b"", b"5")),
    "tar.gz: extension headers in a row": lambda: _joined(
        record("x", b"12 path=aaaa" * 80000 + bytes(64), b"L")
    ),
    "tar.gz: small extension headers in a row": lambda: _joined(record("x", b"", b"K")),
    "tar.gz: global headers in a row": lambda: _joined(record("x", b"11 a=bcdef\n", b"g")),
    "tar.gz: pax records by the million": lambda: _joined(_pax_of_small_records()),
    "tar.gz: extension headers, then entries": lambda: _joined(
        record("x", b"a" * 1_000_000, b"K") + record("a/", b"", b"5")
    ),
    "tar.gz: padding": lambda: gzip.compress(record("a.txt")) + _joined(END),
    "tar.gz: empty streams": lambda: gzip.compress(record("a.txt") + END) + gzip.compress(b"") * 500_000,
    "tar.gz: a name without an end": lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (16 << 20),
    "tar.bz2: empty streams": lambda: bz2.compress(record("a.txt") + END) + bz2.compress(b"") * 500_000,
    "tar.bz2: entries of a megabyte": lambda: b"".join(
        bz2.compress(record(f"{i}.txt", LONG_TEXT), 1) for i in range(70)
    ),
    "tar.xz: empty streams": lambda: lzma.compress(record("a.txt") + END) + lzma.compress(b"") * 100_000,
    "tar.xz: a dictionary of 4 GB": lambda: _xz_with_dictionary(40),
}


def _zeros_member(size: int) -> tuple[bytes, bytes]:
    return zip_member("a.txt", zlib.compress(LONG_TEXT, 9)[2:-4], size=size, method=8)
