"""The output folder: what may be replaced, and how a finished dataset takes its place at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yolofast.errors import DataError
from yolofast.formats.splits import SPLITS
from yolofast.prepare.manifest import MADE_BY, MANIFEST, is_cache, read_manifest
from yolofast.work_folder import recover_killed, whole_folder

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
        recover_killed(out)
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DataError(f"{out}: exists and is no folder. Choose another output folder (--out).")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return
    manifest = read_manifest(out)
    if manifest is None:
        raise DataError(
            f"{out}: the folder is not empty and was not made by '{MADE_BY}' (it holds '{names[0]}'). "
            "Choose another output folder (--out), or empty this one."
        )
    foreign = [name for name in names if name not in ours and not name.endswith(".cache")]
    foreign = foreign or _added(out, manifest)
    if foreign:
        raise DataError(
            f"{out}: holds '{foreign[0]}', which preparing again would delete. Move it elsewhere, or choose "
            "another output folder (--out)."
        )


def _added(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files in a prepared folder's splits that its manifest does not have; caches do not count."""
    entries = [entry for entry in manifest.get("images", ()) if entry.get("split") in SPLITS]
    known = {f"{entry['split']}/images/{entry.get('name')}" for entry in entries}
    known |= {f"{os.path.splitext(name)[0]}.txt".replace("/images/", "/labels/", 1) for name in known}  # noqa: PTH122
    added = []
    for folder in (f"{split}/{kind}" for split in SPLITS for kind in ("images", "labels")):
        with suppress(OSError):
            here = [f"{folder}/{path.name}" for path in (out / folder).iterdir() if not is_cache(path.name)]
            added += sorted(set(here) - known)
    return added


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
