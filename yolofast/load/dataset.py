"""YOLODataset: what the samples of a dataset are: its index, its labels, and the plan of every sample."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolofast.class_numbers import class_numbers
from yolofast.config import MODEL_STRIDE, AugmentConfig, Cache
from yolofast.config_fields import at_least
from yolofast.errors import ConfigError, DataError
from yolofast.formats.boxes import is_rejection
from yolofast.formats.data_yaml import DataYaml, read_data_yaml
from yolofast.formats.splits import as_split
from yolofast.formats.yolo.split import ReadChunk, read_split
from yolofast.load.cache.disk import cache_on_disk
from yolofast.load.cache.folder import cache_path, default_cache_dir
from yolofast.load.cache.planes import PlaneCache
from yolofast.load.cache.ram import cache_in_ram
from yolofast.load.execute.executor import compact_planes
from yolofast.load.execute.single import SampleRenderer
from yolofast.load.hooks import Hook, HookFunction, compiled_hooks
from yolofast.load.index import SINGLE_CLASS_NAMES, PackedIndex
from yolofast.load.plan import draws
from yolofast.load.plan.bad_images import BadImages
from yolofast.load.plan.plan import Replace, plan_batch
from yolofast.load.plan.sizes import FixedSize, MultiScale, RectangularSizes, Sizes, aspect_order
from yolofast.types import BatchPlan, Finding, Sample, Split

_log = logging.getLogger(__name__)
MAX_FINDINGS_SHOWN = 5
LEFT_OUT = frozenset({"image-unreadable", "image-label-unreadable", "box-no-image"})
"""Findings about images that are left out; these are logged one by one."""


class YOLODataset:
    """Samples of one split of a dataset in the YOLO layout. `Loader` makes batches of them, fast.

    `dataset[position]` is the sample at that position of the current epoch's order (`set_epoch`);
    `dataset[epoch, position]` names the epoch, so loader processes need no shared state. Samples depend only
    on (seed, epoch, position) and the settings, never on threads, processes or batches. Only the size of
    `rect` and `multi_scale` samples goes by batches: `sizes(batch_size)` has it, a `Loader` applies it, and
    `dataset[epoch, position, size]` is the sample at such a size. Without one, each sample is a batch of its
    own.

    data           data.yaml (path or already read)
    split          'train', 'val' (or 'valid') or 'test'
    imgsz          side of the square sample in pixels
    augment        None = letterbox only
    shuffle        a new order every epoch; otherwise the order of the file names
    epochs         of the whole run; no mosaic, mixup or cutmix in the last `augment.close_mosaic` of them;
                   may be set between two epochs, when the length of the run changes
    cache          keep decoded planes, no longer than `imgsz` and with chroma at half size (1.5 bytes per
                   pixel): 'none', 'ram', or 'disk' (one file in `cache_dir` that all processes share)
    rect           rectangular samples: images in the order of their aspect ratio, one shape per batch, `pad`
                   strides added; excludes `shuffle`, and switches mosaic, mixup and cutmix off
    multi_scale    draw the side of every batch within +- this share of imgsz
    stride         sides of rectangular and multi-scale samples are multiples of this
    hooks          the user's own transforms, run on every sample in this order; see `yolofast.load.hooks`
    max_bad_share  more than this share of unreadable images raises `DataError`; each one is reported
                   once and replaced by the next readable image
    keep_rejected  images with label rows of which none can be used are background; otherwise left out
    fraction       share of the readable images that are used, drawn by `seed`
    classes        names or numbers of the classes whose boxes are used; images without one are background.
                   The numbers of the classes and `class_names` stay. None = all

    Raises `DataError` when the split has no readable image, `ConfigError` for settings that exclude one
    another, `HookError` for a hook that cannot be compiled.
    """

    def __init__(
        self,
        data: DataYaml | str | Path,
        split: Split | str,
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
        stride: int = MODEL_STRIDE,
        pad: float = 0.5,
        hooks: Iterable[Hook | HookFunction] = (),
        max_bad_share: float = 0.25,
        keep_rejected: bool = False,
        fraction: float = 1.0,
        classes: Sequence[int | str] | None = None,
    ) -> None:
        if rect and (shuffle or multi_scale):
            raise ConfigError(
                f"rect: excludes {'shuffle' if shuffle else 'multi_scale'}, because its batches are images "
                "of similar shape. Switch one of them off."
            )
        at_least(
            imgsz=(imgsz, 1),
            stride=(stride, 1),
            seed=(seed, 0),
            epochs=(epochs, 1),
            pad=(pad, 0),
            multi_scale=(multi_scale, 0),
        )
        if multi_scale >= 1:
            raise ConfigError(f"multi_scale: got {multi_scale}, expected a share below 1.")
        if not 0 < fraction <= 1:
            raise ConfigError(f"fraction: got {fraction}, expected a share above 0 and at most 1.")
        self.data = data if isinstance(data, DataYaml) else read_data_yaml(Path(data))
        self.split, self.imgsz, self.augment = as_split(split), imgsz, augment
        self.shuffle, self.seed, self.epochs = shuffle, seed, epochs
        self.rect, self.multi_scale = rect, multi_scale
        self._stride, self._pad = stride, pad
        self.hooks = compiled_hooks(hooks)
        self.class_names = SINGLE_CLASS_NAMES if single_cls else self.data.names
        self.epoch = 0
        self.findings: tuple[Finding, ...] = ()
        self._unreadable = self._rejected = 0
        self.label_rows = 0
        """Label rows in the split's files, usable or not."""
        self.classes = class_numbers(classes, self.data.names, owner="dataset")
        """The numbers of the classes whose boxes are used, as data.yaml has them; None = all."""
        self.index = PackedIndex.of_chunks(
            self._read(keep_rejected), single_cls=single_cls, classes=self.classes
        )
        self._report_index()
        if fraction < 1:
            self.index = self.index.subset(draws.sample_of(seed, len(self.index), fraction))
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._aspect_order = aspect_order(self.shapes) if rect else None
        self.bad_images = BadImages(
            len(self), max_bad_share, f"{self.data.path} '{self.split}'", self._unreadable
        )
        self._cache_kind, self._cache_dir = cache, None if cache_dir is None else Path(cache_dir)
        self.cache = self._open_cache()
        self._renderer = SampleRenderer()

    # ------------------------------------------------------------ index

    def _read(self, keep_rejected: bool) -> Iterator[ReadChunk]:
        """The split's images; collects the findings and logs which images are left out."""
        findings: list[Finding] = []
        for chunk in read_split(self.data, self.split, findings, keep_rejected=keep_rejected):
            for i, found in sorted(chunk.findings.items()):
                findings.extend(found)
                if not chunk.usable[i] and not chunk.rejected[i]:
                    _log.warning("left out: %s", found[0])
            self._rejected += int(np.count_nonzero(chunk.rejected))
            self._unreadable += int(np.count_nonzero(~chunk.usable & ~chunk.rejected))
            self.label_rows += chunk.rows
            yield chunk
        self.findings = tuple(findings)

    @property
    def rejected_rows(self) -> list[Finding]:
        """A finding for each label row that is wrong (`formats.boxes.is_rejection`)."""
        return [finding for finding in self.findings if is_rejection(finding.severity, finding.code)]

    def _report_index(self) -> None:
        """Log what was found in the split. Raises `DataError` when no image is left."""
        name = f"{self.data.path} '{self.split}'"
        findings = [finding for finding in self.findings if finding.code not in LEFT_OUT]
        if findings:
            _log.warning("%s: %d findings in labels and images:", name, len(findings))
            for finding in findings[:MAX_FINDINGS_SHOWN]:
                _log.warning("  %s", finding)
            if len(findings) > MAX_FINDINGS_SHOWN:
                more = len(findings) - MAX_FINDINGS_SHOWN
                _log.warning("  ... and %d more; `yolofast check` lists all", more)
        if self._rejected:
            _log.warning(
                "%s: %d images are left out: none of their label rows can be used", name, self._rejected
            )
        if not len(self.index) and self._rejected:
            first = next(finding for finding in self.findings if finding.code.startswith("box-"))
            raise DataError(
                f"{self.data.path}: split '{self.split}': no image is left, because none of the label rows "
                f"of {self._rejected} images can be used. The first problem: {first}"
            )
        if not len(self.index):
            folders = ", ".join(map(str, self.data.splits.get(self.split, ()))) or "nothing (no such split)"
            raise DataError(
                f"{self.data.path}: split '{self.split}' has no readable image; looked in {folders}."
            )
        if not len(self.index.labels.rows) and self.classes is not None:
            chosen = ", ".join(self.data.names[number] for number in self.classes)
            _log.warning("%s: no box of the classes %s in %d images.", name, chosen, len(self.index))
        elif not len(self.index.labels.rows):
            _log.warning(
                "%s: no box for any of %d images; labels are expected in labels/ for images/, "
                "or next to the image.",
                name,
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

    # ------------------------------------------------------------ order, sizes and plans

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that positions alone refer to."""
        self.epoch = epoch

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Image indices in the order of an epoch, int64 [n]."""
        if self._aspect_order is not None:
            return self._aspect_order
        if not self.shuffle:
            return np.arange(len(self), dtype=np.int64)
        known = self._order  # read once: another thread may ask for another epoch
        if known is None or known[0] != epoch:
            known = self._order = epoch, draws.permutation(self.seed, epoch, len(self))
        return known[1]

    def sizes(self, batch_size: int) -> Sizes:
        """The size of the sample at every position when `batch_size` positions make a batch.

        Without `rect` and `multi_scale` that is imgsz x imgsz for any batch size.
        """
        at_least(batch_size=(batch_size, 1))
        if self._aspect_order is not None:
            return RectangularSizes(
                self.shapes, self._aspect_order, self.imgsz, self._stride, self._pad, batch_size
            )
        if self.multi_scale:
            return MultiScale(self.imgsz, self.multi_scale, self._stride, self.seed, batch_size)
        return FixedSize(self.imgsz)

    @property
    def decode_side(self) -> int:
        """Longer side, in pixels, at which a decoded image serves every sample that can be drawn."""
        zoom = 1 + (self.augment.scale if self.augment is not None else 0.0)
        return int(np.ceil(self.sizes(1).largest * zoom))

    def plan(
        self, epoch: int, positions: NDArray[np.int64], size: tuple[int, int] | None = None
    ) -> BatchPlan:
        """The plan of the samples at `positions` int64 [B], without unreadable images.

        size  (height, width) of the samples in pixels; omitted means that of the first position as a batch of
              its own, which is that of all unless `rect` or `multi_scale` is set

        Raises `DataError` when too many images are unreadable.
        """
        augment = self.augment
        height_width = self._size_alone(epoch, int(positions[0])) if size is None else size
        mosaic = augment is not None and not self.rect and epoch < self.epochs - augment.close_mosaic

        def draw(rows: NDArray[np.int64], replace: Replace | None) -> BatchPlan:
            return plan_batch(
                self.order(epoch),
                rows,
                self.shapes,
                height_width,
                augment,
                seed=self.seed,
                epoch=epoch,
                mosaic=mosaic,
                replace=replace,
            )

        return self.bad_images.substitute(positions, draw)

    def _size_alone(self, epoch: int, position: int) -> tuple[int, int]:
        return self.sizes(1).at(epoch, position)

    def targets(self, plan: BatchPlan) -> NDArray[np.float32]:
        """Labels of a plan's samples before any hooks, float32 [N, 6] sample, class, xywhn."""
        return self.index.targets(plan, filtered=self.augment is not None)

    # ------------------------------------------------------------ samples

    def __getitem__(self, key: int | tuple[int, int] | tuple[int, int, tuple[int, int]]) -> Sample:
        epoch, position, *given = key if isinstance(key, tuple) else (self.epoch, key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} samples")
        position %= len(self)
        size = given[0] if given else self._size_alone(epoch, position)
        batch = self._renderer.render(self, epoch, np.array([position], dtype=np.int64), size)
        height, width = batch.shapes[0].tolist()
        return Sample(batch.images[0], batch.targets[:, 1:], batch.paths[0], (height, width))

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    # ------------------------------------------------------------ cache

    def _open_cache(self) -> PlaneCache | None:
        if self._cache_kind == "none":
            return None
        load, threads = compact_planes(self.index, self.imgsz), os.cpu_count() or 1
        if self._cache_kind == "ram":
            return cache_in_ram(len(self), load, threads=threads, progress=True)
        signature = f"longer side {self.imgsz}, chroma 4:2:0, upright"
        folder = self._cache_dir or default_cache_dir()
        name = f"{self.data.path.parent.name}-{self.split}"
        path = cache_path(folder, name, self.paths, signature)
        return cache_on_disk(path, self.paths, signature, load, threads=threads, progress=True)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the cache, which is opened again in the process that unpickles."""
        return self.__dict__ | {"cache": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.cache = self._open_cache()
