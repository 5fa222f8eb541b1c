"""The target folder of a fetched dataset, which is created atomically."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolofast.errors import DataError
from yolofast.work_folder import only_writer, recover_killed, work_folder


def check_target(target: Path) -> None:
    """Refuse a target that is a file or a folder that is not empty; raises `DataError`."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataError(f"{target}: exists and is not a folder. Choose another folder for the dataset.")
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target}: the folder is not empty. Use it, remove it, or choose another.")


def begin_target(target: Path) -> None:
    """`check_target`; where it refuses, also remove what a run left that was killed at its end."""
    try:
        check_target(target)
    except DataError:
        recover_killed(target)
        raise


@contextmanager
def install_folder(target: Path) -> Iterator[Path]:
    """The path of a folder to create, which becomes `target` when the block succeeds.

    When it contains a single folder, that folder becomes `target`. Raises `DataError` when `target` is not
    empty or cannot be written.
    """
    check_target(target)
    try:
        with only_writer(target), work_folder(target) as work:
            check_target(target)  # another run may have created it before this one could begin
            new = work / "new"
            yield new
            entries = list(new.iterdir())
            _put(entries[0] if len(entries) == 1 and entries[0].is_dir() else new, target)
    except OSError as error:
        raise write_error(target, error) from None


def _put(folder: Path, target: Path) -> None:
    """Rename a folder to the target, which the system refuses when there is anything in it by now."""
    try:
        folder.rename(target)
    except OSError:
        check_target(target)
        raise


def check_space(target: Path, needed: int, what: str) -> None:
    """Raise `DataError` when the disk of `target` has not `needed` bytes free to do `what`."""
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{target}: needs {needed / 1e6:,.0f} MB to {what}, and the disk has {free / 1e6:,.0f} MB free. "
            "Free some space, or choose a folder on another disk."
        )


def write_error(target: Path, error: OSError) -> DataError:
    """The `DataError` for an `OSError` while `target` was written."""
    return DataError(
        f"{target}: cannot be written: {error.strerror} ('{error.filename or target}'). "
        "Choose a writable folder with enough space."
    )
