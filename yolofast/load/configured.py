"""Datasets and loaders as a `YOLOConfig` describes them, for training and evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypedDict

import torch

from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError
from yolofast.formats.data_yaml import DataYaml
from yolofast.load.dataset import YOLODataset
from yolofast.load.hooks import Hook, HookFunction
from yolofast.load.loader import MAX_THREADS, Loader
from yolofast.load.monitor import DataFlowMonitor
from yolofast.types import Split


class Loading(TypedDict):
    """What `Loader` and torch's DataLoader have in common; `workers` are threads or processes."""

    workers: int
    pin_memory: bool
    drop_last: bool


def configured_dataset(
    config: YOLOConfig,
    split: Split | str,
    augment: bool,
    shuffle: bool,
    hooks: Iterable[Hook | HookFunction] = (),
    data: DataYaml | None = None,
) -> YOLODataset:
    """The dataset of a split of `config.dataset.data`, or of `data`, which has been read already.

    Raises `ConfigError` without data, `DataError` for unusable data.
    """
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
        multi_scale=settings.multi_scale if augment else 0.0,
        stride=settings.stride,
        pad=settings.pad,
        hooks=hooks,
        max_bad_share=settings.max_bad_share,
        keep_rejected=settings.keep_rejected,
        fraction=settings.fraction if augment else 1.0,
        classes=settings.classes,
    )


def configured_loading(config: YOLOConfig, dataset: YOLODataset) -> Loading:
    """How the batches of `dataset` are loaded."""
    on_gpu = torch.cuda.is_available() and config.training.device != "cpu"
    workers = config.dataset.workers
    drop_last = config.dataset.drop_last and dataset.split == "train"
    if workers is None:
        workers = min(MAX_THREADS, os.cpu_count() or 1) if on_gpu else 0
    return {
        "workers": workers,
        "pin_memory": config.dataset.pin_memory and on_gpu,
        "drop_last": drop_last and len(dataset) >= config.training.batch,
    }


def create_loader(
    config: YOLOConfig,
    split: Split | str = "train",
    augment: bool = True,
    shuffle: bool = True,
    *,
    data: DataYaml | None = None,
    monitor: DataFlowMonitor | None = None,
    device: torch.device | None = None,
    hooks: Iterable[Hook | HookFunction] = (),
) -> Loader:
    """A `Loader` of batches of torch tensors for one split of `config.dataset.data`.

    `data` is that data.yaml if it has been read already. `augment` applies `config.augment`, otherwise
    samples are letterboxed only; `shuffle` draws a new order every epoch. With a `device`, batches are
    rendered there. `hooks` are the user's own transforms.

    Raises `ConfigError` without data or for a device that cannot render, `DataError` for unusable data.
    """
    dataset = configured_dataset(config, split, augment, shuffle, hooks, data)
    loading = configured_loading(config, dataset)
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
