"""Whether a prepared folder is still up to date with its source.

Preparing reads every label and image header; this check asks the file system for sizes and times, and reads
only files that may have changed in spite of them (see `changes`).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
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


def fingerprint(
    tree: FileTree, suspects: Suspects | None = None, known: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A digest of the path, size and modification time of every file that a reader may use.

    The path of a data.yaml that the user named counts too. Files that may have changed since the manifest
    become `suspects`, with the SHA-256 that is `known` by their path from the root.
    """
    digest, keys = hashlib.sha256(), PathKeys(tree.root)
    since = math.inf if suspects is None else suspects.since
    named = () if tree.data_yaml is None else (tree.data_yaml,)
    files = (named, tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files, tree.tables)
    for path in (path for kind in files for path in kind):
        key = keys.of(path)
        try:
            status = os.stat(path)  # noqa: PTH116 - runs once per file of huge trees
        except OSError as error:  # it was removed, or cannot be accessed
            state = str(error.errno)
        else:
            state = f"{status.st_size} {status.st_mtime_ns}"
            if suspects is not None and status.st_ctime_ns > since:
                suspects.add(path, status, known.get(key, ""))
        digest.update(os.fsencode(f"{key}\0{state}\0"))
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
    if manifest.get("fingerprint") != fingerprint(tree, suspects, digests) or not _is_complete(
        out, manifest, suspects
    ):
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
    since = suspects.since
    for folder, listed in listed_files(out, manifest):
        present = present_files(folder)
        if present is None or present.keys() != listed.keys():
            return False
        for name, (size, sha256) in listed.items():
            status = present[name]
            if status.st_size != size:
                return False
            if status.st_ctime_ns > since:
                suspects.add(folder / name, status, sha256)
    return True
