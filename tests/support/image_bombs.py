"""Image files of a few kilobytes that claim, or decode to, very many pixels; made without decoding anything."""

# ruff: noqa: E501 - a bomb a line

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

FLAT_ROWS = 64


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deflated(row: int, rows: int) -> bytes:
    """zlib's stream of `rows` rows of `row` zeros, made a few rows at a time."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(row * FLAT_ROWS)) for _ in range(rows // FLAT_ROWS)]
    return b"".join([*parts, packer.compress(bytes(row * (rows % FLAT_ROWS))), packer.flush()])


def png(
    width: int, height: int, bits: int = 8, colour: int = 2, more: bytes = b"", *, pixels: bool = True
) -> bytes:
    """A PNG of zeros; `more` stands before its pixels. Colour 0 is gray, 2 RGB, 6 RGBA."""
    samples = {0: 1, 2: 3, 6: 4}[colour]
    row = 1 + (width * bits * samples + 7) // 8
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = deflated(row, height) if pixels else zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(width: int, height: int, bits: int = 24, coding: int = 0, data: bytes = b"") -> bytes:
    """A BMP with a header of 40 bytes, a palette of two for `bits` up to 8, and any pixels."""
    palette = bytes(4) * 2 if bits <= 8 else b""
    start = 54 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, coding, 0, 0, 0, 2 if palette else 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + palette + data


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def lossless(width: int, height: int) -> bytes:
    """The VP8L chunk of a black picture: five codes of one symbol each, so no bit for any pixel."""
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    codes = 0
    at = 32 + 3  # no transform, no colour cache, no meta codes
    for symbol in (0, 0, 0, 0, 0):
        codes |= (1 | symbol << 3) << at  # simple, one symbol, of one bit
        at += 4
    return b"\x2f" + (bits | codes).to_bytes(16, "little")


def vp8x(width: int, height: int, flags: int = 0) -> bytes:
    """The VP8X chunk: the canvas."""
    return bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def animation(width: int, height: int, frames: int) -> bytes:
    """An animated WebP of small black frames on a large canvas."""
    picture = lossless(16, 16)
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4)
    frame += b"VP8L" + struct.pack("<I", len(picture)) + picture + bytes(len(picture) % 2)
    return webp((b"VP8X", vp8x(width, height, 2)), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * frames)


def tiff(
    width: int,
    height: int,
    tags: dict[int, tuple[int, int]] | None = None,
    data: bytes = b"",
    *,
    order: int = 1,
) -> bytes:
    """A gray TIFF, one strip; `tags` are added or replace: tag -> (type 3 short or 4 long, value)."""
    own = {
        256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, 8), 277: (3, 1),
        278: (4, height), 279: (4, len(data)),
    }  # fmt: skip
    entries = {tag: value for tag, value in (own | (tags or {})).items() if value[0]}
    packed = b"".join(
        struct.pack("<HHI", tag, kind, 1)
        + (struct.pack("<HH", value, 0) if kind == 3 else struct.pack("<I", value))
        for tag, (kind, value) in sorted(entries.items(), reverse=order < 0)
    )
    directory = struct.pack("<H", len(entries)) + packed
    at = 8 + len(data) + len(data) % 2
    return b"II*\0" + struct.pack("<I", at) + data + bytes(len(data) % 2) + directory + struct.pack("<I", at)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    # above the limit of pixels
    "png of 32,000 x 32,000": (".png", lambda: png(32000, 32000, 1, 0)),
    "png header of 2^31 x 2^31": (".png", lambda: png(2**31 - 1, 2**31 - 1, 16, 6, pixels=False)),
    "bmp of 30,000 x 30,000": (".bmp", lambda: bmp(30000, 30000, 8, 1, b"\0\1")),
    "bmp of -2^31 rows": (".bmp", lambda: bmp(60000, -(2**31), 24, 0, bytes(1000))),
    "tiff of 60,000 x 60,000": (".tif", lambda: tiff(60000, 60000)),
    "tiff, tags backwards": (".tif", lambda: tiff(60000, 60000, order=-1)),
    "webp canvas of 2^24 x 2^24": (".webp", lambda: webp((b"VP8X", vp8x(2**24, 2**24)), (b"VP8L", lossless(9, 9)))),
    # far more pixels than so small a file can hold
    "png of 16,000 x 16,000": (".png", lambda: png(16000, 16000, 1, 0)),
    "png of rgb 8,000 x 8,000": (".png", lambda: png(8000, 8000)),
    "png, 16 bits, four channels": (".png", lambda: png(6000, 6000, 16, 6)),
    "png, header only": (".png", lambda: png(16000, 16000, pixels=False)),
    "bmp, nothing but its end": (".bmp", lambda: bmp(16000, 16000, 8, 1, b"\0\1")),
    "bmp, uncompressed, no pixels": (".bmp", lambda: bmp(16000, 16000)),
    "webp, no bit a pixel": (".webp", lambda: webp((b"VP8L", lossless(16383, 16383)))),
    "webp animation": (".webp", lambda: animation(16000, 16000, 3)),
    "tiff, deflated": (".tif", lambda: tiff(16000, 16000, {259: (3, 8)}, deflated(16000, 16000))),
    "tiff, no strip": (".tif", lambda: tiff(16000, 16000, {273: (0, 0), 279: (0, 0)})),
    "tiff of one huge tile": (
        ".tif",
        lambda: tiff(16, 16, {273: (0, 0), 279: (0, 0), 278: (0, 0), 322: (4, 65520), 323: (4, 65520), 324: (4, 8), 325: (4, 9)}, bytes(9)),
    ),
    "tiff of a huge strip": (".tif", lambda: tiff(32768, 16, {278: (4, 2**32 - 1), 259: (3, 8)}, deflated(32768, 16))),
    "tiff of fax rows": (".tif", lambda: tiff(16384, 16384, {258: (3, 1), 259: (3, 4)}, b"\xff" * 2048)),
}  # fmt: skip
"""Kind -> suffix and content."""


def frames(count: int) -> bytes:
    """The chunks of an animated PNG that announce `count` frames."""
    parts = [chunk(b"acTL", struct.pack(">II", count, 0))]
    parts += [
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 64, 64, 0, 0, 1, 1, 0, 0)) for number in range(count)
    ]
    return b"".join(parts)


NOTES: dict[str, Callable[[], bytes]] = {
    "text that inflates to 300 MB": lambda: chunk(b"zTXt", b"k\0\0" + deflated(1 << 20, 300)),
    "text of any language that inflates to 300 MB": lambda: chunk(b"iTXt", b"k\0\1\0\0\0" + deflated(1 << 20, 300)),
    "a profile that inflates to 300 MB": lambda: chunk(b"iCCP", b"p\0\0" + deflated(1 << 20, 300)),
    "a million texts": lambda: chunk(b"tEXt", b"k\0v") * 1_000_000,
    "a text that states 2 GB": lambda: struct.pack(">I", 2**31 - 1) + b"tEXt",
    "200,000 frames": lambda: frames(200_000),
}  # fmt: skip
"""Kind -> chunks that stand in front of the pixels of a PNG of 64 x 64, which may be read or refused."""
