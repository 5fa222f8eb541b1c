"""Finds files by stem where many folders have a file of that stem: the one nearest to a given folder.

Video frames and splits are numbered from 1 in every folder. A lookup costs a few dictionary accesses per
folder level, however many files share the stem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from yolofast.formats.name_keys import name_key
from yolofast.formats.splits import split_of
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Split

Parts = tuple[str, ...]
"""The folders of a path below the root, as `name_key` gives them."""


class _File(NamedTuple):
    path: Path
    parts: Parts
    split: Split | None


class PathIndex:
    """Files by stem, or by `key` of the stem. Folders are compared by `name_key`."""

    def __init__(self, root: Path, files: Iterable[Path], key: Callable[[str], str] | None = None) -> None:
        self._root = root
        self._by_stem: dict[str, list[Path]] = {}
        for file in files:
            stem = file.stem if key is None else key(file.stem)
            self._by_stem.setdefault(stem, []).append(file)
        self._folders: dict[str, tuple[Parts, Split | None]] = {}
        self._choices: dict[tuple[str, str], _Choice] = {}

    def __contains__(self, stem: str) -> bool:
        return stem in self._by_stem

    @cached_property
    def splits(self) -> frozenset[Split | None]:
        """The splits that the folders of the files name; None among them for folders that name none."""
        folders = {folder_of(file) for files in self._by_stem.values() for file in files}
        return frozenset(self._folder(folder)[1] for folder in folders)

    def split(self, file: Path) -> Split | None:
        """The split that the folders of a file below the root name."""
        return self._folder(folder_of(file))[1]

    def find(
        self, stem: str, folder: Path, *, above: Parts = (), split: Split | None = None, suffix: str = ""
    ) -> Path | None:
        """The file of a stem that fits best; None when there is none, or no single best one.

        Files that share most trailing folders with `above` come first (the folders that a label states, keys
        each), then files in a folder of `split`, then those nearest to `folder`. A file in a folder of
        another split never fits, unless `above` has that folder. `suffix` is an image suffix in lower case;
        empty means any.
        """
        found = self._by_stem.get(stem)
        if found is None:
            return None
        if len(found) == 1:
            file = self._describe(found[0])
            fits = (not suffix or file.path.suffix.lower() == suffix) and _may_belong(file, split, above)
            return file.path if fits else None
        choice = self._choices.get((stem, suffix))
        if choice is None:
            files = [path for path in found if not suffix or path.suffix.lower() == suffix]
            choice = self._choices[stem, suffix] = _Choice([self._describe(path) for path in files])
        return choice.best(self._folder(os.fspath(folder))[0], above, split)

    def _describe(self, path: Path) -> _File:
        return _File(path, *self._folder(folder_of(path)))

    def _folder(self, folder: str) -> tuple[Parts, Split | None]:
        known = self._folders.get(folder)
        if known is None:
            path = Path(folder)
            relative = path.relative_to(self._root) if path.is_relative_to(self._root) else Path()
            known = self._folders[folder] = tuple(map(name_key, relative.parts)), split_of(relative)
        return known


class _Choice:
    """The files of one stem; `best` chooses among them, and remembers what it chose."""

    def __init__(self, files: Sequence[_File]) -> None:
        self._by_tail = _grouped(files, lambda file: _tails(file.parts))
        self._pools: dict[tuple[Parts, Split | None], _Pool] = {}

    def best(self, folder: Parts, above: Parts, split: Split | None) -> Path | None:
        for tail in _tails(above):
            if tail in self._by_tail:
                pool = self._pools.get((tail, split))
                if pool is None:
                    pool = self._pools[tail, split] = _Pool(self._belonging(tail, split))
                if pool.files:
                    return pool.nearest(folder)
        return None

    def _belonging(self, tail: Parts, split: Split | None) -> list[_File]:
        """The files that may belong to a split; those in its own folders, where there are any."""
        files = self._by_tail[tail]
        if split is None or split_of(PurePosixPath(*tail)) is not None:
            return files
        return [f for f in files if f.split == split] or [f for f in files if f.split is None]


class _Pool:
    """Files of one stem, among which only their folders decide."""

    def __init__(self, files: Sequence[_File]) -> None:
        self.files = files
        self._below = _grouped(files, lambda file: _heads(file.parts)) if len(files) > 1 else {}
        self._tails: dict[Parts, dict[Parts, list[_File]]] = {}
        self._nearest: dict[tuple[Parts, Parts], Path | None] = {}

    def nearest(self, folder: Parts) -> Path | None:
        """The file that shares most leading folders with `folder`, then most trailing ones, then has fewest;
        None when several are equal."""
        if len(self.files) == 1:
            return self.files[0].path
        head = next(head for head in _heads(folder) if head in self._below)
        near = self._below[head]
        if len(near) == 1:
            return near[0].path
        if head not in self._tails:
            self._tails[head] = _grouped(near, lambda file: _tails(file.parts))
        tails = self._tails[head]
        tail = next(tail for tail in _tails(folder) if tail in tails)
        if (head, tail) not in self._nearest:
            fewest = min(len(file.parts) for file in tails[tail])
            best = [file.path for file in tails[tail] if len(file.parts) == fewest]
            self._nearest[head, tail] = best[0] if len(best) == 1 else None
        return self._nearest[head, tail]


def folder_of(path: Path) -> str:
    """The folder of a file, as text: runs several times per file of huge trees."""
    return str(path).rpartition(os.sep)[0]


def stated_path(name: str) -> tuple[str, str, Parts]:
    """Stem, image suffix (in lower case, or empty) and folders of a name as labels state it.

    `name` may be a path of another machine, with slashes or backslashes.
    """
    folder, _, base = name.replace("\\", "/").rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    suffix = dot + suffix.lower()
    above = _parts_of(folder) if folder else ()
    return (stem, suffix, above) if stem and suffix in IMAGE_SUFFIXES else (base, "", above)


@lru_cache(4096)
def _parts_of(folder: str) -> Parts:
    return tuple(map(name_key, PurePosixPath(folder).parts))


def _may_belong(file: _File, split: Split | None, above: Parts) -> bool:
    """Whether a file is in no folder of a split other than `split`, or `above` ends with that folder."""
    if split is None or file.split in (None, split):
        return True
    shared = next(tail for tail in _tails(above) if tail == file.parts[len(file.parts) - len(tail) :])
    return split_of(PurePosixPath(*shared)) == file.split


def _heads(parts: Parts) -> Iterator[Parts]:
    """All of `parts`, then fewer leading ones, down to none."""
    return (parts[:end] for end in range(len(parts), -1, -1))


def _tails(parts: Parts) -> Iterator[Parts]:
    """All of `parts`, then fewer trailing ones, down to none."""
    return (parts[begin:] for begin in range(len(parts) + 1))


def _grouped(files: Iterable[_File], keys: Callable[[_File], Iterable[Parts]]) -> dict[Parts, list[_File]]:
    groups: dict[Parts, list[_File]] = {}
    for file in files:
        for key in keys(file):
            groups.setdefault(key, []).append(file)
    return groups
