"""JPEGs that ask for far more work or memory than their bytes are worth."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from support.jpeg_files import APP1, COM, DHT, DQT, SOF0, SOS, ceil_div, segment

SOF2, SOF10 = 0xC2, 0xCA  # progressive with Huffman codes, with arithmetic ones
LONGEST_RUN = 32767  # blocks that one code can end
END = b"\xff\xd9"


def header(marker: int, height: int, width: int, sampling: Sequence[int] = (0x11,)) -> bytes:
    """Up to the first scan. The one DC code says "no difference", the one AC code ends a run of blocks."""
    frame = struct.pack(">BHHB", 8, height, width, len(sampling))
    frame += b"".join(bytes([i, factors, 0]) for i, factors in enumerate(sampling))
    ac = 0xE0 if marker == SOF2 else 0x00
    codes = b"".join(
        bytes([kind << 4, 1]) + bytes(15) + bytes([symbol]) for kind, symbol in ((0, 0), (1, ac))
    )
    return b"\xff\xd8" + segment(DQT, b"\0" + b"\1" * 64) + segment(marker, frame) + segment(DHT, codes)


def scan(components: Sequence[int], first: int, last: int, bits: int = 0) -> bytes:
    named = b"".join(bytes([i, 0]) for i in components)
    return segment(SOS, bytes([len(components)]) + named + bytes([first, last, bits]))


def blocks_of(height: int, width: int) -> int:
    return ceil_div(height, 8) * ceil_div(width, 8)


def runs(blocks: int) -> bytes:
    """The entropy-coded bytes of a scan in which no block has a coefficient."""
    text = ("0" + "1" * 14) * ceil_div(blocks, LONGEST_RUN)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")


def flat(height: int, width: int, marker: int = SOF0, components: int = 1) -> bytes:
    """One colour, in the fewest bits: a sequential file of two a block, a progressive one of one."""
    blocks, names = blocks_of(height, width) * components, range(components)
    head = header(marker, height, width, (0x11,) * components)
    if marker == SOF0:
        return head + scan(names, 0, 63) + bytes(ceil_div(blocks, 4)) + END
    empty = runs(blocks_of(height, width))
    rest = b"".join(scan([i], 1, 63) + empty for i in names)
    return head + scan(names, 0, 0) + bytes(ceil_div(blocks, 8)) + rest + END


def many_scans(height: int, width: int, scans: int, *, refining: bool = False) -> bytes:
    """Progressive, with empty scans that each walk over all blocks, or look at each coefficient again."""
    blocks = blocks_of(height, width)
    more = scan([0], 1, 63, 1 if refining else 0) + runs(blocks)
    again = scan([0], 1, 63, 0x10 if refining else 0) + runs(blocks)
    body = scan([0], 0, 0) + bytes(ceil_div(blocks, 8)) + more + again * (scans - 2)
    return header(SOF2, height, width) + body + END


def sequential_scans(height: int, width: int, scans: int) -> bytes:
    """One component of three, scanned again and again with no bits at all: only salvage goes on."""
    return header(SOF0, height, width, (0x11,) * 3) + scan([0], 0, 63) * scans + END


def arithmetic(height: int, width: int) -> bytes:
    """Progressive with arithmetic codes, which take hardly a bit where nothing happens."""
    rest = b"".join(scan([i], 1, 63) + bytes(4) for i in range(3))
    return header(SOF10, height, width, (0x11,) * 3) + scan(range(3), 0, 0) + bytes(4) + rest + END


def with_notes(data: bytes, count: int, payload: bytes = b"", marker: int = COM) -> bytes:
    """With segments that say nothing in front of all others."""
    return data[:2] + segment(marker, payload) * count + data[2:]


def with_notes_between_scans(count: int) -> bytes:
    """A small progressive file with segments between its scans."""
    data = many_scans(64, 64, 4)
    at = data.rindex(b"\xff\xda")
    return data[:at] + segment(APP1, b"") * count + data[at:]


def filled(data: bytes, count: int, byte: int = 0xFF) -> bytes:
    """With fill bytes, or others that are no marker, in front of the second segment."""
    at = 4 + int.from_bytes(data[4:6], "big")
    return data[:at] + bytes([byte]) * count + data[at:]


def small_bombs() -> list[bytes]:
    """The kinds in a size that a fuzz target takes."""
    return [
        flat(64, 64),
        flat(64, 72, SOF2, 3),
        many_scans(40, 40, 6),
        many_scans(40, 40, 6, refining=True),
        sequential_scans(40, 40, 5),
        arithmetic(40, 40),
        with_notes(flat(16, 16), 20),
        with_notes_between_scans(20),
        filled(flat(16, 16), 20),
    ]
