"""The output folder: what may be replaced, and how a finished dataset replaces it atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yolofast.errors import DataError
from yolofast.formats.splits import SPLITS
from yolofast.prepare.manifest import MADE_BY, MANIFEST, is_cache, read_manifest
from yolofast.work_folder import atomic_folder, only_writer, recover_killed

_OURS = frozenset({*SPLITS, "data.yaml", MANIFEST})


def default_output(source: Path, to: str = "yolo") -> Path:
    """The default output folder: `<name>_yolo` (or the name of another format) next to the source."""
    absolute = Path(os.path.abspath(source))  # noqa: PTH100 - resolve() would follow a link elsewhere
    return absolute.with_name(f"{absolute.name}_{to}")


def check_output(source: Path, out: Path, ours: frozenset[str] = _OURS) -> None:
    """Refuse an output folder that overlaps the source or has files of the user; raises `DataError`.

    First recovers from a killed run: when the dataset turns out to be complete, nothing else would. `ours`
    are the names in an earlier output folder that may be replaced.
    """
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise DataError(
            f"{out}: got an output folder that is, contains or is inside the source {source}. "
            "Choose an output folder outside of it (--out)."
        )
    with suppress(OSError):  # a failed recovery only matters if something has to be built
        recover_killed(out)
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DataError(f"{out}: exists and is not a folder. Choose another output folder (--out).")
    names = sorted(entry.name for entry in out.iterdir())
    if not names:
        return
    manifest = read_manifest(out)
    if manifest is None:
        raise DataError(
            f"{out}: the folder is not empty and was not made by '{MADE_BY}' (it contains '{names[0]}'). "
            "Choose another output folder (--out), or empty this one."
        )
    added = [name for name in names if name not in ours and not name.endswith(".cache")]
    added = added or _added_files(out, manifest)
    if added:
        raise DataError(
            f"{out}: contains '{added[0]}', which preparing again would delete. Move it elsewhere, or choose "
            "another output folder (--out)."
        )


def _added_files(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files in the splits of a prepared folder that its manifest does not list, except caches."""
    entries = [entry for entry in manifest.get("images", ()) if entry.get("split") in SPLITS]
    known = {f"{entry['split']}/images/{entry.get('name')}" for entry in entries}
    known |= {f"{os.path.splitext(name)[0]}.txt".replace("/images/", "/labels/", 1) for name in known}  # noqa: PTH122
    added = []
    for folder in (f"{split}/{kind}" for split in SPLITS for kind in ("images", "labels")):
        with suppress(OSError):
            here = [f"{folder}/{name}" for name in os.listdir(out / folder) if not is_cache(name)]  # noqa: PTH208
            added += sorted(set(here) - known)
    return added


@contextmanager
def writing(out: Path) -> Iterator[bool]:
    """Be the only run that writes `out`; yields whether another one had to be waited for (`only_writer`).

    Raises `DataError` when it cannot be written.
    """
    with _write_errors(out), only_writer(out) as waited:
        yield waited


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A folder to build in, which becomes `out` when the block succeeds; inside of `writing(out)`.

    On any failure `out` is the old dataset or the complete new one (`atomic_folder`). Raises `DataError` when
    it cannot be written.
    """
    with _write_errors(out), atomic_folder(out) as work:
        work.mkdir()
        yield work


@contextmanager
def _write_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written: {error.strerror} ('{error.filename or out}'). "
            "Choose another output folder (--out) that is writable and has enough space."
        ) from None
