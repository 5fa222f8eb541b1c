"""Whether a prepared folder is still up to date with its source.

Preparing reads every label and image header; this check asks the file system for sizes and times, and reads
only files that may have changed in spite of them (see `changes`).
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yolofast.config import PrepareConfig
from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.formats.discover import FileTree, list_dataset
from yolofast.prepare.changes import (
    Suspects,
    is_whole,
    listed_files,
    present_files,
    set_manifest_time,
)
from yolofast.prepare.manifest import checked_manifest
from yolofast.prepare.naming import PathKeys
from yolofast.prepare.settings import manifest_settings, with_options

_SAID_BYTES = 1 << 30
"""Bytes to compare above which a warning says so: it takes seconds."""
_log = logging.getLogger(__name__)


def fingerprint(tree: FileTree, seen: Callable[[Path, str, os.stat_result], None] | None = None) -> str:
    """A digest of the path, size and modification time of every file that a reader may use.

    The path of a data.yaml that the user named counts too. `seen` is told path, key and status of each file.
    """
    digest, keys = hashlib.sha256(), PathKeys(tree.root)
    named = () if tree.data_yaml is None else (tree.data_yaml,)
    files = (named, tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files, tree.tables)
    for path in (path for kind in files for path in kind):
        try:
            status = os.stat(path)  # noqa: PTH116 - runs once per file of huge trees
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:  # it was removed, or cannot be accessed
            status, state = None, str(error.errno)
        key = keys.of(path)
        if seen is not None and status is not None:
            seen(path, key, status)
        digest.update(os.fsencode(key) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()


def prepared_is_up_to_date(
    out: str | Path, source: str | Path | FileTree, *, config: PrepareConfig | None = None, **options: Any
) -> bool:
    """Whether `out` is what `prepare_dataset(source, out)` with the same settings would write.

    True when `out` was made from the same source path with the same settings by the same version, the files
    of the source still have their names, sizes, times and bytes, and all image and label files of `out` exist
    with their sizes and bytes. Bytes are read only where the file system says that a file may have changed
    since (`changes`). False in doubt, for example when images or labels are outside the source folder. Raises
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
    manifest, is_damaged = checked_manifest(out)
    if (
        manifest is None
        or is_damaged
        or not (out / "data.yaml").is_file()
        or manifest.get("source") != str(tree.root)
        or manifest.get("settings") != manifest_settings(config)
        or not is_whole(manifest)
    ):
        return None
    suspects = Suspects(out)
    digests = {entry["source"]: entry["sha256"] for entry in manifest["images"]}
    state = fingerprint(tree, lambda path, key, status: suspects.add(path, status, digests.get(key, "")))
    if manifest.get("fingerprint") != state or not _is_complete(out, manifest, suspects):
        return None
    if suspects.size > _SAID_BYTES:
        _log.warning(
            "%s: reading %.1f GB to see whether files have changed, as the file system says they may have: "
            "copies, and images with more or fewer hard links than before, look so.",
            out,
            suspects.size / 1e9,
        )
    if any(True for _ in suspects.changed()):
        return None
    if suspects.latest is not None:
        set_manifest_time(out, suspects.latest)
    return manifest


def _is_complete(out: Path, manifest: dict[str, Any], suspects: Suspects) -> bool:
    """Whether the folders contain exactly the images and labels of the manifest, with their sizes."""
    for folder, listed in listed_files(out, manifest):
        present = present_files(folder)
        if present is None or present.keys() != listed.keys():
            return False
        where = str(folder)
        for name, (size, sha256) in listed.items():
            if present[name].st_size != size:
                return False
            suspects.add(f"{where}/{name}", present[name], sha256)
    return True
