"""Whether a prepared folder still is what preparing its source again would give.

Preparing reads every label and image header; asking the file system for sizes and times does not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from yolofast import __version__
from yolofast.formats.discover import FileTree, list_folder
from yolofast.formats.splits import SPLITS
from yolofast.prepare.folder import Link, read_manifest


def settings_entry(
    val_fraction: float, seed: int, link: Link, label_format: str | None, restart_rows: int
) -> dict[str, Any]:
    """What decides the result apart from the source, as the manifest holds it."""
    return {
        "val_fraction": val_fraction,
        "seed": seed,
        "link": link,
        "label_format": label_format,
        "restart_rows": restart_rows,
        "version": __version__,
    }


def fingerprint(tree: FileTree) -> str:
    """A digest of the path, size and time of change of every file that a reader may look at."""
    digest = hashlib.sha256()
    files = (tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files, tree.tables)
    for path in (path for kind in files for path in kind):
        try:
            status = path.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:  # it went away, or cannot be looked at
            state = str(error.errno)
        digest.update(os.fsencode(tree.relative(path)) + b"\0" + state.encode() + b"\0")
    return digest.hexdigest()


def prepared_is_current(
    out: str | Path,
    source: str | Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    link: Link = "hard",
    label_format: str | None = None,
    restart_rows: int = 0,
) -> bool:
    """Whether `out` holds what `prepare_dataset(source, out, ...)` with the same settings would write.

    True when `out` was made from the same source path with the same settings by the same version, the
    source's files have kept their names, sizes and times, and no image or label file of `out` is missing.
    False in doubt: also when images or labels lie outside of the source's folder. Raises nothing.
    """
    settings = settings_entry(val_fraction, seed, link, label_format, restart_rows)
    return current_manifest(Path(out), list_folder(source), settings) is not None


def current_manifest(out: Path, tree: FileTree, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of `out` when it holds what preparing `tree` with `settings` would give, else None."""
    manifest = read_manifest(out)
    current = (
        manifest is not None
        and (out / "data.yaml").is_file()
        and manifest.get("source") == str(tree.root)
        and manifest.get("settings") == settings
        and manifest.get("fingerprint") == fingerprint(tree)
        and _is_complete(out, manifest)
    )
    return manifest if current else None


_IMAGE_KEYS = {"name", "split", "bytes", "boxes"}


def _is_complete(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folders hold exactly the images of the manifest, of their sizes, each with its labels."""
    images = manifest["images"]
    if not all(entry.keys() >= _IMAGE_KEYS for entry in images):
        return False
    sizes = {split: {e["name"]: e["bytes"] for e in images if e["split"] == split} for split in SPLITS}
    for split, wanted in sizes.items():
        tree = list_folder(out / split)
        if {path.name: path.stat().st_size for path in tree.images} != wanted:
            return False
        if {path.stem for path in tree.texts} != {Path(name).stem for name in wanted}:
            return False
    return True
