"""The folder of results: its own, also when several runs start at the same moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolofast.errors import DataError


@contextmanager
def output_folder(project: Path, name: str, *, exist_ok: bool = False) -> Iterator[Path]:
    """A new folder `project/name`, or `name-2`, `name-3`, ... where that is taken.

    With `exist_ok` it is `project/name` itself, whatever is in it. When the block fails before anything was
    written, the folder, and parents that were created for it, are removed again. Raises `DataError` when it
    cannot be created.
    """
    missing = [parent for parent in (project / name).parents if not parent.exists()]
    try:
        folder = project / name if exist_ok else _claimed(project, name)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{project / name}: cannot be created: {error.strerror}. Choose another --project."
        ) from error
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # the first that is not empty stays, and so do its parents
            for empty in (folder, *missing):
                empty.rmdir()
        raise


def _claimed(project: Path, name: str) -> Path:
    """The first folder of that name or a numbered one that this call, and no other process, created."""
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = project / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")
