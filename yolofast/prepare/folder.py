"""The output folder: what may be replaced, and how a finished dataset takes its place at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.splits import SPLITS
from yolofast.prepare.manifest import MADE_BY, MANIFEST, read_manifest
from yolofast.work_folder import settle_killed, whole_folder

_OURS = frozenset({*SPLITS, "data.yaml", MANIFEST})


def _real(path: Path) -> Path:
    return path.resolve()


def default_output(source: Path, to: str = "yolo") -> Path:
    """Where a dataset goes when nothing else is said: `<name>_yolo` (or another format) beside the source."""
    absolute = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would follow a link elsewhere
    return absolute.with_name(f"{absolute.name}_{to}")


def check_output(source: Path, out: Path, ours: frozenset[str] = _OURS) -> None:
    """Refuse an output folder that would touch the source or somebody's files; raises `DataError`.

    What a killed run left beside it is put right first: where the dataset is found complete, nothing else
    would. `ours`: the names in a folder made before that may be replaced.
    """
    inner, outer = _real(out), _real(source)
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise DataError(
            f"{out}: got an output folder that is, holds or lies in the source {source}. "
            "Choose another output folder (--out), outside of it."
        )
    with suppress(OSError):  # what cannot be put right does not matter unless something is to be built
        settle_killed(out)
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DataError(f"{out}: exists and is no folder. Choose another output folder (--out).")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return
    if read_manifest(out) is None:
        raise DataError(
            f"{out}: the folder is not empty and was not made by '{MADE_BY}' (it holds '{names[0]}'). "
            "Choose another output folder (--out), or empty this one."
        )
    foreign = [name for name in names if name not in ours and not name.endswith(".cache")]
    if foreign:
        raise DataError(
            f"{out}: holds '{foreign[0]}', which preparing again would delete. Move it elsewhere, or choose "
            "another output folder (--out)."
        )


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A folder to build in, which becomes `out` when the block ends well.

    Whatever goes wrong, `out` is the old dataset or the complete one (`whole_folder`). Raises
    `DataError` when it cannot be written.
    """
    try:
        with whole_folder(out) as work:
            work.mkdir()
            yield work
    except OSError as error:
        place = error.filename or out
        raise DataError(
            f"{out}: cannot be written: {error.strerror} ('{place}'). "
            "Choose another output folder (--out): one that you may write to, with enough space."
        ) from None
