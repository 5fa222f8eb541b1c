"""The output folder: what may be replaced, and how a finished dataset takes its place at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from yolofast.errors import DataError
from yolofast.formats.splits import SPLITS

Link = Literal["hard", "copy"]

MANIFEST = "manifest.json"
MADE_BY = "yolofast prepare"
_OURS = frozenset({*SPLITS, "data.yaml", MANIFEST})


def _real(path: Path) -> Path:
    return path.resolve()


def check_output(source: Path, out: Path) -> None:
    """Refuse an output folder that would touch the source or somebody's files; raises `DataError`."""
    inner, outer = _real(out), _real(source)
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise DataError(
            f"{out}: got an output folder that is, holds or lies in the source {source}. "
            "Choose a folder outside of it with out=..."
        )
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DataError(f"{out}: exists and is no folder. Choose another output folder with out=...")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return
    if not _is_ours(out / MANIFEST):
        raise DataError(
            f"{out}: the folder is not empty and was not made by '{MADE_BY}' (it holds '{names[0]}'). "
            "Choose another output folder with out=..., or empty this one."
        )
    foreign = [name for name in names if name not in _OURS and not name.endswith(".cache")]
    if foreign:
        raise DataError(
            f"{out}: holds '{foreign[0]}', which preparing again would delete. Move it elsewhere, or choose "
            "another output folder with out=..."
        )


def _is_ours(manifest: Path) -> bool:
    try:
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("made_by") == MADE_BY


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` to build in, which becomes `out` when the block ends well.

    Whatever goes wrong, `out` is the old dataset or the complete one, and nothing else is left
    behind. What a killed run left is removed by the next. Raises `DataError` when it cannot be written.
    """
    work, old = out.with_name(f".{out.name}.building"), out.with_name(f".{out.name}.old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for leftover in (work, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        work.mkdir()
        try:
            yield work
            if out.exists():
                out.rename(old)
            work.rename(out)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        if old.exists():
            shutil.rmtree(old)
    except OSError as error:
        place = error.filename or out
        raise DataError(
            f"{out}: cannot be written: {error.strerror} ('{place}'). "
            "Choose an output folder that you may write to, with enough space, with out=..."
        ) from None


def place_image(source: Path, target: Path, link: Link) -> None:
    """Put the image at `target`: a hard link (no space) where that works, else a copy.

    A symlinked image is followed, so the prepared dataset never depends on a link staying valid.
    """
    if link == "hard":
        try:
            os.link(source.resolve(), target)
        except OSError:  # another file system, no permission, too many links: a copy always serves
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)
