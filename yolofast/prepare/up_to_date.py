"""Whether a prepared folder is still up to date with its source.

Preparing reads every label and image header; this check only asks the file system for sizes and times.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from yolofast.config import PrepareConfig
from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.formats.discover import FileTree, list_dataset
from yolofast.formats.splits import SPLITS
from yolofast.prepare.manifest import is_cache, read_manifest
from yolofast.prepare.naming import PathKeys
from yolofast.prepare.settings import manifest_settings, with_options


def fingerprint(tree: FileTree) -> str:
    """A digest of the path, size and modification time of every file that a reader may use.

    The path of a data.yaml that the user named counts too.
    """
    digest, keys = hashlib.sha256(), PathKeys(tree.root)
    named = () if tree.data_yaml is None else (tree.data_yaml,)
    files = (named, tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files, tree.tables)
    for path in (path for kind in files for path in kind):
        try:
            status = os.stat(path)  # noqa: PTH116 - runs once per file of huge trees
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:  # it was removed, or cannot be accessed
            state = str(error.errno)
        digest.update(os.fsencode(keys.of(path)) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()


def prepared_is_up_to_date(
    out: str | Path, source: str | Path | FileTree, *, config: PrepareConfig | None = None, **options: Any
) -> bool:
    """Whether `out` is what `prepare_dataset(source, out)` with the same settings would write.

    True when `out` was made from the same source path with the same settings by the same version, the files
    of the source still have their names, sizes and times, and all image and label files of `out` exist with
    their sizes. False in doubt, for example when images or labels are outside the source folder. Raises
    `ConfigError` for invalid settings, and nothing else.
    """
    settings = with_options(config, options)
    try:
        tree = source if isinstance(source, FileTree) else list_dataset(source)
    except (DataError, DatasetNotFoundError):
        return False
    return up_to_date_manifest(Path(out), tree, settings) is not None


def up_to_date_manifest(out: Path, tree: FileTree, config: PrepareConfig) -> dict[str, Any] | None:
    """The manifest of `out` when it is what preparing `tree` with `config` would give, else None."""
    manifest = read_manifest(out)
    if (
        manifest is not None
        and (out / "data.yaml").is_file()
        and manifest.get("source") == str(tree.root)
        and manifest.get("settings") == manifest_settings(config)
        and manifest.get("fingerprint") == fingerprint(tree)
        and _is_complete(out, manifest)
    ):
        return manifest
    return None


_IMAGE_KEYS = {"name", "split", "bytes", "label_bytes"}


def _is_complete(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folders contain exactly the images and labels of the manifest, with their sizes."""
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
    """Name -> bytes of the files in a folder, except caches; None when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if not is_cache(entry.name)}
    except OSError:
        return None
