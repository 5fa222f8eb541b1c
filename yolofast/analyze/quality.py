"""Checks the quality of a dataset: every image, every label row, and the dataset as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolofast.analyze.advice import RANK, summarise
from yolofast.analyze.box_batches import BoxBatch, BoxBatches
from yolofast.analyze.examples import Examples
from yolofast.analyze.label_formats import open_all_formats
from yolofast.analyze.quality_boxes import check_boxes
from yolofast.analyze.quality_dataset import recommend
from yolofast.analyze.quality_images import check_header, decode_images, truncated, unreadable
from yolofast.analyze.samples import Samples
from yolofast.analyze.statistics import SPLIT_ROWS, StatisticsCounter
from yolofast.errors import ImageError
from yolofast.formats.dataset import LabelledDataset, ReadImage, rejected_image
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.duplicates import DuplicateSearch
from yolofast.images import read_headers
from yolofast.types import Finding, ImageHeader, QualityReport

_HEADERS = 512
"""Headers read per call."""
_FORMAT_CODES = frozenset({"image-unlisted", "split-overlap", "names-conflict"})
_LABEL_CODES = frozenset({"image-label-unreadable", "image-missing", "image-unlabelled"})
"""Codes that begin with `image-` but concern labels."""


class _Check:
    """One pass over a dataset, and its findings so far."""

    def __init__(self, tree: FileTree, datasets: tuple[LabelledDataset, ...]) -> None:
        self.tree, self.datasets = tree, datasets
        self.names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.names))
        self.found: list[Finding] = []
        self.rows = self.unlabelled = 0
        self.statistics = StatisticsCounter(self.names)
        self.examples = Examples()
        self.samples = Samples()
        self.readable = DuplicateSearch()
        self._broken: set[Path] = set()
        self._incomplete: list[Path] = []
        self._batches = BoxBatches(self._check_batch)

    @property
    def images(self) -> int:
        """Number of image files checked."""
        return len(self.readable) + len(self._broken)

    def read_labels(self) -> None:
        """Check everything that the readers return."""
        numbers = {name: i for i, name in enumerate(self.names)}
        for dataset in self.datasets:
            renumber = np.array([numbers[name] for name in dataset.names], dtype=np.int64)
            for item in tqdm(
                dataset.read(), dataset.format, len(self.tree.images), False, unit="img", disable=None
            ):
                self._read(item, renumber)
        self._batches.finish()

    def _read(self, item: ReadImage, renumber: NDArray[np.int64]) -> None:
        self.rows += item.rows
        if item.dropped or item.notes:
            self.found.extend(item.findings)
            self.examples.add_image(item)
            if item.image is not None and any(f.code == "image-unreadable" for f in item.dropped):
                self._broken.add(item.image)
        if item.image is not None and item.header is not None:
            if item.image not in self.readable:
                self._check_header(item.image, item.header)
            self.readable.add(item)
        record = item.record
        if record is None:
            return
        if item.rejected:
            self._add_image_finding(rejected_image(record.path, item.rows))
            return
        if record.label_file is None:
            self.unlabelled += 1
            self.found.append(Finding("info", "label-missing", "no label file: background", str(record.path)))
        self._batches.add(record, renumber[record.classes], SPLIT_ROWS.index(record.split or "none"))

    def _check_batch(self, batch: BoxBatch) -> None:
        self.statistics.add(batch)
        self.samples.add(batch)
        for finding, image, rows in check_boxes(batch, self.names):
            self.found.append(finding)
            record = batch.records[image]
            self.examples.add(finding, record.path, batch.boxes[list(rows)], record.boxes)

    def read_other_images(self) -> None:
        """Check the headers of the images that no reader has read."""
        missing = (p for p in self.tree.images if p not in self.readable and p not in self._broken)
        others = sorted(missing)
        for start in tqdm(range(0, len(others), _HEADERS), "images", leave=False, disable=None):
            some = others[start : start + _HEADERS]
            for path, header in zip(some, read_headers(some), strict=True):
                if isinstance(header, ImageError):
                    self._broken.add(path)
                    self._add_image_finding(unreadable(path, header))
                else:
                    self._check_header(path, header)
                    self.readable.add_file(path, header.bytes, None)

    def _check_header(self, path: Path, header: ImageHeader) -> None:
        self.statistics.add_image_size(header.width, header.height)
        for finding in check_header(path, header):
            self._add_image_finding(finding)
        if not header.complete:
            self._incomplete.append(path)

    def _add_image_finding(self, finding: Finding) -> None:
        self.found.append(finding)
        if finding.file is not None:
            self.examples.add(finding, Path(finding.file))

    def check_pixels(self, decode: bool) -> None:
        """Report truncated files and, with `decode`, all images that fail to decode."""
        failed = decode_images(list(self.readable)) if decode else {}
        for finding in failed.values():
            self._add_image_finding(finding)
        for path in self._incomplete:
            if path not in failed:
                self._add_image_finding(truncated(path))

    def compare_contents(self) -> None:
        """Report duplicate images, and images in two splits."""
        for finding in self.readable.findings():
            self._add_image_finding(finding)


def check_data_quality(
    path: str | Path, *, decode: bool = False, label_format: str | None = None
) -> QualityReport:
    """Check every image, every label row and the dataset as a whole; nothing is changed.

    Images: every header is read and contents are compared; `decode=True` decodes every image in full, in
    threads, which finds any damage and takes much longer. Labels: what the readers drop or repair, and boxes
    that are valid but tiny, nearly equal, as large as the image, or very many. Dataset: class balance in all
    and per split, the share of images without boxes, sizes of boxes and images, leakage between splits.
    `label_format` selects the labels to check in a folder with several formats; omitted means all.

    `analyze.advice.ADVICE` explains every code and what to do about it, and the severities.

    Raises `DatasetNotFoundError` or `DataError` when `path` is not a folder with images, or has no labels of
    `label_format`, and `ConfigError` when that is unknown.
    """
    tree = scan_dataset(path)
    formats = open_all_formats(tree, label_format)
    check = _Check(tree, formats.datasets)
    check.read_labels()
    check.read_other_images()
    check.check_pixels(decode)
    check.compare_contents()
    found = list(dict.fromkeys([*formats.findings, *check.found]))
    statistics = check.statistics.result()
    spread = check.statistics.long_side_spread()
    recommendations = tuple(recommend(str(tree.root), statistics, check.unlabelled, spread))
    format_ids = {id(f) for f in formats.findings} | {id(f) for f in found if f.code in _FORMAT_CODES}
    images = [f for f in found if id(f) not in format_ids and _about_image(f.code)]
    labels = [f for f in found if id(f) not in format_ids and not _about_image(f.code)]
    return QualityReport(
        root=tree.root,
        image_issues=_worst_first(images),
        label_issues=_worst_first(labels),
        format_issues=_worst_first(f for f in found if id(f) in format_ids),
        recommendations=recommendations,
        images_checked=check.images,
        boxes_checked=check.rows,
        summary=summarise([*found, *recommendations]),
        statistics=statistics,
        examples=check.examples.result(),
        samples=check.samples.random(),
        rare_samples=check.samples.rarest(statistics.class_boxes.sum(axis=0).tolist()),
    )


def _about_image(code: str) -> bool:
    return code == "split-leakage" or (code.startswith("image-") and code not in _LABEL_CODES)


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (RANK[f.severity], f.file or "", f.line or 0, f.code)))
