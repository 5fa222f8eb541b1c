"""YOLODataset: a map-style dataset over the plan, for torch's own DataLoader or any other.

The index is compact (one array of labels with offsets, one of shapes), so that loader processes
share it by copy-on-write.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.config import AugmentConfig
from yolofast.errors import DataError, YolofastError
from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.formats.data_yaml import DataYaml, read_data_yaml
from yolofast.formats.yolo import iter_yolo_records
from yolofast.load import draws
from yolofast.load.plan import plan_batch
from yolofast.load.render import render_labels, render_pixels
from yolofast.types import Batch, Finding, ImageRecord, Sample, Split

_log = logging.getLogger(__name__)
FINDINGS_SHOWN = 5
SINGLE_CLASS_NAMES = ("object",)
"""Class names of a dataset that is taken as one class (`single_cls`)."""


class LabelIndex(Sequence[NDArray[np.float32]]):
    """Labels of n images in one array: `index[i]` is float32 [N_i, 5] class, xywhn."""

    def __init__(self, parts: Sequence[NDArray[np.float32]]) -> None:
        self._offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        self.rows = np.concatenate([np.zeros((0, 5), np.float32), *parts])

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.float32]:  # type: ignore[override]
        return self.rows[self._offsets[index] : self._offsets[index + 1]]


class YOLODataset:
    """Samples of one split of a dataset in the YOLO layout.

    `dataset[position]` is the sample at that position of the current epoch's order (`set_epoch`);
    `dataset[epoch, position]` names the epoch itself, so loader processes need no shared state.
    Samples depend only on (seed, epoch, position) and the settings, never on processes or batches.

    data      data.yaml (path or already read)
    split     'train', 'valid' or 'test'
    imgsz     side of the square sample in pixels
    augment   None = letterbox only
    shuffle   a new order every epoch, else the order of the file names
    epochs    of the whole run; mosaics are off in the last `augment.close_mosaic` of them

    Raises `DataError` when the split has no readable image.
    """

    def __init__(
        self,
        data: DataYaml | str | Path,
        split: Split,
        *,
        imgsz: int = 640,
        augment: AugmentConfig | None = None,
        shuffle: bool = False,
        seed: int = 0,
        epochs: int = 100,
        single_cls: bool = False,
    ) -> None:
        self.data = data if isinstance(data, DataYaml) else read_data_yaml(Path(data))
        self.split, self.imgsz, self.augment = split, imgsz, augment
        self.shuffle, self.seed, self.epochs = shuffle, seed, epochs
        self.class_names = SINGLE_CLASS_NAMES if single_cls else self.data.names
        self.epoch = 0
        self._reported: set[str] = set()
        self._order: tuple[int, NDArray[np.int64]] | None = None
        records, self.findings = self._read(single_cls)
        self.paths = [str(r.path) for r in records]
        self.shapes = np.array([(r.height, r.width) for r in records], dtype=np.int32).reshape(-1, 2)
        self.labels = LabelIndex([_as_labels(r, single_cls) for r in records])
        if not records:
            places = ", ".join(map(str, self.data.splits.get(split, ()))) or "nothing (no such split)"
            raise DataError(f"{self.data.path}: split '{split}' has no readable image; looked in {places}.")
        if not len(self.labels.rows):
            _log.warning(
                "%s '%s': no box for any of %d images; labels are looked for in labels/ for images/, "
                "or beside the image. `yolofast prepare` finds them elsewhere too.",
                self.data.path,
                split,
                len(records),
            )

    def _read(self, single_cls: bool) -> tuple[list[ImageRecord], tuple[Finding, ...]]:
        records: list[ImageRecord] = []
        findings: list[Finding] = []
        for record, found in iter_yolo_records(self.data, self.split):
            findings.extend(found)
            if record is not None:
                records.append(record)
        if findings:
            _log.warning(
                "%s '%s': %d findings in labels and images:", self.data.path, self.split, len(findings)
            )
            for finding in findings[:FINDINGS_SHOWN]:
                _log.warning("  %s", finding)
            if len(findings) > FINDINGS_SHOWN:
                _log.warning("  ... and %d more; `yolofast check` lists all", len(findings) - FINDINGS_SHOWN)
        return records, tuple(findings)

    def _report(self, path: str, error: YolofastError) -> None:
        if path not in self._reported:
            self._reported.add(path)
            _log.warning("left gray: %s", error)

    def __len__(self) -> int:
        return len(self.paths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that plain positions refer to."""
        self.epoch = epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Image indices in the order of an epoch, int64 [n]."""
        if not self.shuffle:
            return np.arange(len(self), dtype=np.int64)
        known = self._order  # read once: another thread may ask for another epoch
        if known is None or known[0] != epoch:
            known = self._order = epoch, draws.permutation(self.seed, epoch, len(self))
        return known[1]

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, position = key if isinstance(key, tuple) else (self.epoch, key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} samples")
        plan = plan_batch(
            self.order(epoch),
            np.array([position % len(self)], dtype=np.int64),
            self.shapes,
            self.imgsz,
            self.augment,
            seed=self.seed,
            epoch=epoch,
            mosaic=self.augment is not None and epoch < self.epochs - self.augment.close_mosaic,
        )
        image = int(plan.images[0])
        pixels, drawn = render_pixels(plan, self.paths, self.shapes, self._report)
        return Sample(
            pixels[0],
            render_labels(plan, drawn, 0, self.labels, self.shapes, filtered=self.augment is not None),
            self.paths[image],
            (int(self.shapes[image, 0]), int(self.shapes[image, 1])),
        )

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))


def _as_labels(record: ImageRecord, single_cls: bool) -> NDArray[np.float32]:
    rows = np.zeros((len(record.boxes), 5), dtype=np.float32)
    rows[:, 0] = 0 if single_cls else record.classes
    rows[:, 1:] = xyxy_to_xywhn(record.boxes, record.width, record.height)
    return rows


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as a `Batch` of numpy arrays."""
    counts = [len(s.labels) for s in samples]
    targets = np.zeros((sum(counts), 6), dtype=np.float32)
    targets[:, 0] = np.repeat(np.arange(len(samples)), counts)
    targets[:, 1:] = np.concatenate([s.labels for s in samples])
    return Batch(
        np.stack([s.image for s in samples]),
        targets,
        tuple(s.path for s in samples),
        np.array([s.shape for s in samples], dtype=np.int64),
    )
