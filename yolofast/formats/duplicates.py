"""Finds images with the same content, and reports those that are in two splits (leakage).

Contents are compared by hash. Most files are never read in full: only files of the same size can be equal,
hard links are equal without reading, and most of the rest differ in their first or last bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from yolofast.formats.dataset import ReadImage
from yolofast.formats.splits import SPLITS
from yolofast.threads import map_in_threads
from yolofast.types import Finding, Split

EDGE_BYTES = 4096
"""Bytes at either end of a file that are compared first: a header scan has just brought them into memory."""
_CHUNK = 1 << 20
_FILES_PER_TASK = 256


def find_duplicates(paths: Sequence[Path], sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more files with equal content, as indices into `paths`, in order.

    `sizes` are the sizes of the files in bytes. Hard and symbolic links to one file are equal. Empty and
    unreadable files are in no group.
    """
    groups = _split_groups([list(range(len(paths)))], lambda i: sizes[i] or None)
    identities = _each(groups, lambda i: _identity(paths[i]))
    first_of: dict[Hashable, int] = {}
    links: dict[int, list[int]] = {}  # first name of a file -> all its names
    for i in sorted(identities):
        if identities[i] is not None:
            links.setdefault(first_of.setdefault(identities[i], i), []).append(i)
    groups = [[i for i in group if i in links] for group in groups]
    edges = _each([group for group in groups if len(group) > 1], lambda i: _hash_edges(paths[i], sizes[i]))
    groups = _split_groups(groups, edges.get)
    long = [group for group in groups if sizes[group[0]] > 2 * EDGE_BYTES]
    whole = _each(long, lambda i: _hash_whole(paths[i]))
    groups = [g for g in groups if sizes[g[0]] <= 2 * EDGE_BYTES] + _split_groups(long, whole.get)
    together = {i for group in groups for i in group}
    found = [sorted(name for i in group for name in links[i]) for group in groups]
    found += [names for i, names in links.items() if i not in together and len(names) > 1]
    return tuple(sorted(map(tuple, found)))


def duplicate_findings(
    paths: Sequence[Path], sizes: Sequence[int], splits: Sequence[Split | None]
) -> list[Finding]:
    """A finding for every file that repeats another one, naming both.

    `split-leakage` (error) where the other one is in an earlier split (train before valid before test),
    else `image-duplicate` (warning).
    """
    rank: dict[Split | None, int] = {split: i for i, split in enumerate((*SPLITS, None))}
    found = []
    for group in find_duplicates(paths, sizes):
        first = min(group, key=lambda i: (rank[splits[i]], i))
        for i in group:
            if i == first:
                continue
            same = f"the same content as '{paths[first]}'"
            if splits[i] is None or splits[i] == splits[first]:
                found.append(Finding("warning", "image-duplicate", same, str(paths[i])))
            else:
                message = f"in {splits[i]}, with {same} in {splits[first]}"
                found.append(Finding("error", "split-leakage", message, str(paths[i])))
    return found


class DuplicateSearch:
    """Collects the images of a dataset while they are read, then compares their contents."""

    def __init__(self) -> None:
        self._rows: dict[Path, int] = {}
        self._sizes: list[int] = []
        self._splits: list[Split | None] = []

    def add(self, item: ReadImage) -> None:
        """Add an image whose header was read; an image that several readers return counts once."""
        if item.image is None or item.header is None:
            return
        self.add_file(item.image, item.header.bytes, item.record.split if item.record else None)

    def add_file(self, path: Path, size: int, split: Split | None) -> None:
        """Add an image file of `size` bytes."""
        row = self._rows.setdefault(path, len(self._sizes))
        if row == len(self._sizes):
            self._sizes.append(size)
            self._splits.append(split)
        elif self._splits[row] is None:
            self._splits[row] = split

    def __contains__(self, path: Path) -> bool:
        return path in self._rows

    def __iter__(self) -> Iterator[Path]:
        """The images added so far, in the order in which they were first added."""
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def findings(self) -> list[Finding]:
        """The `duplicate_findings` of the images added so far."""
        return duplicate_findings(list(self._rows), self._sizes, self._splits)


def _split_groups(groups: Iterable[Sequence[int]], key: Callable[[int], Hashable | None]) -> list[list[int]]:
    """Split each group by key; members without a key, and groups of one, are removed."""
    kept = []
    for group in groups:
        parts: dict[Hashable, list[int]] = {}
        for i in group:
            value = key(i)
            if value is not None:
                parts.setdefault(value, []).append(i)
        kept += [part for part in parts.values() if len(part) > 1]
    return kept


def _each(
    groups: Iterable[Sequence[int]], work: Callable[[int], Hashable | None]
) -> dict[int, Hashable | None]:
    """The result of `work` for every member, in threads: reading and hashing release the GIL."""
    members = [i for group in groups for i in group]
    parts = [members[i : i + _FILES_PER_TASK] for i in range(0, len(members), _FILES_PER_TASK)]
    values = map_in_threads(lambda part: [work(i) for i in part], parts)
    done = [value for some in values for value in some]
    return dict(zip(members, done, strict=True))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _hash_edges(path: Path, size: int) -> bytes | None:
    """Hash of the first and last bytes: the whole of a short file."""
    try:
        with path.open("rb", buffering=0) as file:
            data = file.read(2 * EDGE_BYTES if size <= 2 * EDGE_BYTES else EDGE_BYTES)
            if size > 2 * EDGE_BYTES:
                file.seek(-EDGE_BYTES, os.SEEK_END)
                data += file.read(EDGE_BYTES)
    except OSError:
        return None
    return hashlib.blake2b(data, digest_size=32).digest()


def _hash_whole(path: Path) -> bytes | None:
    digest = hashlib.blake2b(digest_size=32)
    try:
        with path.open("rb", buffering=0) as file:
            while data := file.read(_CHUNK):
                digest.update(data)
    except OSError:
        return None
    return digest.digest()
