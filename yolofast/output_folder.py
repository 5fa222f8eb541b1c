"""The folder of results: its own, also when several runs start at the same moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from yolofast.errors import ConfigError
from yolofast.files import remove_leftovers
from yolofast.work_folder import only_writer


@contextmanager
def output_folder(project: Path, name: str, *, exist_ok: bool = False) -> Iterator[Path]:
    """A new folder `project/name`, or `name-2`, `name-3`, ... where that is taken.

    With `exist_ok` it is `project/name` itself, whatever is in it, after another run that writes there has
    ended. When the block fails before anything was written, the folder, and parents that were created for it,
    are removed again. Raises `ConfigError` when it cannot be created.
    """
    parents = missing_folders((project / name).parent)
    with ExitStack() as stack:
        stack.push(lambda kind, *_: remove_empty(parents) if kind is not None else None)
        try:
            if exist_ok:
                stack.enter_context(only_writer(project / name))
            created = not exist_ok or not (project / name).exists()
            folder = project / name if exist_ok else _claimed(project, name)
            folder.mkdir(parents=True, exist_ok=True)
            if exist_ok:
                remove_leftovers(folder)
        except OSError as error:
            raise cannot_create(project / name, error) from None
        try:
            yield folder
        except BaseException:
            if created:
                remove_empty([folder])
            raise


def numbered_folders(project: Path, name: str) -> Iterator[Path]:
    """`project/name`, then `name-2`, `name-3` and so on, without end."""
    first = project / name
    yield first
    yield from (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))


def missing_folders(folder: Path) -> list[Path]:
    """`folder` and its parents as far as they do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove each of `folders` (the innermost first) in which there is nothing."""
    for folder in folders:
        with suppress(OSError):  # not empty
            folder.rmdir()


def cannot_create(folder: Path, error: OSError) -> ConfigError:
    """The error for a folder of results that cannot be created."""
    return ConfigError(f"{folder}: cannot be created: {error.strerror}. Choose another --project.")


def _claimed(project: Path, name: str) -> Path:
    """The first folder of that name or a numbered one that this call, and no other process, created."""
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    for folder in numbered_folders(project, name):
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")
