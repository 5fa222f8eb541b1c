"""Opens every label format that a folder holds, turning what prevents it into findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import DataError
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.registry import READERS, choose_format, find_label_files
from yolofast.types import Finding


@dataclass(frozen=True, slots=True)
class OpenedFolder:
    """The label files of a tree by format, the datasets that could be opened, and what went wrong."""

    label_files: Mapping[str, tuple[Path, ...]]
    datasets: tuple[LabelledDataset, ...]
    findings: tuple[Finding, ...]


def open_folder(tree: FileTree, label_format: str | None = None) -> OpenedFolder:
    """Open all formats found, or `label_format` alone; broken ones, none, or more than one become findings.

    Raises `DataError` when `label_format` is unknown or not in the tree.
    """
    label_files = find_label_files(tree)
    if label_format is not None:
        label_files = {name: label_files[name] for name in [choose_format(tree, label_files, label_format)]}
    findings = list(tree.findings)
    try:
        choose_format(tree, label_files, None)
    except DataError as error:
        code = "format-several" if label_files else "format-unknown"
        findings.append(_finding(code, error, tree))
    datasets = []
    for name, files in label_files.items():
        try:
            datasets.append(READERS[name].open(tree, files))
        except DataError as error:
            findings.append(_finding("format-broken", error, tree))
    for dataset in datasets:
        findings.extend(dataset.findings)
    return OpenedFolder(label_files, tuple(datasets), tuple(findings))


def _finding(code: str, error: DataError, tree: FileTree) -> Finding:
    return Finding("error", code, str(error).removeprefix(f"{tree.root}: "), str(tree.root))
