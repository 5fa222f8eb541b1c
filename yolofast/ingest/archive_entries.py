"""The entries of an archive, in one form for every archive format.

Checks and unpacking work on these only, so they are the same for zip and tar.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from yolofast.errors import DataError
from yolofast.zip_directory import DamagedArchive, RefusedArchive, shown_name

FILE, FOLDER = "file", "folder"
SYMBOLIC_LINK, HARD_LINK = "a symbolic link", "a hard link"
SPECIAL_FILE, SPARSE_FILE = "a device, pipe or other special file", "a sparse file"
ENCRYPTED_FILE = "encrypted"


class Stream(Protocol):
    """Bytes that can be read from any position."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


_DAMAGE = (
    DamagedArchive,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,  # a negative offset, or a name that is marked as UTF-8 and is not
    OverflowError,
    OSError,  # bz2's only error, and unreadable disks
)


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One file or folder of an archive, or something else.

    `name` is as in the archive, unchecked. `kind` is `FILE`, `FOLDER` or a description of anything else.
    `size` is the unpacked size that the archive states, in bytes. `contents` returns what is in it, in blocks
    of at most 1 MB, and does not rely on `size`.
    """

    name: str
    kind: str
    size: int
    contents: Callable[[], Iterator[bytes]]

    def blocks(self, archive: str) -> Iterator[bytes]:
        """The contents in blocks; raises `DataError` when they are damaged or do not have the stated size."""
        got = 0
        with reading(archive):
            for block in self.contents():
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
    except RefusedArchive as error:
        raise DataError(f"{archive}: {error}: refused, nothing was unpacked.") from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive}: is damaged or truncated: {reason}. Get the archive again.") from None
