"""The cache of decoded planes in one file that all processes of a machine map.

It is keyed by content. An image with the same size, times and inode as before counts as unchanged; otherwise
its bytes are hashed. Any change leads to a new file, which copies the planes that are still valid: a file
that other processes may have mapped is never written to.
"""

from __future__ import annotations

import contextlib
import glob
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
from yolofast.file_lock import file_lock
from yolofast.files import atomic_file
from yolofast.load.cache.decoding import CHECK_EVERY, Load, check_fit, decode_all, picture_or_reason
from yolofast.load.cache.file import PlaneFile, PlaneFileWriter, joined_paths, open_plane_file
from yolofast.load.cache.planes import PlaneCache, planes_of, set_row
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


def default_cache_dir() -> Path:
    """$XDG_CACHE_HOME/yolofast, or ~/.cache/yolofast."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "yolofast"


def cache_path(directory: Path, name: str, images: Sequence[str], signature: str) -> Path:
    """The file for these images and settings: `<name>-<16 hex digits>.planes`."""
    key = hashlib.blake2b(signature.encode() + b"\0" + joined_paths(images), digest_size=8)
    return directory / f"{name}-{key.hexdigest()}.planes"


Stat = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns, inode."""


def cache_on_disk(
    path: Path, images: Sequence[str], signature: str, load: Load, *, threads: int, progress: bool
) -> PlaneCache:
    """The planes of `images` from the file `path`, which is built first if it is missing or out of date.

    images      absolute paths
    signature   the settings that the planes depend on, such as 'imgsz=640'

    Only new or changed images are decoded; one for which `load` raises `ImageError` is left out, with the
    reason. Of several processes that need the same file, one builds it and the others wait.
    Raises `DataError` when the file cannot be written.
    """
    request = _Request(path, images, signature, load, threads, progress)
    found = request.find()
    if found.good is not None and not found.restamp:
        return _mapped(found.good)
    try:
        return _mapped(_build(request))
    except DataError as error:
        if found.good is None:
            raise
        _log.warning("%s Using the existing cache.", error)
        return _mapped(found.good)


def _mapped(file: PlaneFile) -> PlaneCache:
    return PlaneCache(file.columns, file.data.ctypes.data, file.unreadable, file)


@dataclass(frozen=True)
class _Found:
    """The cache file compared with the images.

    file     the cache file, if there is a usable one
    good     the same file, if it is up to date
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
    """The arguments of `cache_on_disk`, and the digests computed so far."""

    path: Path
    images: Sequence[str]
    signature: str
    load: Load
    threads: int
    progress: bool
    digests: dict[tuple[int, Stat], tuple[int, int]] = field(default_factory=dict)

    def find(self) -> _Found:
        """Compare the file as it is now with the images."""
        stats = np.fromiter(
            itertools.chain.from_iterable(map(_stat, self.images)), np.int64, 4 * len(self.images)
        ).reshape(-1, 4)
        rows = np.full(len(self.images), -1, np.int64)
        file = _open(self.path)
        if file is None or file.signature != self.signature:
            return _Found(None, None, rows, stats, False)
        same_images = file.paths == joined_paths(self.images)
        if same_images:
            rows[:] = np.arange(len(self.images))
        else:
            known = {name: row for row, name in enumerate(file.image_names())}
            rows[:] = [known.get(image, -1) for image in self.images]
        unsure = _unsure(file, rows, stats)
        hashed = 0
        for image, digest in zip(unsure, self._digests(stats, unsure), strict=True):
            hashed += digest != NO_DIGEST
            if digest != tuple(file.columns["digest"][rows[image]].tolist()):
                rows[image] = -1
        good = file if same_images and (rows >= 0).all() else None
        return _Found(file, good, rows, stats, hashed > RESTAMP_SHARE * len(self.images))

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


def _open(path: Path) -> PlaneFile | None:
    try:
        return open_plane_file(path)
    except FileNotFoundError:
        return None
    except (DataError, OSError) as error:
        _log.warning("cache disk: %s; building it again", error)
        return None


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
    with _locked(path) as alone:
        found = request.find()
        if found.good is not None and not found.restamp:
            return found.good
        if alone:  # leftovers of processes that were killed while they built the file
            for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)
        missing = int((found.rows < 0).sum())
        _log.info("cache disk: building %s; %d of %d images to decode", path, missing, len(request.images))
        with atomic_file(path, sync=True) as temporary:
            with temporary.open("wb") as file:
                _write(file, request, found)
            return open_plane_file(temporary)


def _write(file: BinaryIO, request: _Request, found: _Found) -> None:
    images, folder = request.images, request.path.parent
    writer = PlaneFileWriter(file, len(images))
    unreadable: dict[int, str] = {}

    def decode(image: int) -> tuple[Stat, tuple[int, int], Picture | str] | None:
        if found.rows[image] >= 0:
            return None
        # Both before decoding: a change from here on is noticed next time.
        stat, digest = _stat(images[image]), _digest(images[image])
        return stat, digest, picture_or_reason(request.load, image)

    results = decode_all(decode, len(images), request.threads, "cache disk", progress=request.progress)
    with contextlib.closing(results):
        for image, result in enumerate(results):
            if result is None:
                _copy_planes(writer, image, found, unreadable)
            else:
                writer.columns["stat"][image], writer.columns["digest"][image], picture = result
                if isinstance(picture, str):
                    unreadable[image] = picture
                else:
                    set_row(writer.columns, image, writer.add(planes_of(picture)), picture)
            if (image + 1) % CHECK_EVERY == 0:
                advice = f"Free some space in {folder}, or choose another folder (--cache-dir)."
                free = shutil.disk_usage(folder).free
                check_fit("--cache disk", "disk space", advice, image + 1, len(images), writer.position, free)
    writer.finish(images, request.signature, unreadable)


def _copy_planes(writer: PlaneFileWriter, image: int, found: _Found, unreadable: dict[int, str]) -> None:
    """Copy an image's planes, or the reason why it has none, from the existing file."""
    old = found.file
    assert old is not None
    row = int(found.rows[image])
    for name, column in old.columns.items():
        writer.columns[name][image] = column[row]
    writer.columns["stat"][image] = found.stats[image]
    if row in old.unreadable:
        unreadable[image] = old.unreadable[row]
    else:
        writer.columns["offset"][image] = writer.add([old.planes(row)])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path`, waiting for it; yields False where the file system has no locks."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.lock").open("ab")
    except OSError as error:
        raise DataError(
            f"{path}: the disk cache cannot be created here: {error.strerror}. "
            "Choose a folder you may write to (--cache-dir)."
        ) from None

    def report_wait() -> None:
        _log.info("cache disk: waiting for another process that builds %s", path)

    with file, contextlib.ExitStack() as held:
        try:
            alone = held.enter_context(file_lock(file, on_wait=report_wait))
        except OSError as error:
            _log.info("cache disk: %s cannot be locked (%s); continuing without a lock", path, error.strerror)
            alone = False
        yield alone
