"""Summarises a dataset folder: structure, formats, classes, splits, counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tqdm import tqdm

from yolofast.analyze.label_formats import open_all_formats
from yolofast.errors import DataError
from yolofast.formats.dataset import rejected_image
from yolofast.formats.discover import list_dataset, scan_dataset
from yolofast.formats.duplicates import DuplicateSearch
from yolofast.formats.registry import find_label_files, open_format
from yolofast.formats.splits import SPLITS
from yolofast.formats.structure import decide_layout, decide_structure
from yolofast.formats.unsupported import explain_unsupported
from yolofast.types import DatasetInfo, Finding


def validate_dataset_input(path: str | Path) -> None:
    """Check that `path`, a folder or a data.yaml, is a dataset with images and readable labels.

    Raises `DatasetNotFoundError` when it is missing, and `DataError`, each case with its own message, when it
    is a file, empty, without images, without labels of a supported format, or when its labels cannot be
    opened (for example, a data.yaml that contradicts itself).
    """
    tree = scan_dataset(path)
    found = find_label_files(tree)
    if not found:
        raise DataError(f"{path}: {explain_unsupported(tree)}")
    failed: list[DataError] = []
    for name, files in found.items():
        try:
            open_format(tree, name, files)
        except DataError as error:
            failed.append(error)
    if len(failed) == len(found):  # a broken format beside a readable one is a finding
        raise failed[0]


def analyze_dataset(path: str | Path, *, label_format: str | None = None) -> DatasetInfo:
    """Summarise a dataset folder; nothing in it is changed.

    Image sizes come from headers and every label is read. `total_boxes` counts the label rows of the source,
    `class_counts` the valid ones; the rest are among `findings`. `evidence` explains the result: the
    structure, the layout, each label format with its files, the kinds of rows. In a folder with several label
    formats, `label_format` is 'mixed' and counts are over all of them; the argument of that name selects one.
    Invalid content becomes a finding, never an exception.

    Raises `DatasetNotFoundError` when there is no such folder, `DataError` when `path` is a file or the
    folder has no labels of that format, and `ConfigError` when the format is unknown.
    """
    tree = list_dataset(path)
    formats = open_all_formats(tree, label_format)
    structure, reason = decide_structure(tree, (f for files in formats.label_files.values() for f in files))
    layout, convention = decide_layout(tree, formats.label_files)
    findings: list[Finding] = list(formats.findings)
    kinds: list[str] = []
    splits: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    rows = 0
    contents = DuplicateSearch()
    for dataset in formats.datasets:
        classes.update(dict.fromkeys(dataset.names, 0))
        reading = tqdm(dataset.read(), dataset.format, len(tree.images), False, unit="img", disable=None)
        for item in reading:
            rows += item.rows
            for finding in item.findings:
                if finding.code == "label-kinds":
                    kinds.append(finding.message)
                else:
                    findings.append(finding)
            contents.add(item)
            if item.record is not None and item.rejected:
                findings.append(rejected_image(item.record.path, item.rows))
            elif item.record is not None:
                if item.record.split is not None:
                    splits[item.record.split] += 1
                classes.update(dataset.names[i] for i in item.record.classes.tolist())
    findings.extend(contents.findings())
    names = list(formats.label_files)
    evidence = [f"{structure}: {reason}", f"layout {layout}: {convention}"]
    for name, files in formats.label_files.items():
        evidence.append(f"{name}: {len(files)} label file(s), such as {tree.relative(files[0])}")
    evidence += [*(sentence for d in formats.datasets for sentence in d.evidence), *kinds]
    evidence += [f"splits from {d.splits_from}" for d in formats.datasets if d.splits_from]
    unusable = rows - classes.total()
    if unusable:
        evidence.append(f"{unusable} of {rows} boxes cannot be used")
    counts_by_format = {name: len(files) for name, files in formats.label_files.items()}
    if tree.class_files:
        counts_by_format["class_mapping"] = len(tree.class_files)
    return DatasetInfo(
        root=tree.root,
        structure_type=structure,
        label_format=names[0] if len(names) == 1 else "mixed" if names else "unknown",
        class_names=tuple(classes),
        total_images=len(tree.images),
        total_boxes=rows,
        splits={split: splits[split] for split in SPLITS if splits[split]},
        format_counts=counts_by_format,
        image_formats=dict(Counter(image.suffix.lower().lstrip(".") for image in tree.images).most_common()),
        class_counts=dict(classes),
        evidence=tuple(evidence),
        findings=tuple(findings),
        layout=layout,
    )
