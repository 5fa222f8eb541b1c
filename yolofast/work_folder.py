"""Folders that are written atomically.

Everything is written to a hidden work folder next to the target. It has a unique name and contains a marker
file, so that the remains of a killed run can be distinguished from a user's folder and cleaned up.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARKER = "made-by-yolofast"
_NEW, _OLD = "new", "old"
_BUILDING = "building"


@contextmanager
def work_folder(target: Path, purpose: str) -> Iterator[Path]:
    """An empty hidden folder next to `target`, removed when the block ends.

    First recovers from a killed run with the same target and purpose (`recover_killed`). Creates the parent
    folder. Raises `OSError` when it is not writable.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_killed(target, purpose)
    work = Path(tempfile.mkdtemp(prefix=_prefix(target, purpose), dir=target.parent))
    try:
        mark_folder(work, target)
        yield work
    finally:
        _settle(work, target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """The path of a folder to create, which replaces `target` when the block succeeds.

    Otherwise `target` stays as it was; when the run is killed at any point, the next one restores the old
    folder. Raises `OSError` when something cannot be written.
    """
    with work_folder(target, _BUILDING) as work:
        yield work / _NEW
        if target.exists():
            target.rename(work / _OLD)
        (work / _NEW).rename(target)


def recover_killed(target: Path, purpose: str = _BUILDING) -> None:
    """Restore or clean up after a killed run with the same target and purpose; raises `OSError`."""
    if not target.parent.is_dir():
        return
    prefix = _prefix(target, purpose)
    for entry in list(target.parent.iterdir()):
        if not entry.name.startswith(prefix):
            continue
        if _is_marked(entry, target):
            _settle(entry, target)
        else:  # killed before the marker was written, or after it was removed: the folder is empty
            with suppress(OSError):
                entry.rmdir()


def mark_folder(folder: Path, target: Path) -> None:
    """Mark a folder as work for `target`."""
    (folder / MARKER).write_text(target.name, encoding="utf-8", errors="surrogateescape")


def marked_target(folder: Path) -> str | None:
    """The name of the target in the marker of a folder; None without a marker."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _prefix(target: Path, purpose: str) -> str:
    return f".{target.name}.{purpose}-"


def _is_marked(folder: Path, target: Path) -> bool:
    """Whether a folder is a work folder of `target`."""
    return marked_target(folder) in (target.name, "")  # empty: killed while it was written


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
