"""A dataset folder that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yolofast.errors import DataError
from yolofast.work_folder import whole_folder


def check_target(target: Path) -> None:
    """Refuse a target that is a file or a folder with something in it; raises `DataError`."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataError(f"{target}: exists and is no folder. Choose another place for the dataset.")
    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"{target}: the folder is not empty. Use it as it is, remove it, or choose another.")


@contextmanager
def install_folder(target: Path) -> Iterator[Path]:
    """A path for a folder to be made, which becomes `target` when the block ends well.

    When all of it lies in one folder, that folder becomes `target`. Raises `DataError` when `target` is
    taken or cannot be written.
    """
    check_target(target)
    try:
        with whole_folder(target) as made:
            yield made
            entries = list(made.iterdir())
            if len(entries) == 1 and entries[0].is_dir():
                only = entries[0].rename(made.with_name("only"))
                made.rmdir()
                only.rename(made)
    except OSError as error:
        raise cannot_write(target, error) from None


def cannot_write(target: Path, error: OSError) -> DataError:
    """What to say when something for `target` cannot be written."""
    place = error.filename or target
    return DataError(f"{target}: cannot be written: {error.strerror} ('{place}').")
