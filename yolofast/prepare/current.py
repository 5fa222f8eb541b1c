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


def settings_entry(val_fraction: float, seed: int, link: Link, label_format: str | None) -> dict[str, Any]:
    """What decides the result apart from the source, as the manifest holds it."""
    return {
        "val_fraction": val_fraction,
        "seed": seed,
        "link": link,
        "label_format": label_format,
        "version": __version__,
    }


def fingerprint(tree: FileTree) -> str:
    """A digest of the path, size and time of change of every file that a reader may look at."""
    digest = hashlib.sha256()
    files = (tree.images, tree.texts, tree.jsons, tree.xmls, tree.yamls, tree.class_files)
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
) -> bool:
    """Whether `out` holds what `prepare_dataset(source, out, ...)` with the same settings would write.

    True when `out` was made from the same source path with the same settings by the same version, the
    source's files have kept their names, sizes and times, and no image or label file of `out` is missing.
    False in doubt: also when images or labels lie outside of the source's folder. Raises nothing.
    """
    out = Path(out)
    manifest = read_manifest(out)
    if manifest is None or not (out / "data.yaml").is_file():
        return False
    tree = list_folder(source)
    return bool(
        manifest.get("source") == str(tree.root)
        and manifest.get("settings") == settings_entry(val_fraction, seed, link, label_format)
        and manifest.get("fingerprint") == fingerprint(tree)
        and _is_complete(out, manifest)
    )


def _is_complete(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folders hold exactly the images of the manifest, and each has its label file."""
    names = {split: {e["name"] for e in manifest["images"] if e["split"] == split} for split in SPLITS}
    for split, wanted in names.items():
        tree = list_folder(out / split)
        if {path.name for path in tree.images} != wanted:
            return False
        if {path.stem for path in tree.texts} != {Path(name).stem for name in wanted}:
            return False
    return True
