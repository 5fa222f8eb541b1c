"""Lists of files for the kernels that read many: names packed into bytes, chunks dealt to threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

CHUNK = 512
"""Files a native call: enough to make the call's own cost small, few enough to share them out."""

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


def map_chunks(
    function: Callable[[Sequence[str | Path | None]], Result],
    paths: Sequence[str | Path | None],
    threads: int | None = None,
) -> Iterator[Result]:
    """`function` of `CHUNK` paths after `CHUNK` paths, in order.

    On at most `threads` threads (None: as many as there are CPU cores, which is also the most), and on the
    caller's own where there is a single chunk. Raises `ValueError` for fewer than 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; expected at least 1, or None for all CPU cores")
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    cores = os.cpu_count() or 1
    workers = min(cores if threads is None else threads, cores, len(chunks))
    if workers <= 1:
        yield from map(function, chunks)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(function, chunks)
