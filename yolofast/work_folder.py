"""Folders that are written atomically, each by one run at a time.

Everything is written to a hidden work folder next to the target. It has a unique name and contains a marker
file, so that the remains of a killed run can be distinguished from a user's folder and cleaned up. A run
holds the lock of its target: only who holds it touches the work folders of that target.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolofast.file_lock import lock_path
from yolofast.files import hidden_name

_log = logging.getLogger(__name__)

MARKER = "made-by-yolofast"
_NEW, _OLD = "new", "old"
_RANDOM = 8
"""Characters that `tempfile.mkdtemp` appends."""


@contextmanager
def only_writer(target: Path) -> Iterator[bool]:
    """Be the only run that writes `target` while the block lasts, after another one that is at it has ended.

    Yields whether there was such a run: `target` may have changed since. While waiting for it, a warning says
    so. Recovers from a run with the same target that was killed. Creates the parent folder. Raises `OSError`
    when it is not writable.
    """
    waited = False

    def on_wait(holder: str) -> None:
        nonlocal waited
        waited = True
        _log.warning("%s: another run is writing it (%s); waiting until it ends.", target, holder)

    target.parent.mkdir(parents=True, exist_ok=True)
    with lock_path(_lock(target), on_wait=on_wait):
        for folder in _work_folders(target):
            _recover(folder, target)
        yield waited


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """A hidden folder next to `target`, for its `only_writer`: removed when the block ends.

    Raises `OSError` when something cannot be written.
    """
    work = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        mark_folder(work, target)
        yield work
    finally:
        _settle(work, target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """The path of a folder to create, which replaces `target` when the block succeeds.

    For the `only_writer` of `target`. When the block fails, `target` stays as it was; when the run is killed
    at any point, the next one restores the old folder. Raises `OSError` when something cannot be written.
    """
    with work_folder(target) as work:
        yield work / _NEW
        if target.exists():
            target.rename(work / _OLD)
        (work / _NEW).rename(target)


def recover_killed(target: Path) -> None:
    """Restore or clean up after a killed run with the same target, unless one is at it now.

    Raises `OSError`.
    """
    if not _lock(target).exists() and not _work_folders(target):
        return
    with lock_path(_lock(target)) as held:
        for folder in _work_folders(target) if held else ():
            _recover(folder, target)


def mark_folder(folder: Path, target: Path) -> None:
    """Mark a folder as work for `target`."""
    (folder / MARKER).write_text(target.name, encoding="utf-8", errors="surrogateescape")


def marked_target(folder: Path) -> str | None:
    """The name of the target in the marker of a folder; None without a marker."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _lock(target: Path) -> Path:
    return target.with_name(hidden_name(target.name, "building.lock"))


def _prefix(target: Path) -> str:
    return hidden_name(target.name, f"building-{'x' * _RANDOM}")[:-_RANDOM]


def _work_folders(target: Path) -> list[Path]:
    """The folders that are named as work for `target`."""
    if not target.parent.is_dir():
        return []
    name = re.compile(re.escape(_prefix(target)) + rf"[a-z0-9_]{{{_RANDOM}}}")
    return [entry for entry in target.parent.iterdir() if name.fullmatch(entry.name)]


def _recover(folder: Path, target: Path) -> None:
    """Settle what a killed run left; a user's folder of such a name stays."""
    if marked_target(folder) in (target.name, ""):  # empty: killed while it was written
        _settle(folder, target)
    else:  # killed before the marker was written, or after it was removed: the folder is empty
        with suppress(OSError):
            folder.rmdir()


def _settle(work: Path, target: Path) -> None:
    """Restore the old folder if nothing has replaced it, then remove the work folder, its marker last.

    What cannot be removed now is removed by the next run.
    """
    if (work / _OLD).exists() and not target.exists():
        (work / _OLD).rename(target)
    for entry in list(work.iterdir()):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != MARKER:
            entry.unlink()
    if [entry.name for entry in work.iterdir()] in ([], [MARKER]):
        shutil.rmtree(work, ignore_errors=True)
