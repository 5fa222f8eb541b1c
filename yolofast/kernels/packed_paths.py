"""Lists of files for the kernels that read many at once: names packed into bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_NOWHERE = "\x01/no such folder/no file can have this name"


def pack_paths(paths: Sequence[str | Path | None]) -> bytes:
    """The names in the file system's encoding, each with a NUL behind it; None is an empty name.

    A name that no file can have (with a NUL in it, or that cannot be encoded) becomes one that is not there.
    """
    names = ["" if path is None else os.fspath(path) or _NOWHERE for path in paths]
    names.append("")
    try:
        packed = os.fsencode("\0".join(names))
    except UnicodeEncodeError:
        packed = b""
    if packed.count(b"\0") == len(paths):
        return packed
    return b"".join(map(_pack_odd, names[:-1]))


def _pack_odd(name: str) -> bytes:
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        encoded = b"\0"
    return os.fsencode(_NOWHERE if b"\0" in encoded else name) + b"\0"
