"""Opens every label format in a folder; what prevents that becomes a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import DataError, without_location
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.registry import broken_format, choose_format, find_label_files, open_format
from yolofast.types import Finding

_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FolderFormats:
    """The label files of a tree by format, the datasets that could be opened, and what went wrong."""

    label_files: Mapping[str, tuple[Path, ...]]
    datasets: tuple[LabelledDataset, ...]
    findings: tuple[Finding, ...]


def open_all_formats(tree: FileTree, label_format: str | None = None) -> FolderFormats:
    """Open all formats found, or only `label_format`; invalid, several or no formats become findings.

    Raises `ConfigError` when `label_format` is unknown, `DataError` when it is not in the tree.
    """
    label_files = find_label_files(tree)
    if label_format is not None:
        label_files = {name: label_files[name] for name in [choose_format(tree, label_files, label_format)]}
    datasets = []
    broken = []
    for name, files in label_files.items():
        try:
            datasets.append(open_format(tree, name, files))
        except DataError as error:
            broken.append(broken_format(tree, name, error))
    findings = list(tree.findings)
    opened = {dataset.format: label_files[dataset.format] for dataset in datasets}
    try:
        choose_format(tree, opened or label_files, None)
    except DataError as error:
        code = "format-several" if label_files else "format-unknown"
        message = without_location(error, tree.root)
        findings.append(Finding("error", code, message, str(tree.root)))
    findings += broken
    for dataset in datasets:
        findings.extend(dataset.findings)
    findings.extend(_disagreements(tree, datasets))
    return FolderFormats(label_files, tuple(datasets), tuple(findings))


def _disagreements(tree: FileTree, datasets: Sequence[LabelledDataset]) -> Iterator[Finding]:
    """Formats in the same folder whose classes differ from those of the first."""
    for other in datasets[1:]:
        first = datasets[0]
        apart = sorted(set(first.names) ^ set(other.names))
        if apart:
            shown = ", ".join(f"'{name}'" for name in apart[:_MAX_SHOWN])
            message = (
                f"the {first.format} labels have {len(first.names)} classes, the {other.format} labels "
                f"{len(other.names)}; only one of them has {shown}. The format that you choose is used."
            )
            yield Finding("warning", "names-conflict", message, str(tree.root))
