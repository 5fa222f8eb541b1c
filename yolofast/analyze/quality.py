"""What is wrong with a dataset, image by image and row by row, and what to do about it."""

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
from yolofast.analyze.statistics import SPLIT_ROWS, StatisticsCount
from yolofast.errors import ImageError
from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.duplicates import DuplicateSearch
from yolofast.images import read_headers
from yolofast.types import Finding, ImageHeader, QualityReport

_HEADERS = 512
"""Headers read at once."""
_FORMAT_CODES = frozenset({"image-unlisted", "split-overlap", "names-conflict"})
_ABOUT_LABELS = frozenset({"image-label-unreadable", "image-missing", "image-unlabelled"})
"""Codes that begin with `image-` and are about labels all the same."""


class _Check:
    """One pass over a dataset: what it has found so far."""

    def __init__(self, tree: FileTree, datasets: tuple[LabelledDataset, ...]) -> None:
        self.tree, self.datasets = tree, datasets
        self.names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.names))
        self.found: list[Finding] = []
        self.rows = self.unlabelled = 0
        self.statistics = StatisticsCount(self.names)
        self.examples = Examples()
        self.readable = DuplicateSearch()
        self._broken: set[Path] = set()
        self._incomplete: list[Path] = []
        self._batches = BoxBatches(self._use)

    @property
    def images(self) -> int:
        """Image files looked at."""
        return len(self.readable) + len(self._broken)

    def read_labels(self) -> None:
        """Everything that the readers give, and the boxes of it."""
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
        if record.label_file is None:
            self.unlabelled += 1
            self.found.append(Finding("info", "label-missing", "no label file: background", str(record.path)))
        self._batches.add(record, renumber[record.classes], SPLIT_ROWS.index(record.split or "none"))

    def _use(self, batch: BoxBatch) -> None:
        self.statistics.add(batch)
        for finding, image, rows in check_boxes(batch, self.names):
            self.found.append(finding)
            record = batch.records[image]
            self.examples.add(finding, record.path, batch.boxes[list(rows)], record.boxes)

    def read_other_images(self) -> None:
        """Headers of the images that no reader has touched."""
        missing = (p for p in self.tree.images if p not in self.readable and p not in self._broken)
        others = sorted(missing)
        for start in tqdm(range(0, len(others), _HEADERS), "images", leave=False, disable=None):
            some = others[start : start + _HEADERS]
            for path, header in zip(some, read_headers(some), strict=True):
                if isinstance(header, ImageError):
                    self._broken.add(path)
                    self._found_image(unreadable(path, header))
                else:
                    self._check_header(path, header)
                    self.readable.add_file(path, header.bytes, None)

    def _check_header(self, path: Path, header: ImageHeader) -> None:
        self.statistics.add_image_size(header.width, header.height)
        for finding in check_header(path, header):
            self._found_image(finding)
        if not header.complete:
            self._incomplete.append(path)

    def _found_image(self, finding: Finding) -> None:
        self.found.append(finding)
        if finding.file is not None:
            self.examples.add(finding, Path(finding.file))

    def check_pixels(self, decode: bool) -> None:
        """Files without their end and, with `decode`, whatever the decoders refuse."""
        failed = decode_images(list(self.readable)) if decode else {}
        for finding in failed.values():
            self._found_image(finding)
        for path in self._incomplete:
            if path not in failed:
                self._found_image(truncated(path))

    def compare_contents(self) -> None:
        """Duplicate images and those in two splits."""
        for finding in self.readable.findings():
            self._found_image(finding)


def check_data_quality(
    path: str | Path, *, decode: bool = False, label_format: str | None = None
) -> QualityReport:
    """Check every image, every label row and the dataset as a whole; nothing is changed.

    Images: every header is read, contents are compared; `decode=True` decodes every image in full, in
    threads, which finds any damage and takes much longer. Labels: what the readers leave out or mend, and
    boxes that are valid but tiny, nearly equal, over the whole image, or very many. The dataset: class
    balance over all and by split, the share of empty images, sizes of boxes and images, leakage.
    `label_format` says which labels count where several formats lie together; otherwise all do.

    `analyze.advice.ADVICE` has every code with what to do about it, and says what the severities mean.

    Raises `DatasetNotFoundError` / `DataError` when `path` is not a folder with images, or has no labels of
    `label_format`.
    """
    tree = scan_dataset(path)
    opened = open_all_formats(tree, label_format)
    check = _Check(tree, opened.datasets)
    check.read_labels()
    check.read_other_images()
    check.check_pixels(decode)
    check.compare_contents()
    found = list(dict.fromkeys([*opened.findings, *check.found]))
    statistics = check.statistics.result()
    spread = check.statistics.long_side_spread()
    recommendations = tuple(recommend(str(tree.root), statistics, check.unlabelled, spread))
    formats = {id(f) for f in opened.findings} | {id(f) for f in found if f.code in _FORMAT_CODES}
    images = [f for f in found if id(f) not in formats and _about_image(f.code)]
    labels = [f for f in found if id(f) not in formats and not _about_image(f.code)]
    return QualityReport(
        root=tree.root,
        image_issues=_worst_first(images),
        label_issues=_worst_first(labels),
        format_issues=_worst_first(f for f in found if id(f) in formats),
        recommendations=recommendations,
        images_checked=check.images,
        boxes_checked=check.rows,
        summary=summarise([*found, *recommendations]),
        statistics=statistics,
        examples=check.examples.result(),
    )


def _about_image(code: str) -> bool:
    return code == "split-leakage" or (code.startswith("image-") and code not in _ABOUT_LABELS)


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (RANK[f.severity], f.file or "", f.line or 0, f.code)))
