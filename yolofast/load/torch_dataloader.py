"""Batches as torch tensors: from `Loader`, for training, and through torch's own DataLoader if need be."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError
from yolofast.formats.yolo.data_yaml import DataYaml
from yolofast.load.dataset import YOLODataset, collate
from yolofast.load.loader import MAX_THREADS, Loader
from yolofast.load.monitor import DataFlowMonitor
from yolofast.types import Batch, Sample, Split


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, position), so that loader processes know the epoch without shared state."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, position) for position in range(self.count))


def as_tensors(batch: Batch) -> Batch:
    """The same batch as torch tensors, which share its memory."""
    return Batch(
        torch.from_numpy(batch.images),
        torch.from_numpy(batch.targets),
        batch.paths,
        torch.from_numpy(batch.shapes),
    )


def custom_collate_fn(samples: Sequence[Sample]) -> Batch:
    """Samples as a `Batch` of torch tensors."""
    return as_tensors(collate(samples))


class TorchLoader(DataLoader[Batch]):
    """A DataLoader over a `YOLODataset` whose epoch can be set (`set_epoch`)."""

    dataset: YOLODataset  # type: ignore[assignment]
    sampler: EpochSampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.sampler.epoch = epoch


def _dataset(
    config: YOLOConfig, split: Split, augment: bool, shuffle: bool, data: DataYaml | None = None
) -> YOLODataset:
    settings = config.dataset
    source = data or settings.data
    if source is None:
        raise ConfigError("data: missing, expected the dataset's data.yaml. Add --data DATA.yaml.")
    return YOLODataset(
        source,
        split,
        imgsz=settings.imgsz,
        augment=config.augment if augment else None,
        shuffle=shuffle and not settings.rect,
        seed=config.training.seed,
        epochs=config.training.epochs,
        single_cls=settings.single_cls,
        cache=settings.cache,
        cache_dir=settings.cache_dir,
        rect=settings.rect,
        multi_scale=settings.multi_scale if augment and not settings.rect else 0.0,
        batch=config.training.batch,
        stride=settings.stride,
        pad=settings.pad,
        max_bad_share=settings.max_bad_share,
    )


def _loading(config: YOLOConfig, split: Split, dataset: YOLODataset) -> dict[str, Any]:
    """What both loaders take alike: threads or processes, page-locked memory, and drop_last."""
    on_gpu = torch.cuda.is_available() and config.training.device != "cpu"
    workers = config.dataset.workers
    if workers is None:
        workers = min(MAX_THREADS, os.cpu_count() or 1) if on_gpu else 0
    return {
        "workers": workers,
        "pin_memory": config.dataset.pin_memory and on_gpu,
        "drop_last": config.dataset.drop_last and split == "train" and len(dataset) >= config.training.batch,
    }


def create_loader(
    config: YOLOConfig,
    split: Split = "train",
    augment: bool = True,
    shuffle: bool = True,
    *,
    data: DataYaml | None = None,
    monitor: DataFlowMonitor | None = None,
    device: torch.device | None = None,
) -> Loader:
    """A `Loader` of batches of torch tensors for one split of `config.dataset.data`.

    `data` is that data.yaml if it has been read already; omitted means it is read here.
    `augment` applies `config.augment`, else samples are letterboxed only; `shuffle` draws a new
    order every epoch. With a `device`, batches are rendered there. Raises `ConfigError` without data or for a
    device that cannot do it, `DataError` for unusable data.
    """
    dataset = _dataset(config, split, augment, shuffle, data)
    loading = _loading(config, split, dataset)
    return Loader(
        dataset,
        config.training.batch,
        threads=loading["workers"],
        prefetch=config.dataset.prefetch,
        drop_last=loading["drop_last"],
        tensors=True,
        pin_memory=loading["pin_memory"],
        monitor=monitor,
        device=device,
    )


def create_dataloader(
    config: YOLOConfig, split: Split = "train", augment: bool = True, shuffle: bool = True
) -> TorchLoader:
    """The same batches as `create_loader` gives, through torch's own DataLoader and its processes.

    Raises `ConfigError` without data, `DataError` for unusable data.
    """
    dataset = _dataset(config, split, augment, shuffle)
    loading = _loading(config, split, dataset)
    workers = loading["workers"]
    return TorchLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=config.training.batch,
        sampler=EpochSampler(len(dataset)),
        num_workers=workers,
        prefetch_factor=config.dataset.prefetch if workers else None,
        persistent_workers=workers > 0,
        pin_memory=loading["pin_memory"],
        drop_last=loading["drop_last"],
        collate_fn=custom_collate_fn,
    )
