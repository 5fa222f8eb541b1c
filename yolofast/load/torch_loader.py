"""The same samples through torch's own DataLoader, for training and for people who need that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Sampler

from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError
from yolofast.load.dataset import YOLODataset, collate
from yolofast.types import Batch, Sample, Split

MAX_WORKERS = 8


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, position), so that loader processes know the epoch without shared state."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, position) for position in range(self.count))


def custom_collate_fn(samples: Sequence[Sample]) -> Batch:
    """Samples as a `Batch` of torch tensors."""
    batch = collate(samples)
    return Batch(
        torch.from_numpy(batch.images),
        torch.from_numpy(batch.targets),
        batch.paths,
        torch.from_numpy(batch.shapes),
    )


class TorchLoader(DataLoader[Batch]):
    """A DataLoader over a `YOLODataset` whose epoch can be set (`set_epoch`)."""

    dataset: YOLODataset  # type: ignore[assignment]
    sampler: EpochSampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.sampler.epoch = epoch


def create_dataloader(
    config: YOLOConfig, split: Split = "train", augment: bool = True, shuffle: bool = True
) -> TorchLoader:
    """A loader of `Batch`es of torch tensors for one split of `config.dataset.data`.

    `augment` applies `config.augment`, else samples are letterboxed only; `shuffle` draws a new
    order every epoch. Raises `ConfigError` without data, `DataError` for unusable data.
    """
    if config.dataset.data is None:
        raise ConfigError("data: nothing given, expected the dataset's data.yaml. Add --data DATA.yaml.")
    dataset = YOLODataset(
        config.dataset.data,
        split,
        imgsz=config.dataset.imgsz,
        augment=config.augment if augment else None,
        shuffle=shuffle,
        seed=config.training.seed,
        epochs=config.training.epochs,
        single_cls=config.dataset.single_cls,
    )
    on_gpu = torch.cuda.is_available() and config.training.device != "cpu"
    workers = config.dataset.workers
    if workers is None:
        workers = min(MAX_WORKERS, os.cpu_count() or 1) if on_gpu else 0
    return TorchLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=config.training.batch,
        sampler=EpochSampler(len(dataset)),
        num_workers=workers,
        prefetch_factor=config.dataset.prefetch if workers else None,
        persistent_workers=workers > 0,
        pin_memory=config.dataset.pin_memory and on_gpu,
        drop_last=config.dataset.drop_last and split == "train" and len(dataset) >= config.training.batch,
        collate_fn=custom_collate_fn,
    )
