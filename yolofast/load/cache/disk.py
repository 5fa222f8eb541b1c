"""The cache of decoded planes in one file that all processes of a machine map.

It is keyed by content. An image with the same size, times and inode as before counts as unchanged; otherwise
its bytes are hashed. Any change leads to a new file, which copies the planes that are still valid, from the
file before it or from that of another list of images of the same dataset: a file that other processes may
have mapped is never written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.files import atomic_file
from yolofast.limits import MAX_CACHE_SIBLINGS
from yolofast.load.cache._mapping import GuardedMapping
from yolofast.load.cache.decoding import CHECK_EVERY, Load, check_fit, decode_all, picture_or_reason
from yolofast.load.cache.file import PlaneFile, PlaneFileWriter, joined_paths, open_plane_file
from yolofast.load.cache.folder import (
    build_lock,
    collect,
    mark_used,
    remove_leftovers,
    remove_temporary_files,
    remove_unused,
    siblings,
    size_limit,
)
from yolofast.load.cache.guard import PlaneGuard, damage_note
from yolofast.load.cache.planes import PLANE_COLUMNS, PlaneCache
from yolofast.printable import printable
from yolofast.threads import map_in_threads
from yolofast.types import Picture

_log = logging.getLogger(__name__)

RESTAMP_SHARE = 0.1
"""Share of images whose bytes had to be hashed above which a new file records their current times."""
DIGEST_BYTES = 16
NO_DIGEST = (0, 0)
NO_FILE = (-1, -1, -1, -1)
UNSETTLED_NS = 50_000_000
"""A file changed this recently may change again without a new time: clocks tick coarsely."""
UNSETTLED = 0
CTIME = 2


Stat = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode."""


def cache_on_disk(
    path: Path, images: Sequence[str], signature: str, load: Load, *, threads: int, progress: bool
) -> PlaneCache:
    """The planes of `images` from the file `path`, which is built first if it is missing or out of date.

    images      absolute paths
    signature   the settings that the planes depend on, such as 'imgsz=640'

    Only new or changed images are decoded; one for which `load` raises `ImageError` is left out, with the
    reason. Of several processes that need the same file, one builds it and the others wait. Cache files of
    the folder that nobody uses are removed when a new file replaces them, or takes the folder beyond
    `size_limit`.

    Raises `DataError` when the file cannot be written.
    """
    request = _Request(path, images, signature, load, threads, progress, size_limit())
    cache = _mapped(_up_to_date(request))
    remove_leftovers(path.parent)
    return cache


def _up_to_date(request: _Request) -> PlaneFile:
    found = request.find()
    if found.good is not None and not found.restamp:
        return found.good
    if found.good is None and found.file is not None:
        found.file.close()  # so that it can be removed once it is replaced
    try:
        return _build(request)
    except DataError as error:
        if found.good is None:
            raise
        _log.warning("%s Using the existing cache.", error)
        return found.good


def _mapped(file: PlaneFile) -> PlaneCache:
    mark_used(file.file)
    columns = {name: file.columns[name].copy() for name in PLANE_COLUMNS}  # the rest of the table may go
    try:
        mapping = GuardedMapping(file.file.fileno(), file.size)
    except OSError as error:
        raise DataError(f"{printable(str(file.path))}: cannot be mapped: {error.strerror}.") from None
    guard = PlaneGuard(file.path, file.columns["checksum"].copy(), mapping, file.file)
    return PlaneCache(columns, mapping.address, file.unreadable, guard, guard)


@dataclass(frozen=True)
class _Found:
    """A cache file compared with the images.

    file     that of this request if it is usable, else the one of its dataset that has most of the images
    good     the file, if it is of this request and up to date
    rows     int64 [n]     row of the file with the planes of each image; -1 = none, or out of date
    stats    int64 [n,4]   of the images now
    restamp  so many images had to be hashed that recording their times pays
    """

    file: PlaneFile | None
    good: PlaneFile | None
    rows: NDArray[np.int64]
    stats: NDArray[np.int64]
    restamp: bool


@dataclass(frozen=True)
class _Request:
    """The arguments of `cache_on_disk`, the digests computed and the messages logged so far."""

    path: Path
    images: Sequence[str]
    signature: str
    load: Load
    threads: int
    progress: bool
    limit: float
    digests: dict[tuple[int, Stat], tuple[int, int]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def find(self) -> _Found:
        """Compare the file as it is now with the images."""
        stats = np.fromiter(
            itertools.chain.from_iterable(map(_stat, self.images)), np.int64, 4 * len(self.images)
        ).reshape(-1, 4)
        file, rows = self._file_and_rows()
        if file is None:
            return _Found(None, None, rows, stats, False)
        rows[np.isin(rows, file.damaged)] = -1
        unsure = _unsure(file, rows, stats)
        hashed = 0
        for image, digest in zip(unsure, self._digests(stats, unsure), strict=True):
            hashed += digest != NO_DIGEST
            if digest != tuple(file.columns["digest"][rows[image]].tolist()):
                rows[image] = -1
        same_images = file.path == self.path and file.paths == joined_paths(self.images)
        good = file if same_images and (rows >= 0).all() else None
        return _Found(file, good, rows, stats, hashed > RESTAMP_SHARE * len(self.images))

    def _file_and_rows(self) -> tuple[PlaneFile | None, NDArray[np.int64]]:
        """The cache file to start from, and its row of each image, or -1."""
        own = self._open(self.path)
        if own is not None:
            return own, self._rows(own)
        best, rows, held = None, np.full(len(self.images), -1, np.int64), 0
        for other in siblings(self.path)[:MAX_CACHE_SIBLINGS]:
            file = self._open(other)
            if file is None:
                continue
            found = self._rows(file)
            if (count := int((found >= 0).sum())) > held:
                file, best, rows, held = best, file, found, count
            if file is not None:
                file.close()
        return best, rows

    def _open(self, path: Path) -> PlaneFile | None:
        """A usable cache file for these settings; why there is none is logged for that of this request."""
        try:
            file = open_plane_file(path)
        except FileNotFoundError:
            return None
        except (DataError, OSError) as error:
            if path == self.path and str(error) not in self.told:
                self.told.add(str(error))
                _log.warning("cache disk: %s; building it again", error)
            return None
        if file.signature == self.signature:
            return file
        file.close()
        return None

    def _rows(self, file: PlaneFile) -> NDArray[np.int64]:
        if file.paths == joined_paths(self.images):
            return np.arange(len(self.images))
        known = {name: row for row, name in enumerate(file.image_names())}
        return np.array([known.get(image, -1) for image in self.images], np.int64)

    def remove_superseded(self) -> None:
        """Remove other cache files that have images of this one, and no others that are still there."""
        mine = set(self.images)
        for other in siblings(self.path)[:MAX_CACHE_SIBLINGS]:
            file = self._open(other)
            if file is None:
                continue
            file.close()  # so that its lock is free
            names = set(file.image_names())
            if names & mine and all(map(_is_gone, names - mine)) and remove_unused(other):
                _log.info("cache disk: removed %s, which this one replaces", printable(str(other)))

    def _digests(self, stats: NDArray[np.int64], which: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """The digests of some images; a file is read again only when its stat changes."""

        def digest(image: int) -> tuple[int, int]:
            size, mtime, ctime, inode = stats[image].tolist()
            key = (image, (size, mtime, ctime, inode))
            if key not in self.digests or ctime == UNSETTLED:
                self.digests[key] = _digest(self.images[image])
            return self.digests[key]

        return map_in_threads(digest, which.tolist(), self.threads)


def _unsure(file: PlaneFile, rows: NDArray[np.int64], stats: NDArray[np.int64]) -> NDArray[np.int64]:
    """The images in the file that may have changed."""
    held = np.flatnonzero(rows >= 0)
    old_stats, old_digests = file.columns["stat"][rows[held]], file.columns["digest"][rows[held]]
    # A file that could not be read has no digest: only a file that is still missing counts as unchanged.
    known = (old_digests != 0).any(axis=1) | (stats[held, 0] < 0)
    same = (old_stats == stats[held]).all(axis=1) & (stats[held, CTIME] != UNSETTLED) & known
    unsure: NDArray[np.int64] = held[~same]
    return unsure


def _stat(path: str) -> Stat:
    try:
        stat = os.stat(path)  # noqa: PTH116 - a million of them: no Path objects
    except OSError:
        return NO_FILE
    settled = time.time_ns() - stat.st_ctime_ns > UNSETTLED_NS
    return (
        stat.st_size,
        stat.st_mtime_ns,
        stat.st_ctime_ns if settled else UNSETTLED,
        stat.st_ino & (2**63 - 1),
    )


def _is_gone(path: str) -> bool:
    """Whether a file is certainly not there: one in a folder that may not be looked into is not gone."""
    try:
        os.stat(path)  # noqa: PTH116 - as above
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def _digest(path: str) -> tuple[int, int]:
    """BLAKE2b-128 of a file's bytes; NO_DIGEST when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()
    except OSError:
        return NO_DIGEST
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _build(request: _Request) -> PlaneFile:
    """Build the file, unless another process did while this one waited."""
    path = request.path
    with build_lock(path) as alone:
        found = request.find()
        if found.good is not None and not found.restamp:
            return found.good
        if alone:
            remove_temporary_files(path)
        missing = int((found.rows < 0).sum())
        total = len(request.images)
        _log.info("cache disk: building %s; %d of %d images to decode", printable(str(path)), missing, total)
        with atomic_file(path, sync=True) as temporary, temporary.open("wb") as file:
            _write(file, request, found)
        built = open_plane_file(path)
        with contextlib.suppress(OSError):  # there is none, or it is another user's
            damage_note(path).unlink()
        if found.file is not None:
            found.file.close()
        request.remove_superseded()
        collect(path, request.limit)
        return built


def _write(file: BinaryIO, request: _Request, found: _Found) -> None:
    images, folder = request.images, request.path.parent
    writer = PlaneFileWriter(file, len(images))
    unreadable: dict[int, str] = {}
    runs = dict(_runs(found.rows))

    def decode(image: int) -> tuple[Stat, tuple[int, int], Picture | str] | None:
        if found.rows[image] >= 0:
            return None
        # Both before decoding: a change from here on is noticed next time.
        stat, digest = _stat(images[image]), _digest(images[image])
        return stat, digest, picture_or_reason(request.load, image)

    results = decode_all(decode, len(images), request.threads, "cache disk", progress=request.progress)
    with contextlib.closing(results):
        for image, result in enumerate(results):
            if image in runs:
                _copy_run(writer, found, image, runs[image], unreadable)
            if result is not None:
                writer.columns["stat"][image], writer.columns["digest"][image], picture = result
                if isinstance(picture, str):
                    unreadable[image] = picture
                else:
                    writer.add(image, picture)
            if (image + 1) % CHECK_EVERY == 0:
                advice = f"Free some space in {folder}, or choose another folder (--cache-dir)."
                free = shutil.disk_usage(folder).free
                check_fit("--cache disk", "disk space", advice, image + 1, len(images), writer.position, free)
    writer.finish(images, request.signature, unreadable)


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First image and number of images of each run whose rows, none of them -1, follow one another."""
    breaks = np.flatnonzero((np.diff(rows) != 1) | (rows[1:] <= 0)) + 1
    for run in np.split(np.arange(len(rows)), breaks):
        if len(run) and rows[run[0]] >= 0:
            yield int(run[0]), len(run)


def _copy_run(
    writer: PlaneFileWriter, found: _Found, image: int, count: int, unreadable: dict[int, str]
) -> None:
    """Copy the planes of neighbouring images, or the reasons why they have none, from the existing file."""
    old = found.file
    assert old is not None
    row = int(found.rows[image])
    writer.copy(old, row, row + count, image)
    writer.columns["stat"][image : image + count] = found.stats[image : image + count]
    for at in range(count):
        if row + at in old.unreadable:
            unreadable[image + at] = old.unreadable[row + at]
