"""Files that are written atomically."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolofast.errors import DataError, YolofastError
from yolofast.limits import MAX_NAME_BYTES

WRITE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextlib.contextmanager
def atomic_file(
    path: str | Path, error: type[YolofastError] = DataError, *, sync: bool = False
) -> Iterator[Path]:
    """A temporary file next to `path`: renamed to `path` when the block succeeds, else removed.

    Creates the folder. The file's mode follows the umask, whatever wrote it. `sync` flushes the file to disk
    before the rename, so that a power cut leaves either the old file or the new one. Raises `error` when the
    file cannot be written before, in or after the block; other exceptions of the block propagate.
    """
    path = Path(path)
    temporary = path.with_name(hidden_name(path.name, f"{os.getpid()}.tmp"))
    with _writing(path, error):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
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
    finally:
        with contextlib.suppress(OSError):  # renamed, or its folder is gone
            temporary.unlink()


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
