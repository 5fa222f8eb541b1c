"""Lists of files for native code: names packed into bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_NOWHERE = "\x01/no such folder/no file can have this name"


def pack_paths(paths: Sequence[str | Path | None]) -> bytes:
    """The names in the file system's encoding, each followed by a NUL; None is an empty name.

    A name that no file can have (with a NUL in it, or that cannot be encoded) becomes one that is missing.
    """
    names = ["" if path is None else os.fspath(path) or _NOWHERE for path in paths]
    names.append("")
    try:
        packed = os.fsencode("\0".join(names))
    except UnicodeEncodeError:
        packed = b""
    if packed.count(b"\0") == len(paths):
        return packed
    return b"".join(map(_pack_unusual, names[:-1]))


def _pack_unusual(name: str) -> bytes:
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b"\0"
    return os.fsencode(_NOWHERE if b"\0" in encoded else name) + b"\0"


class PackedPaths(Sequence[str]):
    """Paths packed by `pack_paths`: `data` uint8 [bytes]; path i begins at `offsets[i]`, int64 [n + 1]."""

    def __init__(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self.data, self.offsets = data, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not -len(self) <= index < len(self):
            raise IndexError(f"path {index} of {len(self)}")
        index %= len(self)
        return os.fsdecode(self.data[self.offsets[index] : self.offsets[index + 1] - 1].tobytes())

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


def path_ends(packed: bytes) -> NDArray[np.int64]:
    """The offset behind each path in packed ones, int64 [n]."""
    return np.flatnonzero(np.frombuffer(packed, np.uint8) == 0) + 1
