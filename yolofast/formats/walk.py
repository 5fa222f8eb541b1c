"""Walks the folders below a root safely: symlink loops, hidden files and unusual names are handled once.

This is the only module that walks the directory tree. File contents are not read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Finding

_SUFFIXES = tuple(IMAGE_SUFFIXES)
SKIPPED_FOLDERS = frozenset({"__MACOSX", "__pycache__"})


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "broken", "other"]:
    """What an entry resolves to; a link to nothing or to itself is broken, a socket is other."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # a link that leads back to itself
        return "broken"
    return "broken" if entry.is_symlink() else "other"


def walk(root: Path, findings: list[Finding]) -> Iterator[str]:
    """Paths of all files below `root`, unordered; each real folder is entered once, so symlink loops end.

    Linked folders are entered last: a folder that is also reachable without a link keeps its own name.
    """
    visited: set[tuple[int, int]] = set()
    hidden: list[str] = []
    pending, linked = [os.fspath(root)], list[str]()
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        try:
            status = os.stat(folder)  # noqa: PTH116 - strings are faster: runs once per folder of huge trees
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            others = []
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        if _is_hidden_image(entry.name):
                            hidden.append(entry.path)
                        continue
                    if entry.name in SKIPPED_FOLDERS:
                        continue
                    kind = _kind(entry)
                    if kind == "file":
                        yield entry.path
                    elif kind != "other":
                        others.append((entry.path, kind, entry.is_symlink()))
            for path, kind, is_link in sorted(others):
                if kind == "folder":
                    (linked if is_link else pending).append(path)
                else:
                    message = f"a link to '{os.readlink(path)}', which leads nowhere"  # noqa: PTH115
                    findings.append(Finding("warning", "link-broken", message, path))
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            findings.append(Finding("error", "folder-unreadable", message, folder))
    if hidden:
        what = "1 image is" if len(hidden) == 1 else f"{len(hidden)} images are"
        message = f"{what} hidden by a name that begins with a dot, and not read. Rename what is data"
        findings.append(Finding("info", "image-hidden", message, min(hidden), count=len(hidden)))


def _is_hidden_image(name: str) -> bool:
    """Whether a name that begins with a dot is that of an image; `._name` is what macOS adds to each file."""
    return not name.startswith("._") and name.lower().endswith(_SUFFIXES)


def in_path_order(names: Iterable[str]) -> list[str]:
    """Names sorted as `Path` sorts them, folder by folder."""
    # No name contains NUL, which sorts below every other character: so paths compare part by part.
    return sorted(names, key=lambda name: name.replace(os.sep, "\0"))


def image_names(folder: Path) -> list[str]:
    """The paths of the images below a folder, unordered."""
    root = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow symlinks
    return [name for name in walk(Path(root), []) if name.lower().endswith(_SUFFIXES)]
