"""For inspecting a dataset rather than training on it: samples on access, or one bounded pass over all.

Example::

    dataset = LazyDataset("data.yaml", "valid", imgsz=640, capacity=64)
    print(dataset[3].path, dataset[3].labels)
    for batch in stream_process_dataset("data.yaml", batch_size=32):
        print(batch.images.shape, batch.targets.shape)
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from yolofast.config_fields import at_least
from yolofast.errors import DataError
from yolofast.formats.data_yaml import DataYaml, read_data_yaml
from yolofast.formats.splits import as_split
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.load.dataset import YOLODataset
from yolofast.load.execute._engine import Engine
from yolofast.load.execute.executor import make_batch, render_plan
from yolofast.load.index import PackedIndex
from yolofast.load.plan.plan import plan_batch
from yolofast.types import Batch, ImageRecord, Sample, Split

_log = logging.getLogger(__name__)


class LazyDataset:
    """Letterboxed samples, loaded on access; the `capacity` last used stay in memory.

    data      data.yaml (path or already read)
    split     'train', 'val' (or 'valid') or 'test'
    imgsz     side of the square sample in pixels
    capacity  samples kept; the least recently used goes first

    `hits` and `misses` count accesses. Raises as `YOLODataset` does.
    """

    def __init__(
        self,
        data: DataYaml | str | Path,
        split: Split | str = "train",
        *,
        imgsz: int = 640,
        capacity: int = 128,
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
    path: str | Path, batch_size: int = 16, *, split: Split | str = "train", imgsz: int = 640
) -> Iterator[Batch]:
    """One pass over a split in file order: letterboxed batches with labels, in the memory of one batch.

    Unlike `YOLODataset` it builds no index: headers and labels are read batch by batch. Unreadable images and
    label rows are left out with a warning, so a batch may be smaller; its paths say which images it has.

    path  data.yaml, or the folder that contains it

    Raises `ConfigError` for a batch_size below 1, `DataError` for unusable data or when no image can be read.
    """
    at_least(batch_size=(batch_size, 1))
    path = Path(path)
    data = read_data_yaml(path / "data.yaml" if path.is_dir() else path)
    records = _records(data, as_split(split))
    readable = 0
    while chunk := list(islice(records, batch_size)):
        batch = _letterboxed(PackedIndex(chunk), imgsz)
        readable += len(batch)
        if len(batch):
            yield batch
    if not readable:
        raise DataError(f"{data.path}: no image of split '{split}' can be read; `yolofast check` says why.")


def _records(data: DataYaml, split: Split) -> Iterator[ImageRecord]:
    for record, findings in iter_yolo_records(data, split):
        for finding in findings if record is not None else findings[:1]:  # the others are about its rows
            _log.warning("left out: %s" if record is None else "%s", finding)
        if record is not None:
            yield record


def _letterboxed(index: PackedIndex, imgsz: int) -> Batch:
    """All readable images of an index, letterboxed."""
    images = np.arange(len(index), dtype=np.int64)
    plan = plan_batch(images, images, index.shapes, (imgsz, imgsz), None, seed=0, epoch=0)
    jobs = render_plan(Engine(index.paths, index.shapes, imgsz), plan)
    pixels, failures = jobs.out, jobs.failures()
    if failures:
        for _, image, reason in failures:
            _log.warning("left out: %s: %s", index.paths[image], reason)
        readable = np.setdiff1d(images, [sample for sample, _, _ in failures])
        pixels = pixels[readable]
        plan = plan_batch(images, readable, index.shapes, (imgsz, imgsz), None, seed=0, epoch=0)
    return make_batch(index, plan, pixels, index.targets(plan, filtered=False))
