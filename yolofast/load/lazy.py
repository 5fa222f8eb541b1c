"""For who looks at a dataset rather than trains on it: samples on access, or one bounded pass over all."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from yolofast.config import at_least
from yolofast.errors import DataError
from yolofast.formats.yolo.data_yaml import DataYaml, read_data_yaml
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.kernels import render_labels
from yolofast.load.dataset import YOLODataset
from yolofast.load.execute._engine import Engine, RenderJobs
from yolofast.load.index import ImageIndex
from yolofast.load.plan.plan import plan_batch
from yolofast.types import Batch, ImageRecord, Sample, Split

_log = logging.getLogger(__name__)


class LazyDataset:
    """Letterboxed samples that are loaded when they are asked for; the last `capacity` stay in memory.

    data      data.yaml (path or already read)
    split     'train', 'valid' or 'test'
    imgsz     side of the square sample in pixels
    capacity  samples kept, the longest unused going first

    `hits` and `misses` count accesses. Raises as `YOLODataset` does.
    """

    def __init__(
        self, data: DataYaml | str | Path, split: Split = "train", *, imgsz: int = 640, capacity: int = 128
    ) -> None:
        at_least(capacity=(capacity, 1))
        self.dataset = YOLODataset(data, split, imgsz=imgsz)
        self.capacity = capacity
        self.hits = self.misses = 0
        self._kept: OrderedDict[int, Sample] = OrderedDict()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        sample = self._kept.get(index)
        if sample is None:
            self.misses += 1
            sample = self._kept[index] = self.dataset[index]
            if len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
        else:
            self.hits += 1
            self._kept.move_to_end(index)
        return sample

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def stream_process_dataset(
    path: str | Path, batch_size: int = 16, *, split: Split = "train", imgsz: int = 640
) -> Iterator[Batch]:
    """One pass over a split in file order: letterboxed batches and labels, in memory for one batch.

    Unlike a dataset it indexes nothing beforehand: headers and labels are read batch by batch. Unreadable
    images and label rows are left out with a warning, so a batch may be smaller; the paths say which images
    it holds.

    path  data.yaml, or the folder that holds it

    Raises `ConfigError` for a batch_size under 1, `DataError` for data that cannot be used or when no image
    can be read.
    """
    at_least(batch_size=(batch_size, 1))
    place = Path(path)
    data = read_data_yaml(place / "data.yaml" if place.is_dir() else place)
    records = _records(data, split)
    readable = 0
    while chunk := list(islice(records, batch_size)):
        batch = _load_chunk(ImageIndex(chunk), imgsz)
        readable += len(batch)
        if len(batch):
            yield batch
    if not readable:
        raise DataError(f"{data.path}: no image of split '{split}' can be read; `yolofast check` says why.")


def _records(data: DataYaml, split: Split) -> Iterator[ImageRecord]:
    for record, findings in iter_yolo_records(data, split):
        for finding in findings if record is not None else findings[:1]:  # the others are of its rows
            _log.warning("left out: %s" if record is None else "%s", finding)
        if record is not None:
            yield record


def _load_chunk(index: ImageIndex, imgsz: int) -> Batch:
    """All readable images of an index, letterboxed."""
    readable = np.arange(len(index), dtype=np.int64)
    images = np.empty((len(index), 3, imgsz, imgsz), dtype=np.uint8)
    plan = plan_batch(readable, readable, index.shapes, (imgsz, imgsz), None, seed=0, epoch=0)
    engine = Engine(index.paths, index.shapes, imgsz)
    jobs = RenderJobs(plan, images)
    engine.expect(plan.tile_image)
    engine.run(jobs)
    failures = jobs.failures()
    if failures:
        for _, image, reason in failures:
            _log.warning("left out: %s: %s", index.paths[image], reason)
        readable = np.setdiff1d(readable, [sample for sample, _, _ in failures])
        images = images[readable]
        plan = plan_batch(
            readable, np.arange(len(readable)), index.shapes, (imgsz, imgsz), None, seed=0, epoch=0
        )
    targets = render_labels(plan, index.labels.rows, index.labels.offsets, index.shapes, filtered=False)
    paths = tuple(index.paths[image] for image in plan.images.tolist())
    return Batch(images, targets, paths, index.shapes[plan.images].astype(np.int64))
