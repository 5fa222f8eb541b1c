"""A checksum inside the bytes that it covers: damage by a disk or a copy is noticed when they are read.

The writer leaves room for it in the text of its format, `UNSEALED`, and `sealed` fills it in, once everything
else is there. CRC-32 notices every change of up to 32 bits in a row. It is no signature: whoever edits a file
on purpose can seal it again.
"""

from __future__ import annotations

import zlib
from pathlib import Path

_MARK = b"yolofast-crc32-"
_DIGITS = 8
_BLOCK = 1 << 20
UNSEALED = _MARK.decode() + "0" * _DIGITS
"""The room for a checksum. Nothing like it may come behind it in the same bytes."""


def sealed(data: bytes | bytearray) -> bytearray:
    """`data` with its checksum in its last `UNSEALED`."""
    filled = bytearray(data)
    begin = filled.rindex(UNSEALED.encode()) + len(_MARK)
    filled[begin : begin + _DIGITS] = _checksum(filled, begin)
    return filled


def seal_file(path: Path, behind: bytes) -> None:
    """`sealed` for a large file that ends in `UNSEALED` and the bytes `behind` it, in bounded memory."""
    with path.open("r+b") as file:
        begin = file.seek(-len(behind) - _DIGITS, 2)
        left, total = begin, 0
        file.seek(0)
        while left:
            block = file.read(min(left, _BLOCK))
            total, left = zlib.crc32(block, total), left - len(block)
        file.seek(begin)
        file.write(b"%08x" % zlib.crc32(behind, total))


def is_intact(data: bytes | bytearray) -> bool | None:
    """Whether `data` is as it was when it was sealed; None for data without a seal."""
    at = data.rfind(_MARK)
    if at < 0:
        return None
    begin = at + len(_MARK)
    return data[begin : begin + _DIGITS] == _checksum(data, begin)


def _checksum(data: bytes | bytearray, begin: int) -> bytes:
    """Of all but the digits at `begin`."""
    view = memoryview(data)
    return b"%08x" % zlib.crc32(view[begin + _DIGITS :], zlib.crc32(view[:begin]))
