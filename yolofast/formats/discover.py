"""Discovers the files of a dataset, sorted by kind: below a folder, or of the data.yaml that is given."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from yolofast.errors import DataError, DatasetNotFoundError
from yolofast.formats.data_yaml import dataset_folder, read_data_yaml
from yolofast.formats.splits import split_of
from yolofast.formats.walk import in_path_order, walk
from yolofast.images import IMAGE_SUFFIXES, UNREAD_SUFFIXES
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
YAML_SUFFIXES = frozenset({".yaml", ".yml"})
UNREAD_LABELS = {
    ".tfrecord": "TFRecord",
    ".tfrecords": "TFRecord",
    ".record": "TFRecord",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".mat": "MATLAB",
}
"""Suffixes of files that may hold labels in formats that are not read; they are named, never opened."""


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
    data_yaml: Path | None = None
    """The data.yaml that the user named instead of a folder: it alone describes the dataset."""
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What `file_kinds` has found out about the files: each is looked at once, whatever reader asks."""

    def relative(self, path: Path) -> str:
        """`path` relative to the root, with forward slashes; unchanged when it lies outside the root."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def folder_split(self, path: Path) -> Split | None:
        """The split that the folders between the root and the file `path` name."""
        return split_of(path.relative_to(self.root).parent)


def _unread_images(suffix: str, names: list[str]) -> Finding:
    count = f"{len(names)} {suffix} image{'s are' if len(names) > 1 else ' is'} not read"
    message = f"{count}. Convert {'them' if len(names) > 1 else 'it'} to JPEG or PNG"
    return Finding("warning", "image-suffix", message, min(names), count=len(names))


def _unread_labels(suffix: str, names: list[str]) -> Finding:
    count = f"{len(names)} {UNREAD_LABELS[suffix]} file{'s are' if len(names) > 1 else ' is'} not read"
    message = f"{count}. If these are the labels, export or convert them to COCO or YOLO"
    return Finding("info", "label-suffix", message, min(names), count=len(names))


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
    unread: dict[str, list[str]] = {}
    labels: dict[str, list[str]] = {}
    for name in walk(root, findings):
        base = name[name.rfind(os.sep) + 1 :].lower()
        suffix = base[dot:] if (dot := base.rfind(".")) > 0 else ""  # no name here begins with a dot
        if base in CLASS_FILE_NAMES or suffix in CLASS_FILE_SUFFIXES:
            kinds["class"].append(name)
        elif suffix in by_suffix:
            kinds[by_suffix[suffix]].append(name)
        elif suffix in UNREAD_SUFFIXES:
            unread.setdefault(suffix, []).append(name)
        elif suffix in UNREAD_LABELS or ".tfrecord-" in base:  # shards: train.tfrecord-00000-of-00010
            labels.setdefault(suffix if suffix in UNREAD_LABELS else ".tfrecord", []).append(name)
    findings += [_unread_images(suffix, names) for suffix, names in sorted(unread.items())]
    findings += [_unread_labels(suffix, names) for suffix, names in sorted(labels.items())]
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


def list_dataset(path: str | Path) -> FileTree:
    """The file tree of a dataset, given as its folder or as its data.yaml; it may be without images.

    Raises `DatasetNotFoundError` when `path` does not exist, and `DataError` when it is another file, or a
    data.yaml that is invalid.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetNotFoundError(
            f"{path}: no such folder. Give the folder with your images and labels, or its data.yaml."
        )
    if path.is_dir():
        return list_folder(path)
    if path.suffix.lower() not in YAML_SUFFIXES:
        raise DataError(
            f"{path}: got a file, expected a dataset folder or a data.yaml (unpack an archive first: "
            "yolofast fetch)."
        )

    data = read_data_yaml(path)
    return replace(list_folder(dataset_folder(data)), data_yaml=data.path)


def scan_dataset(path: str | Path | FileTree) -> FileTree:
    """The file tree of a dataset (`list_dataset`) with images. A tree that was scanned before is returned.

    Raises `DatasetNotFoundError` when `path` does not exist, and `DataError` when it is a file other than a
    data.yaml, an empty folder, or without a single image.
    """
    if isinstance(path, FileTree):
        return path
    path = Path(path)
    tree = list_dataset(path)
    if not tree.images:
        if next(iter(tree.root.iterdir()), None) is None:
            raise DataError(f"{path}: the folder is empty. Put images and labels into it.")
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        unread = "".join(
            f" {f.file}: {f.message}." for f in tree.findings if f.code in ("image-suffix", "label-suffix")
        )
        raise DataError(
            f"{path}: no images here or in folders below. Expected files such as {suffixes}.{unread}"
        )
    return tree
