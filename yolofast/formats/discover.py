"""Discovers the files below a folder: a safe walk of the tree, with each file sorted by kind.

This is the only module that walks the directory tree, so symlink loops, hidden files and unusual names
are handled once. File contents are not read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.formats.splits import split_of
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Finding, Split

CLASS_FILE_NAMES = frozenset(
    {
        "classes.txt",
        "class_names.txt",
        "names.txt",
        "labels.txt",
        "label_map.txt",
        "predefined_classes.txt",
        "_darknet.labels",
        "classes.json",
        "class_names.json",
        "class_indices.json",
        "label_map.json",
    }
)
CLASS_FILE_SUFFIXES = frozenset({".names", ".pbtxt"})
SKIPPED_FOLDERS = frozenset({"__MACOSX", "__pycache__"})


@dataclass(frozen=True, slots=True)
class FileTree:
    """The files below a folder by kind, each tuple sorted by path; hidden files are skipped."""

    root: Path
    images: tuple[Path, ...]
    texts: tuple[Path, ...]
    jsons: tuple[Path, ...]
    xmls: tuple[Path, ...]
    yamls: tuple[Path, ...]
    class_files: tuple[Path, ...]
    findings: tuple[Finding, ...]
    tables: tuple[Path, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What `file_kinds` has found out about the files: each is looked at once, whatever reader asks."""

    def relative(self, path: Path) -> str:
        """`path` relative to the root, with forward slashes; unchanged when it lies outside the root."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def folder_split(self, path: Path) -> Split | None:
        """The split that the folders between the root and the file `path` name."""
        return split_of(path.relative_to(self.root).parent)


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


def _walk(root: Path, findings: list[Finding]) -> Iterator[str]:
    """Paths of all files below `root`, unordered; each real folder is entered once, so symlink loops end.

    Linked folders are entered last: a folder that is also reachable without a link keeps its own name.
    """
    visited: set[tuple[int, int]] = set()
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
                    if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
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


def in_path_order(names: Iterable[str]) -> list[str]:
    """Names sorted as `Path` sorts them, folder by folder."""
    # No name contains NUL, which sorts below every other character: so paths compare part by part.
    return sorted(names, key=lambda name: name.replace(os.sep, "\0"))


def image_names(folder: Path) -> list[str]:
    """The paths of the images of `list_folder`, unordered."""
    suffixes = tuple(IMAGE_SUFFIXES)
    root = os.path.abspath(folder)  # noqa: PTH100 - resolve() would follow symlinks
    return [name for name in _walk(Path(root), []) if name.lower().endswith(suffixes)]


def list_folder(root: str | Path) -> FileTree:
    """All files below `root` by kind. Symlinks are followed; each real folder is entered once.

    Unreadable folders and broken links become findings. An empty or missing folder gives an empty tree.
    """
    root = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would follow symlinks
    findings: list[Finding] = []
    kinds: dict[str, list[str]] = {k: [] for k in ("image", "text", "json", "xml", "yaml", "class", "table")}
    by_suffix = {".txt": "text", ".json": "json", ".xml": "xml", ".yaml": "yaml", ".yml": "yaml"}
    by_suffix |= {".csv": "table", ".tsv": "table", ".ndjson": "json", ".jsonl": "json"}
    by_suffix |= dict.fromkeys(IMAGE_SUFFIXES, "image")
    for name in _walk(root, findings):
        base = name[name.rfind(os.sep) + 1 :].lower()
        suffix = os.path.splitext(base)[1]  # noqa: PTH122
        if base in CLASS_FILE_NAMES or suffix in CLASS_FILE_SUFFIXES:
            kinds["class"].append(name)
        elif suffix in by_suffix:
            kinds[by_suffix[suffix]].append(name)
    ordered = {kind: tuple(map(Path, in_path_order(names))) for kind, names in kinds.items()}
    return FileTree(
        root,
        ordered["image"],
        ordered["text"],
        ordered["json"],
        ordered["xml"],
        ordered["yaml"],
        ordered["class"],
        tuple(findings),
        ordered["table"],
    )


def check_folder(path: Path) -> None:
    """Raise `DatasetNotFoundError` when `path` does not exist, `DataError` when it is not a folder."""
    if not path.exists():
        raise DatasetNotFoundError(f"{path}: no such folder. Give the folder with your images and labels.")
    if not path.is_dir():
        raise DataError(
            f"{path}: got a file, expected a dataset folder (unpack an archive first: yolofast fetch)."
        )


def scan_dataset(path: str | Path | FileTree) -> FileTree:
    """The file tree of a dataset folder that contains images. A tree that was scanned before is returned.

    Raises `DatasetNotFoundError` when `path` does not exist, and `DataError` when it is a file, an empty
    folder, or a folder without a single image.
    """
    if isinstance(path, FileTree):
        return path
    path = Path(path)
    check_folder(path)
    tree = list_folder(path)
    if not tree.images:
        if next(iter(path.iterdir()), None) is None:
            raise DataError(f"{path}: the folder is empty. Put images and labels into it.")
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{path}: no images here or in folders below. Expected files such as {suffixes}.")
    return tree
