"""Files that are written atomically."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from yolofast.errors import DataError, YolofastError
from yolofast.file_lock import file_lock, is_at
from yolofast.limits import MAX_NAME_BYTES

_TEMPORARY = re.compile(r"\..+\.yolofast-[1-9]\d*\.tmp", re.DOTALL)
WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextlib.contextmanager
def atomic_file(
    path: str | Path, error: type[YolofastError] = DataError, *, sync: bool = False
) -> Iterator[Path]:
    """An empty temporary file next to `path`: renamed to `path` when the block succeeds, else removed.

    Creates the folder. The file's mode follows the umask, whatever wrote it. `sync` flushes the file to disk
    before the rename, so that a power cut leaves either the old file or the new one. The temporary file is
    locked: of several processes or threads that write the same `path`, each has its own, and the last one
    wins. What a killed one left is removed by the next. Raises `error` when the file cannot be written
    before, in or after the block; other exceptions of the block propagate.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with _writing(path, error):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = _temporary(path, stack)
            mode = stat.S_IMODE(temporary.stat().st_mode)  # as the umask has it
        try:
            with _writing(path, error, only=WRITE_ERRORS):
                yield temporary
            with _writing(path, error):
                temporary.chmod(mode)  # some libraries write files that only the user can read
                if sync:
                    with temporary.open("rb") as file:
                        os.fsync(file.fileno())
                temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):  # its folder is gone
                temporary.unlink()
            raise
        for second in itertools.takewhile(Path.exists, itertools.islice(_temporaries(path), 1, None)):
            _remove_leftover(second)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed runs left in `folder`; those that are being written stay."""
    with contextlib.suppress(OSError):  # there is no such folder, or it cannot be read
        for path in list(folder.iterdir()):
            if is_temporary(path.name):
                _remove_leftover(path)


def is_temporary(name: str) -> bool:
    """Whether a file name is one that `atomic_file` gives."""
    return _TEMPORARY.fullmatch(name) is not None


def hidden_name(name: str, ending: str) -> str:
    """`.NAME.ENDING`; a NAME that is too long for a file system is shortened, with a digest of the whole."""
    room = MAX_NAME_BYTES - len(os.fsencode(f"..{ending}"))
    if len(os.fsencode(name)) <= room:
        return f".{name}.{ending}"
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{shortened(name, room - len(digest) - 1)}-{digest}.{ending}"


def shortened(name: str, size: int) -> str:
    """The first characters of a file name that fit into `size` bytes."""
    while len(os.fsencode(name)) > size:
        name = name[:-1]
    return name


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically. Raises `DataError` when it cannot be written."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically. Raises `DataError` when it cannot be written."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def _temporary(path: Path, stack: contextlib.ExitStack) -> Path:
    """A new empty file to write `path` to, locked until `stack` ends.

    Names are numbered, so that the next one to write `path` finds what a killed one has left.
    """
    for temporary in _temporaries(path):
        if not _remove_leftover(temporary):
            continue  # another process or thread is writing it
        with contextlib.ExitStack() as attempt:
            try:
                file = attempt.enter_context(_opened(temporary, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            try:
                ours = attempt.enter_context(file_lock(file)) and is_at(file, temporary)
            except OSError:  # no locks here: then nobody takes it for a leftover either
                ours = True
            if ours:
                stack.enter_context(attempt.pop_all())
                return temporary
    raise AssertionError("unreachable")


def _temporaries(path: Path) -> Iterator[Path]:
    for number in itertools.count(1):
        yield path.with_name(hidden_name(path.name, f"yolofast-{number}.tmp"))


def _remove_leftover(temporary: Path) -> bool:
    """Remove a temporary file that nobody is writing; returns whether there is none now."""
    try:
        with _opened(temporary, 0) as file, file_lock(file) as held:
            if held and is_at(file, temporary):
                temporary.unlink()
            return held
    except FileNotFoundError:
        return True
    except OSError:  # of another user, or there are no locks
        return False


def _opened(temporary: Path, flags: int) -> IO[bytes]:
    return os.fdopen(os.open(temporary, flags | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666), "r+b")


@contextlib.contextmanager
def _writing(path: Path, error: type[YolofastError], only: frozenset[int] | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if only is not None and problem.errno not in only:
            raise
        raise error(
            f"{path}: cannot be written: {problem.strerror}. Choose a writable folder, or free some space."
        ) from problem


def first_zeros(file: BinaryIO) -> int | None:
    """Where a text file, just opened, begins to be zeros, which a copy that broke off leaves; None without.

    Only a hole (zeros that have no place on the disk) and the last bytes are looked for: nothing is read.
    """
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    ends_in_zeros = size > 4 and os.pread(descriptor, 4, size - 4) == bytes(4)  # UTF-32 ends in three
    last = size - 4 if ends_in_zeros else size
    try:
        hole = min(os.lseek(descriptor, 0, os.SEEK_HOLE), last)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except (AttributeError, OSError):  # a system without holes, or an empty file
        hole = last
    return hole if hole < size and os.pread(descriptor, 1, hole) == b"\0" else None
