"""The entries of an archive, in one form for every archive format.

Checks and unpacking work on these only, so they are the same for zip and tar.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from yolofast.errors import DataError

FILE, FOLDER = "file", "folder"
SYMBOLIC_LINK, HARD_LINK = "a symbolic link", "a hard link"
SPECIAL_FILE, SPARSE_FILE = "a device, pipe or other special file", "a sparse file"
ENCRYPTED_FILE = "encrypted"
BLOCK = 1 << 20
Stream = BinaryIO | io.BufferedIOBase


class DamagedArchive(Exception):  # noqa: N818 - becomes a DataError that names the archive
    """The archive breaks the rules of its format, or ends too early."""


_DAMAGE = (
    DamagedArchive,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,  # a negative offset, or a name that is marked as UTF-8 and is not
    OverflowError,
    IndexError,
    OSError,  # bz2's only error, and unreadable disks
)


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One file or folder of an archive, or something else.

    `name` is as in the archive, unchecked. `kind` is `FILE`, `FOLDER` or a description of anything else.
    `size` is the unpacked size that the archive states, in bytes. `open` returns the contents.
    """

    name: str
    kind: str
    size: int
    open: Callable[[], Stream | io.RawIOBase]

    def blocks(self, archive: str) -> Iterator[bytes]:
        """The contents in blocks; raises `DataError` when they are damaged or do not have the stated size."""
        got = 0
        with reading(archive), self.open() as source:
            while block := source.read(min(BLOCK, self.size - got + 1)):
                got += len(block)
                if got > self.size:
                    break
                yield block
        if got != self.size:
            more = "more than" if got > self.size else f"{got} of"
            raise DataError(
                f"{archive}: is damaged: entry {shown_name(self.name)} has {more} the {self.size} bytes "
                "that it states. Get the archive again."
            )


@contextmanager
def reading(archive: str) -> Iterator[None]:
    """Convert the errors of archive readers into one `DataError` about `archive`."""
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive}: is damaged or truncated: {reason}. Get the archive again.") from None


def shown_name(name: str) -> str:
    """A name from an archive, safe to print: quoted, control characters escaped, the middle shortened."""
    return repr(name if len(name) <= 120 else f"{name[:80]} ... {name[-20:]}")


COMPRESSIONS: dict[str, tuple[bytes, Callable[[BinaryIO], Stream]]] = {
    "gzip": (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    "bzip2": (b"BZh", bz2.BZ2File),
    "xz": (b"\xfd7zXZ\x00", lzma.LZMAFile),
}
"""Compressions of tar archives: their first bytes, and how to decompress them."""
