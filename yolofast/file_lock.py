"""Exclusive locks between processes, held on open files: a process that ends or is killed lets go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from yolofast.printable import printable

_HOLDER = re.compile(r"pid (\d{1,9}) on host (.+)")
_HOLDER_BYTES = 300
_POLL_S, _STALE_S = 0.2, 60
_ours = set[tuple[int, int, int]]()
"""Process, device and inode of the lock files that say that this process holds them. Another's may name the
same pid: in a container that is started again, processes have the pids of those before."""


@contextlib.contextmanager
def file_lock(file: IO[Any], *, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the exclusive lock of an open file while the block runs; yields whether it is held.

    on_wait  omitted means do not wait: False is yielded when another process holds the lock. Otherwise it is
             called once before waiting for that process

    Raises `OSError` when the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is None:
            yield False
            return
        on_wait()
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield True
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough: a process forked meanwhile shares the file


@contextlib.contextmanager
def lock_path(path: Path, *, on_wait: Callable[[str], None] | None = None) -> Iterator[bool]:
    """Hold the lock that the file `path` stands for: created for it, removed after it. Yields whether it is
    held.

    on_wait  omitted means do not wait: False is yielded when another process, or thread, holds it. Otherwise
             it is called before waiting, with who holds it: 'pid 7 on host a'

    The file says who holds it. Where the file system has no locks, the file itself is the lock: that of a
    process which may still run, as one of another host may, is never taken. Raises `OSError` when the file
    cannot be made.
    """
    with contextlib.ExitStack() as stack:
        yield _acquire(path, stack, on_wait)


def _acquire(path: Path, stack: contextlib.ExitStack, on_wait: Callable[[str], None] | None) -> bool:
    while True:
        with contextlib.ExitStack() as attempt:
            opened = _open(path)
            if opened is None:
                continue
            file, made = opened
            attempt.enter_context(file)
            told = None if on_wait is None else lambda file=file: on_wait(holder_of(file))
            try:
                held = attempt.enter_context(file_lock(file, on_wait=told))
                lost = held and not is_at(file, path)  # the one who held it before has removed it
            except OSError:
                held, lost = made, False
                if not made:
                    lost = _wait_without_locks(path, file, on_wait)
            if lost:
                continue
            if held:
                write_holder(file)
                attempt.callback(_remove, path, file)  # while it is still locked
            stack.enter_context(attempt.pop_all())
            return held


def _open(path: Path) -> tuple[IO[str], bool] | None:
    """The file, and whether this call made it; None when it was removed meanwhile."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.fdopen(os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), "r+"), True
    except FileExistsError:
        try:
            return os.fdopen(os.open(path, flags), "r+"), False
        except FileNotFoundError:
            return None


def _wait_without_locks(path: Path, file: IO[str], on_wait: Callable[[str], None] | None) -> bool:
    """Whether to try again, because the one who made the file `path` is gone or was waited for."""
    if not _may_be_held(file):
        guard = path.with_name(f"{path.name}-removing")
        try:
            guard.mkdir()
        except FileExistsError:  # another process is removing it, or was killed at that
            with contextlib.suppress(OSError):
                if time.time() - guard.stat().st_mtime > _STALE_S:
                    guard.rmdir()
            time.sleep(_POLL_S)
        else:
            try:
                if is_at(file, path):
                    path.unlink()
            finally:
                guard.rmdir()
        return True
    if on_wait is None:
        return False
    on_wait(f"{holder_of(file)}; this file system has no locks: if that run is gone, remove {path}")
    while is_at(file, path) and _may_be_held(file):
        time.sleep(_POLL_S)
    return True


def _may_be_held(file: IO[Any]) -> bool:
    """As `names_living`, or it is not written yet."""
    return _content(file) == "" or names_living(file)


def is_at(file: IO[Any], path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def write_holder(file: IO[Any]) -> None:
    """Say in an open lock file that this process holds it; a full disk does not matter."""
    with contextlib.suppress(OSError):
        clear_holder(file)
        _ours.add(_identity(file))
        os.pwrite(file.fileno(), f"pid {os.getpid()} on host {os.uname().nodename}".encode(), 0)


def clear_holder(file: IO[Any]) -> None:
    """Say in an open lock file that nobody holds it."""
    _ours.discard(_identity(file))
    os.ftruncate(file.fileno(), 0)


def holder_of(file: IO[Any]) -> str:
    """Who holds an open lock file, 'pid 7 on host a', as far as it says so."""
    found = _HOLDER.fullmatch(_content(file))
    return printable(found[0]) if found else "an unknown process"


def names_living(file: IO[Any]) -> bool:
    """Whether an open lock file names a holder that may still run: no process of this host that is gone."""
    content = _content(file)
    found = _HOLDER.fullmatch(content)
    if found is None or found[2] != os.uname().nodename:
        return content != ""
    if int(found[1]) == os.getpid():
        return _identity(file) in _ours
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        pass
    return True


def _identity(file: IO[Any]) -> tuple[int, int, int]:
    status = os.fstat(file.fileno())
    return os.getpid(), status.st_dev, status.st_ino


def _remove(path: Path, file: IO[Any]) -> None:
    _ours.discard(_identity(file))
    path.unlink(missing_ok=True)


def _content(file: IO[Any]) -> str:
    return os.pread(file.fileno(), _HOLDER_BYTES, 0).decode("utf-8", "replace")
