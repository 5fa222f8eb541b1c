"""Which files have changed since a dataset was prepared, also where their sizes and times are as before.

A file system itself sets the status time (ctime) of a file when its bytes, name, mode or number of hard links
change; programs cannot set it back. A file whose status time is not later than the time of manifest.json is
as it was then. Any other is compared by its digest, because a hard link more or less changes no byte.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from yolofast.formats.splits import SPLITS
from yolofast.prepare.image_writer import file_digest
from yolofast.prepare.manifest import (
    DATA_YAML_KEY,
    MANIFEST,
    checked_manifest,
    data_yaml_sha256,
    is_cache,
)
from yolofast.threads import map_in_threads

MAX_COMPARED, MAX_COMPARED_BYTES = 1000, 1 << 27
"""Files, and their bytes, that `changed_files` reads at most: those that changed last. A file system says
of all files of a copy, or of one whose source was removed, that they may have changed."""
_IMAGE_KEYS = frozenset({"name", "split", "bytes", "sha256", "label_bytes", "label_sha256"})


class Suspects:
    """Files that may have changed since the manifest of the prepared folder `out`."""

    def __init__(self, out: Path) -> None:
        self.since = manifest_time(out)
        """Status time (ns): a file that has a later one may have changed."""
        self._files: dict[tuple[int, int, str], tuple[int, str, int]] = {}

    def add(self, path: str | Path, status: os.stat_result, sha256: str) -> None:
        """Add a file; `sha256` (hex) is that of its bytes at the time `since`, '' = unknown."""
        key = status.st_dev, status.st_ino, sha256  # hard links to one file are compared once
        self._files.setdefault(key, (status.st_ctime_ns, str(path), status.st_size))

    @property
    def latest(self) -> int | None:
        """The latest status time (ns); None where there are no suspects."""
        return max((time for time, _, _ in self._files.values()), default=None)

    @property
    def size(self) -> int:
        """Bytes to read to compare all."""
        return sum(size for _, _, size in self._files.values())

    def limit(self, files: int, size: int) -> bool:
        """Keep those that changed last, at most so many `files` of `size` bytes together; whether all fit."""
        latest = sorted(self._files.items(), key=lambda item: item[1], reverse=True)
        total = list(accumulate(file[2] for _, file in latest))
        self._files = dict(latest[: min(files, bisect_right(total, size))])
        return len(self._files) == len(latest)

    def changed(self) -> Iterator[str]:
        """Those whose bytes are others, or cannot be read."""
        found = [(path, sha256) for (_, _, sha256), (_, path, _) in self._files.items()]
        known = [(path, sha256) for path, sha256 in found if sha256]
        yield from (path for path, sha256 in found if not sha256)
        digests = map_in_threads(_digest, [path for path, _ in known])
        yield from (path for (path, sha256), digest in zip(known, digests, strict=True) if digest != sha256)


def changed_files(out: Path) -> list[str]:
    """The images, labels, data.yaml and manifest of a prepared folder that are no longer those that were
    written, sorted.

    Of files with the same size and a later status time, the latest are read, as far as `MAX_COMPARED` and
    `MAX_COMPARED_BYTES` go; when these are all, and nothing has changed, they are not read again. Files that
    are missing, or were added, do not count. Empty for a folder that was not prepared.
    """
    manifest, is_damaged = checked_manifest(out)
    changed = [str(out / MANIFEST)] if is_damaged else []
    if manifest is None or not is_whole(manifest):
        return changed
    if manifest.get(DATA_YAML_KEY, now := data_yaml_sha256(out)) != now:
        changed.append(str(out / "data.yaml"))
    suspects = Suspects(out)
    for entry in manifest["images"]:
        folder = f"{out}/{entry['split']}"
        for path, size, sha256 in (
            (f"{folder}/images/{entry['name']}", entry["bytes"], entry["sha256"]),
            (f"{folder}/labels/{_label_name(entry)}", entry["label_bytes"], entry["label_sha256"]),
        ):
            try:
                status = os.stat(path)  # noqa: PTH116 - runs once per file of large datasets
            except OSError:
                continue
            if status.st_size != size:
                changed.append(path)
            elif status.st_ctime_ns > suspects.since:
                suspects.add(path, status, sha256)
    latest, all_compared = suspects.latest, suspects.limit(MAX_COMPARED, MAX_COMPARED_BYTES)
    changed += suspects.changed()
    if latest is not None and all_compared and not changed:
        set_manifest_time(out, latest)
    return sorted(changed)


def has_hard_links(root: Path) -> bool:
    """Whether a file below `root` is also elsewhere, so that editing it in place changes it there, too."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)  # noqa: PTH118
    return any(os.lstat(file).st_nlink > 1 for file in files)


def manifest_time(out: Path) -> int:
    """Until when (ns) the manifest of `out` describes it; 0 without one."""
    try:
        return (out / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0


def set_manifest_time(out: Path, time_ns: int | None = None) -> None:
    """Say that the manifest of `out` describes it until a time; omitted means now."""
    with suppress(OSError):  # a read-only folder: the next check compares again
        if time_ns is None:
            os.utime(out / MANIFEST)  # by the clock of the file system, as the status times are
        else:
            os.utime(out / MANIFEST, ns=(time_ns, time_ns))


def is_whole(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest has all that is compared."""
    entries = manifest.get("images")
    return isinstance(entries, list) and all(
        isinstance(entry, dict) and entry.keys() >= _IMAGE_KEYS and isinstance(entry["name"], str)
        for entry in entries
    )


def listed_files(out: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, tuple[int, str]]]]:
    """The folders of images and labels, with bytes and SHA-256 (hex) of their files by name."""
    by_split: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for entry in manifest["images"]:
        by_split.setdefault(entry["split"], []).append(entry)
    for split in SPLITS:
        entries = by_split[split]
        yield out / split / "images", {e["name"]: (e["bytes"], e["sha256"]) for e in entries}
        yield out / split / "labels", {_label_name(e): (e["label_bytes"], e["label_sha256"]) for e in entries}


def _label_name(entry: Mapping[str, Any]) -> str:
    stem, _, _ = entry["name"].rpartition(".")
    return f"{stem}.txt"


def present_files(folder: Path) -> dict[str, os.stat_result] | None:
    """Name -> status of the files in a folder, except caches; None when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat() for entry in entries if not is_cache(entry.name)}
    except OSError:
        return None


def _digest(path: str) -> str:
    """SHA-256 (hex) of a file; '' when it cannot be read."""
    try:
        return file_digest(path)[1].hex()
    except OSError:
        return ""
