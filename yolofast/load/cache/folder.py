"""The folder of cache files: their names, their locks, and what is removed from it so that it does not grow.

Only files whose names and first bytes are those of cache files are ever removed, and never one in use:
whoever reads a cache file holds a shared lock on it, who builds one the lock of `NAME.planes.lock`.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from yolofast.errors import ConfigError, DataError
from yolofast.file_lock import file_lock
from yolofast.limits import CACHE_BYTES, MAX_CACHE_NAME_BYTES
from yolofast.load.cache.file import MAGIC, joined_paths
from yolofast.load.cache.guard import damage_note
from yolofast.printable import printable

_log = logging.getLogger(__name__)

_NAME = re.compile(r"(.*)-[0-9a-f]{16}\.planes", re.DOTALL)
_ANY_VERSION = MAGIC[:-1]


def default_cache_dir() -> Path:
    """$XDG_CACHE_HOME/yolofast, or ~/.cache/yolofast."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "yolofast"


def cache_path(directory: Path, name: str, images: Sequence[str], signature: str) -> Path:
    """The file for these images and settings: `<name>-<16 hex digits>.planes`; a long name is cut."""
    key = hashlib.blake2b(signature.encode() + b"\0" + joined_paths(images), digest_size=8)
    name = printable(name).encode()[:MAX_CACHE_NAME_BYTES].decode(errors="ignore")
    return directory / f"{name}-{key.hexdigest()}.planes"


def siblings(path: Path) -> list[Path]:
    """The other cache files of the same name, for other images or settings; the last used first."""
    name = _dataset(path.name)
    files = sorted(_files(path.parent), reverse=True)
    if name is None:
        return []
    return [other for _, _, other in files if other != path and _dataset(other.name) == name]


def _dataset(name: str) -> str | None:
    """The dataset's name in the name of a cache file; None if it is not one."""
    match = _NAME.fullmatch(name)
    return match and match[1]


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """Last use (ns), size in bytes and path of the cache files in a folder."""
    for path in folder.glob("*.planes"):
        if _dataset(path.name) is not None:
            with contextlib.suppress(OSError):
                stat = path.stat()
                yield max(stat.st_atime_ns, stat.st_mtime_ns), stat.st_size, path


def mark_used(file: IO[Any]) -> None:
    """Record that an open cache file is used now. Its mtime stays, which says that its bytes do."""
    with contextlib.suppress(OSError):  # it belongs to somebody else
        os.utime(file.fileno(), ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))


# ---------------------------------------------------------------- locks


@contextlib.contextmanager
def build_lock(path: Path) -> Iterator[bool]:
    """Hold the lock to build `path`, waiting for it; yields False where the file system has no locks."""

    def report_wait() -> None:
        _log.info("cache disk: waiting for another process that builds %s", printable(str(path)))

    with contextlib.ExitStack() as held:
        while True:
            file = held.enter_context(_open_lock(path))
            try:
                alone = held.enter_context(file_lock(file, on_wait=report_wait))
            except OSError as error:
                _log.info(
                    "cache disk: %s cannot be locked (%s); continuing without a lock",
                    printable(str(path)),
                    error.strerror,
                )
                alone = False
            if not alone or os.fstat(file.fileno()).st_nlink:
                break
            held.close()  # the lock file was removed while this process waited for it
        yield alone


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _open_lock(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _lock_path(path).open("ab")
    except OSError as error:
        raise DataError(
            f"{printable(str(path))}: the disk cache cannot be created here: {error.strerror}. "
            "Choose a folder you may write to (--cache-dir)."
        ) from None


# ---------------------------------------------------------------- removal


def size_limit() -> float:
    """Bytes that the cache files of a folder may take. Raises `ConfigError`."""
    text = os.environ.get("YOLOFAST_CACHE_GB", "")
    try:
        limit = float(text) * 10**9 if text else float(CACHE_BYTES)
    except ValueError:
        limit = float("nan")
    if not limit >= 0:
        raise ConfigError(f"YOLOFAST_CACHE_GB: got {text!r}, expected a number of GB, such as 200.")
    return limit


def collect(path: Path, limit: float) -> None:
    """Remove cache files of the folder of `path` that nobody uses.

    limit  bytes that the cache files of the folder may take; those unused longest go first, never `path`
    """
    files = sorted(_files(path.parent))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, old in files:
        if excess <= 0:
            return
        if old != path and remove_unused(old):
            excess -= size
            _log.info(
                "cache disk: removed %s (%.1f GB), unused longest: all together had more than the %g GB of "
                "YOLOFAST_CACHE_GB",
                printable(str(old)),
                size / 1e9,
                limit / 1e9,
            )


def remove_unused(path: Path) -> bool:
    """Remove a cache file, with its notes, unless a process has it open; returns whether it was removed."""
    try:
        with path.open("r+b") as file, file_lock(file) as alone:  # NFS locks only what may be written
            if not alone or file.read(len(_ANY_VERSION)) != _ANY_VERSION:
                return False
            path.unlink()
            damage_note(path).unlink(missing_ok=True)
    except OSError:  # gone, not ours to remove, or no locks here
        return False
    _remove_leftovers_of(path)
    return True


def remove_leftovers(folder: Path) -> None:
    """Temporary and lock files of builds that were killed, whatever they were to build."""
    names = {lock.name.removesuffix(".lock") for lock in folder.glob("*.planes.lock")}
    names = {name for name in names if not (folder / name).exists()}
    names |= {left.name[1:].rsplit(".", 2)[0] for left in folder.glob(".*.planes.*.tmp")}
    for name in names:
        if _dataset(name) is not None:
            _remove_leftovers_of(folder / name)


def _remove_leftovers_of(path: Path) -> None:
    """Temporary files of builds of `path` that were killed, and its lock file if there is no such cache."""
    with contextlib.suppress(OSError, DataError), _open_lock(path) as lock, file_lock(lock) as alone:
        if not alone or not os.fstat(lock.fileno()).st_nlink:
            return
        remove_temporary_files(path)
        if not path.exists():
            _lock_path(path).unlink()


def remove_temporary_files(path: Path) -> None:
    """Remove those of builds of `path` that were killed; its lock must be held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # it is gone, or another user's
            leftover.unlink()
