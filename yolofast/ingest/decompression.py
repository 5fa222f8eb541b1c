"""Decompresses streams from untrusted sources in bounded memory.

The classes of the standard library have gaps: `GzipFile` reads a name in a header byte by byte,
`LZMAFile` takes any amount of memory for its dictionary, and `zipfile` decompresses bzip2 and LZMA without a
limit on what comes out at once. Here all of them go through one loop that asks for a block at a time.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from yolofast.limits import MAX_DICTIONARY_BYTES, MAX_EMPTY_STREAMS
from yolofast.zip_directory import DamagedArchive, RefusedArchive

BLOCK = 1 << 18
_READ = 1 << 16


class Decoder(Protocol):
    """A decompressor of one stream, as `bz2.BZ2Decompressor` is one."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Inflate:
    """zlib's decompressor as a `Decoder`. `wbits` is 31 for gzip and -15 for the raw data in a zip."""

    needs_input = True

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        block = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not self._stream.unconsumed_tail
        return block


class Stored:
    """What is not compressed, as a `Decoder`; it never ends by itself."""

    eof, needs_input, unused_data = False, True, b""

    def decompress(self, data: bytes, _: int) -> bytes:
        return data


def xz_decoder() -> Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY_BYTES)


def lzma_decoder(properties: bytes) -> Decoder:
    """The decoder of LZMA data in a zip; `properties` are five bytes: lc, lp and pb, the dictionary size."""
    size = int.from_bytes(properties[1:5], "little")
    if size > MAX_DICTIONARY_BYTES:
        raise RefusedArchive(dictionary_refusal())
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": lc, "lp": lp, "pb": pb}]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)


def dictionary_refusal() -> str:
    return f"needs more than {MAX_DICTIONARY_BYTES >> 20} MB of memory to decompress"


def decompressed(decoder: Decoder, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What one stream contains, in blocks of at most 256 kB; `read` returns the next compressed bytes.

    Ends early where the input ends. Raises what the decoder raises.
    """
    while not decoder.eof:
        data = read(_READ) if decoder.needs_input else b""
        block = decoder.decompress(data, BLOCK)
        if block:
            yield block
        elif not data and decoder.needs_input:
            return


class DecompressedFile(io.RawIOBase):
    """The contents of a file of one or several compressed streams, seekable.

    Seeking reads on, or starts over. Zero bytes after a stream are skipped. Raises `EOFError` where the last
    stream is cut, and what the decoder raises.
    """

    def __init__(self, raw: BinaryIO, start: Callable[[], Decoder]) -> None:
        self._raw, self._start = raw, start
        self._rewind()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence != io.SEEK_SET:
            raise io.UnsupportedOperation("seek from the end")
        if offset < self._position:
            self._rewind()
        while self._position < offset and self._next(min(BLOCK, offset - self._position)):
            pass
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._next(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def _rewind(self) -> None:
        self._raw.seek(0)
        self._decoder = self._start()
        self._position, self._streams = 0, 1

    def _next(self, size: int) -> bytes:
        """At least one and at most `size` bytes; nothing at the end."""
        while True:
            rest = b""
            if self._decoder.eof:
                rest = self._next_stream()
                if not rest:
                    return b""
            data = rest or (self._raw.read(_READ) if self._decoder.needs_input else b"")
            try:
                block = self._decoder.decompress(data, size)
            except lzma.LZMAError as error:
                if "limit" in str(error):
                    raise RefusedArchive(dictionary_refusal()) from None
                raise
            if block:
                self._position += len(block)
                return block
            if not data and self._decoder.needs_input and not self._decoder.eof:
                raise EOFError("it ends within compressed data")

    def _next_stream(self) -> bytes:
        """The first bytes of the next stream, for which a new decoder is ready; nothing at the end."""
        rest = self._decoder.unused_data.lstrip(b"\0")
        while not rest:
            data = self._raw.read(_READ)
            if not data:
                return b""
            rest = data.lstrip(b"\0")
        self._streams += 1
        if self._streams > MAX_EMPTY_STREAMS and self._position < 512 * self._streams:
            raise RefusedArchive(
                f"is more than {MAX_EMPTY_STREAMS} joined streams with almost nothing in them"
            )
        self._decoder = self._start()
        return rest


COMPRESSIONS: dict[str, tuple[bytes, Callable[[], Decoder]]] = {
    "gzip": (b"\x1f\x8b", lambda: Inflate(31)),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\x00", xz_decoder),
}
"""Compressions of tar archives: their first bytes, and what decompresses a stream."""


def zip_decoder(method: int, read: Callable[[int], bytes]) -> Decoder:
    """The decoder of a compression method of zip. Of LZMA, the properties are read first."""
    if method == 0:
        return Stored()
    if method == 8:
        return Inflate(-15)
    if method == 12:
        return bz2.BZ2Decompressor()
    header = read(4)
    properties = read(int.from_bytes(header[2:4], "little")) if len(header) == 4 else b""
    if len(properties) != 5:
        raise DamagedArchive("LZMA data without its properties")
    return lzma_decoder(properties)


ZIP_METHODS = (0, 8, 12, 14)
"""Stored, deflate, bzip2 and LZMA."""
