"""Whether a prepared folder still is what preparing its source again would give.

Preparing reads every label and image header; asking the file system for sizes and times does not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolofast.formats.discover import FileTree, list_folder
from yolofast.formats.splits import SPLITS
from yolofast.prepare.manifest import is_cache, read_manifest
from yolofast.prepare.naming import PathKeys
from yolofast.prepare.settings import Link, Settings


def fingerprint(tree: FileTree) -> str:
    """A digest of the path, size and time of change of every file that a reader may look at."""
    digest, keys = hashlib.sha256(), PathKeys(tree.root)
    files = (tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files, tree.tables)
    for path in (path for kind in files for path in kind):
        try:
            status = os.stat(path)  # noqa: PTH116 - once for each file of huge trees
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:  # it went away, or cannot be looked at
            state = str(error.errno)
        digest.update(os.fsencode(keys.of(path)) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()


def prepared_is_up_to_date(
    out: str | Path,
    source: str | Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    link: Link = "hard",
    label_format: str | None = None,
    restart_rows: int = 0,
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] | None = None,
    drop_empty: bool = False,
    max_side: int | None = None,
    quality: int = 90,
) -> bool:
    """Whether `out` holds what `prepare_dataset(source, out, ...)` with the same settings would write.

    True when `out` was made from the same source path with the same settings by the same version, the
    source's files have kept their names, sizes and times, and all image and label files of `out` are there
    in their sizes. False in doubt: also when images or labels lie outside of the source's folder. Raises
    `DataError` for settings that make no sense, and nothing else.
    """
    settings = Settings.of(
        val_fraction=val_fraction,
        seed=seed,
        link=link,
        label_format=label_format,
        restart_rows=restart_rows,
        rename=rename,
        drop=drop,
        keep=keep,
        drop_empty=drop_empty,
        max_side=max_side,
        quality=quality,
    )
    return up_to_date_manifest(Path(out), list_folder(source), settings) is not None


def up_to_date_manifest(out: Path, tree: FileTree, settings: Settings) -> dict[str, Any] | None:
    """The manifest of `out` when it holds what preparing `tree` with `settings` would give, else None."""
    manifest = read_manifest(out)
    current = (
        manifest is not None
        and (out / "data.yaml").is_file()
        and manifest.get("source") == str(tree.root)
        and manifest.get("settings") == settings.entry()
        and manifest.get("fingerprint") == fingerprint(tree)
        and _is_complete(out, manifest)
    )
    return manifest if current else None


_IMAGE_KEYS = {"name", "split", "bytes", "label_bytes"}


def _is_complete(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folders hold exactly the images and labels of the manifest, in their sizes."""
    images = manifest["images"]
    if not all(entry.keys() >= _IMAGE_KEYS for entry in images):
        return False
    for split in SPLITS:
        here = [entry for entry in images if entry["split"] == split]
        labels = {os.path.splitext(e["name"])[0] + ".txt": e["label_bytes"] for e in here}  # noqa: PTH122
        if _sizes(out / split / "images") != {entry["name"]: entry["bytes"] for entry in here}:
            return False
        if _sizes(out / split / "labels") != labels:
            return False
    return True


def _sizes(folder: Path) -> dict[str, int] | None:
    """Name -> bytes of the files in a folder, caches left out; None when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if not is_cache(entry.name)}
    except OSError:
        return None
