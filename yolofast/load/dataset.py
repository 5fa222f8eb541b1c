"""YOLODataset: what a dataset's samples are. `Loader` makes them fast; indexing makes one at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.config import MODEL_STRIDE, AugmentConfig, Cache, at_least
from yolofast.errors import ConfigError, DataError
from yolofast.formats.yolo.data_yaml import DataYaml, read_data_yaml
from yolofast.formats.yolo.split import ReadChunk, read_split
from yolofast.kernels import render_labels
from yolofast.load.cache.disk import cache_on_disk, cache_path, default_cache_dir
from yolofast.load.cache.ram import PlaneCache, cache_in_ram
from yolofast.load.execute._engine import Engine, RenderJobs, load_picture
from yolofast.load.execute.faults import BadImages
from yolofast.load.index import SINGLE_CLASS_NAMES, ImageIndex
from yolofast.load.plan import draws
from yolofast.load.plan.plan import plan_batch
from yolofast.load.plan.sizes import FixedSize, MultiScale, RectangularSizes, Sizes
from yolofast.types import Batch, BatchPlan, Finding, Sample, Split

_log = logging.getLogger(__name__)
FINDINGS_SHOWN = 5
LEFT_OUT = frozenset({"image-unreadable", "image-label-unreadable", "box-no-image"})
"""Findings about images that are left out; these are said one by one."""
IDLE_BYTES = 256 * 2**20


class YOLODataset:
    """Samples of one split of a dataset in the YOLO layout.

    `dataset[position]` is the sample at that position of the current epoch's order (`set_epoch`);
    `dataset[epoch, position]` names the epoch itself, so loader processes need no shared state.
    Samples depend only on (seed, epoch, position) and the settings, never on threads, processes, or (but
    for `rect` and `multi_scale`) batches.

    data           data.yaml (path or already read)
    split          'train', 'valid' or 'test'
    imgsz          side of the square sample in pixels
    augment        None = letterbox only
    shuffle        a new order every epoch, else the order of the file names
    epochs         of the whole run; mosaic and mixup are off in the last `augment.close_mosaic` of them
    cache          keep decoded planes, no longer than `imgsz` and with chroma at half size (1.5 bytes a
                   pixel): 'none', 'ram', or 'disk' (one file in `cache_dir` that all processes share)
    rect           rectangular samples, of one shape for every `batch` positions, in the order of their
                   aspect ratio, `pad` strides added; excludes `shuffle`, and switches mosaic off
    multi_scale    draw the side within +- this share of imgsz for every `batch` positions
    max_bad_share  more than this share of unreadable images raises `DataError`; each one is reported
                   once and replaced by the next readable image

    Raises `DataError` when the split has no readable image, `ConfigError` for settings that exclude one
    another.
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
        cache: Cache = "none",
        cache_dir: str | Path | None = None,
        rect: bool = False,
        multi_scale: float = 0.0,
        batch: int = 16,
        stride: int = MODEL_STRIDE,
        pad: float = 0.5,
        max_bad_share: float = 0.25,
    ) -> None:
        if rect and (shuffle or multi_scale):
            raise ConfigError(
                f"rect: excludes {'shuffle' if shuffle else 'multi_scale'}, because its batches are images "
                "of like shape. Switch one of them off."
            )
        at_least(
            imgsz=(imgsz, 1),
            batch=(batch, 1),
            stride=(stride, 1),
            seed=(seed, 0),
            epochs=(epochs, 1),
            pad=(pad, 0),
            multi_scale=(multi_scale, 0),
        )
        if multi_scale >= 1:
            raise ConfigError(f"multi_scale: got {multi_scale}, expected a share below 1.")
        self.data = data if isinstance(data, DataYaml) else read_data_yaml(Path(data))
        self.split, self.imgsz, self.augment = split, imgsz, augment
        self.shuffle, self.seed, self.epochs = shuffle, seed, epochs
        self.rect, self.batch = rect, batch
        self.class_names = SINGLE_CLASS_NAMES if single_cls else self.data.names
        self.epoch = 0
        self.findings: tuple[Finding, ...] = ()
        self._unreadable = 0
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._engine: tuple[int, Engine] | None = None
        self.index = ImageIndex.of_chunks(self._read(), single_cls=single_cls)
        self._check_index()
        self.sizes: Sizes = FixedSize(imgsz)
        if rect:
            self.sizes = RectangularSizes(self.shapes, imgsz, stride, pad, batch)
        elif multi_scale:
            self.sizes = MultiScale(imgsz, multi_scale, stride, batch, seed)
        self.bad_images = BadImages(len(self), max_bad_share, f"{self.data.path} '{split}'", self._unreadable)
        self._cache_kind, self._cache_dir = cache, None if cache_dir is None else Path(cache_dir)
        self.cache = self._open_cache()

    # ------------------------------------------------------------ index

    def _read(self) -> Iterator[ReadChunk]:
        """The split's images; keeps what was found wrong, and says which images are left out."""
        findings: list[Finding] = []
        for chunk in read_split(self.data, self.split):
            for i, found in sorted(chunk.findings.items()):
                findings.extend(found)
                if not chunk.usable[i]:
                    _log.warning("left out: %s", found[0])
            self._unreadable += len(chunk.images) - int(np.count_nonzero(chunk.usable))
            yield chunk
        self.findings = tuple(findings)

    def _check_index(self) -> None:
        place = f"{self.data.path} '{self.split}'"
        findings = [finding for finding in self.findings if finding.code not in LEFT_OUT]
        if findings:
            _log.warning("%s: %d findings in labels and images:", place, len(findings))
            for finding in findings[:FINDINGS_SHOWN]:
                _log.warning("  %s", finding)
            if len(findings) > FINDINGS_SHOWN:
                more = len(findings) - FINDINGS_SHOWN
                _log.warning("  ... and %d more; `yolofast check` lists all", more)
        if not len(self.index):
            places = ", ".join(map(str, self.data.splits.get(self.split, ()))) or "nothing (no such split)"
            raise DataError(
                f"{self.data.path}: split '{self.split}' has no readable image; looked in {places}."
            )
        if not len(self.index.labels.rows):
            _log.warning(
                "%s: no box for any of %d images; labels are looked for in labels/ for images/, "
                "or beside the image. `yolofast prepare` finds them elsewhere too.",
                place,
                len(self.index),
            )

    @property
    def paths(self) -> Sequence[str]:
        """Path of every image."""
        return self.index.paths

    @property
    def shapes(self) -> NDArray[np.int32]:
        """(height, width) of every image, upright, int32 [n, 2]."""
        return self.index.shapes

    @property
    def labels(self) -> Sequence[NDArray[np.float32]]:
        """Labels of every image, float32 [N, 5] class, xywhn."""
        return self.index.labels

    def __len__(self) -> int:
        return len(self.index)

    # ------------------------------------------------------------ order and plans

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that plain positions refer to."""
        self.epoch = epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Image indices in the order of an epoch, int64 [n]."""
        if isinstance(self.sizes, RectangularSizes):
            return self.sizes.order
        if not self.shuffle:
            return np.arange(len(self), dtype=np.int64)
        known = self._order  # read once: another thread may ask for another epoch
        if known is None or known[0] != epoch:
            known = self._order = epoch, draws.permutation(self.seed, epoch, len(self))
        return known[1]

    def plan(self, epoch: int, positions: NDArray[np.int64]) -> BatchPlan:
        """The plan of samples that have one size (`sizes` says which do), without unreadable images."""
        augment, size = self.augment, self.sizes.at(epoch, int(positions[0]))
        mosaic = augment is not None and not self.rect and epoch < self.epochs - augment.close_mosaic

        def draw(order: NDArray[np.int64], rows: NDArray[np.int64]) -> BatchPlan:
            return plan_batch(
                order, rows, self.shapes, size, augment, seed=self.seed, epoch=epoch, mosaic=mosaic
            )

        order = self.order(epoch)
        return self.bad_images.replaced(
            draw(order, positions), order, lambda other, row: draw(other, positions[row : row + 1])
        )

    def targets(self, plan: BatchPlan) -> NDArray[np.float32]:
        """Labels of a plan's samples, float32 [N, 6] sample, class, xywhn."""
        labels = self.index.labels
        filtered = self.augment is not None
        return render_labels(plan, labels.rows, labels.offsets, self.shapes, filtered=filtered)

    # ------------------------------------------------------------ pixels

    @property
    def cover(self) -> int:
        """Longer side, in pixels, at which decoded images serve every sample that the settings can draw."""
        zoom = 1 + (self.augment.scale if self.augment is not None else 0.0)
        return int(np.ceil(self.sizes.largest * zoom))

    def make_engine(self, idle_bytes: int = 0) -> Engine:
        """An engine over this dataset's images; it keeps unused pictures up to `idle_bytes`."""
        table = None if self.cache is None else self.cache.table
        return Engine(self.index.paths, self.shapes, self.cover, table=table, idle_bytes=idle_bytes)

    def _open_cache(self) -> PlaneCache | None:
        if self._cache_kind == "none":
            return None
        threads = os.cpu_count() or 1

        def load(image: int) -> Any:
            height, width = self.shapes[image].tolist()
            return load_picture(self.paths[image], (height, width), self.imgsz, compact=True)

        if self._cache_kind == "ram":
            return cache_in_ram(len(self), load, threads=threads, progress=True)
        signature = f"longer side {self.imgsz}, chroma 4:2:0"
        folder = self._cache_dir or default_cache_dir()
        name = f"{self.data.path.parent.name}-{self.split}"
        path = cache_path(folder, name, self.paths, signature)
        return cache_on_disk(path, self.paths, signature, load, threads=threads, progress=True)

    def mend(self, engine: Engine, jobs: RenderJobs, epoch: int, positions: NDArray[np.int64]) -> BatchPlan:
        """The plan that `jobs` ended up with: samples with an unreadable image are planned and drawn anew.

        Raises `DataError` when too many images are unreadable.
        """
        plan = jobs.plan
        failures = jobs.failures()
        failed = {sample for sample, _, _ in failures}
        while failures:
            for _, image, reason in failures:
                self.bad_images.add(image, self.paths[image], reason)
            before, plan = plan, self.plan(epoch, positions)
            again = sorted(failed | {row for row in range(len(plan)) if _differs(before, plan, row)})
            failures, failed = [], set()
            for row in again:
                one = RenderJobs(plan[row : row + 1], jobs.out[row : row + 1])
                engine.expect(one.images)
                engine.run(one)
                found = one.failures()
                failures += found
                failed |= {row} if found else set()
        return plan

    def render(self, epoch: int, positions: NDArray[np.int64]) -> Batch:
        """The samples at `positions`, which have one size, rendered in this thread."""
        known = self._engine
        if known is None or known[0] != os.getpid():  # the locks of a forked process may be held for ever
            known = self._engine = os.getpid(), self.make_engine(IDLE_BYTES)
        engine = known[1]
        plan = self.plan(epoch, positions)
        jobs = RenderJobs(plan, np.empty((len(plan), 3, *plan.size), dtype=np.uint8))
        try:
            engine.expect(plan.tile_image)
            engine.run(jobs)
            plan = self.mend(engine, jobs, epoch, positions)
        except BaseException:
            self._engine = None  # it may wait for ever for an image whose decoding was broken off
            raise
        return self.batch_of(plan, jobs.out)

    def batch_of(self, plan: BatchPlan, images: Any) -> Batch:
        """A rendered plan with its targets, paths and original shapes."""
        return Batch(
            images,
            self.targets(plan),
            tuple(self.paths[image] for image in plan.images.tolist()),
            self.shapes[plan.images].astype(np.int64),
        )

    # ------------------------------------------------------------ one sample

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        epoch, position = key if isinstance(key, tuple) else (self.epoch, key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} samples")
        batch = self.render(epoch, np.array([position % len(self)], dtype=np.int64))
        height, width = batch.shapes[0].tolist()
        return Sample(batch.images[0], batch.targets[:, 1:], batch.paths[0], (height, width))

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    # ------------------------------------------------------------ processes

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what belongs to this process; a cache is opened again where this arrives."""
        return self.__dict__ | {"_engine": None, "cache": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.cache = self._open_cache()


def _differs(before: BatchPlan, after: BatchPlan, row: int) -> bool:
    """Whether sample `row` is made of other images in one plan than in the other."""
    pair = [plan.tile_image[plan.tile_sample == row] for plan in (before, after)]
    return not np.array_equal(*pair)


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
