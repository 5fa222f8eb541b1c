"""Folders that appear whole or not at all.

Everything is made in a hidden work folder beside the target. It has a name that nobody else has and a
marker file inside, so that what a killed run left can be told from a user's folder and cleaned up.
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
    """An empty hidden folder beside `target`, removed when the block ends.

    What a killed run with the same target and purpose left is put right first (`recover_killed`). Makes
    the parent folder. Raises `OSError` when nothing can be written there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_killed(target, purpose)
    work = Path(tempfile.mkdtemp(prefix=_prefix(target, purpose), dir=target.parent))
    try:
        (work / MARKER).write_text(target.name, encoding="utf-8", errors="surrogateescape")
        yield work
    finally:
        _settle(work, target)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """The path of a folder to be made, which takes the place of `target` when the block ends well.

    Otherwise `target` stays or becomes what it was, also when the run is killed at any point: the next
    one puts the old folder back. Raises `OSError` when something cannot be written.
    """
    with work_folder(target, _BUILDING) as work:
        yield work / _NEW
        if target.exists():
            target.rename(work / _OLD)
        (work / _NEW).rename(target)


def recover_killed(target: Path, purpose: str = _BUILDING) -> None:
    """Put right what a killed run with the same target and purpose left beside it; raises `OSError`."""
    if not target.parent.is_dir():
        return
    prefix = _prefix(target, purpose)
    for entry in list(target.parent.iterdir()):
        if not entry.name.startswith(prefix):
            continue
        if _is_marked(entry, target):
            _settle(entry, target)
        else:  # killed before the marker was there, or after it was gone: nothing lies in it
            with suppress(OSError):
                entry.rmdir()


def _prefix(target: Path, purpose: str) -> str:
    return f".{target.name}.{purpose}-"


def _is_marked(folder: Path, target: Path) -> bool:
    """Whether a folder is a work folder of `target`."""
    try:
        marker = (folder / MARKER).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return target.name == marker or not marker  # empty: killed before it was written


def _settle(work: Path, target: Path) -> None:
    """Put the old folder back when nothing took its place, then remove the work folder, its marker last.

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
