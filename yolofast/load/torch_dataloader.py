"""The same samples through torch's own DataLoader and its processes, for people who need that.

Example::

    loader = create_dataloader(YOLOConfig().replace(data="data.yaml", imgsz=640, batch=16), "train")
    for epoch in range(100):
        loader.set_epoch(epoch)
        for batch in loader:
            ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch.utils.data import DataLoader, Sampler

from yolofast.config import YOLOConfig
from yolofast.load.configured import configured_dataset, configured_loading
from yolofast.load.dataset import YOLODataset
from yolofast.load.hooks import Hook, HookFunction
from yolofast.load.plan.sizes import Sizes
from yolofast.load.tensors import custom_collate_fn
from yolofast.types import Batch, Split

Key = tuple[int, int, tuple[int, int]]
"""Epoch, position and (height, width): what `YOLODataset` can be indexed with."""


class EpochSampler(Sampler[Key]):
    """Yields the keys of an epoch's samples in order, so that loader processes need no shared state."""

    def __init__(self, count: int, sizes: Sizes) -> None:
        self.count, self.sizes = count, sizes
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Key]:
        epoch = self.epoch
        return ((epoch, position, self.sizes.at(epoch, position)) for position in range(self.count))


class TorchLoader(DataLoader[Batch]):
    """A DataLoader over a `YOLODataset` whose epoch can be set (`set_epoch`)."""

    dataset: YOLODataset  # type: ignore[assignment]
    sampler: EpochSampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self.sampler.epoch = epoch


def create_dataloader(
    config: YOLOConfig,
    split: Split | str = "train",
    augment: bool = True,
    shuffle: bool = True,
    *,
    hooks: Iterable[Hook | HookFunction] = (),
) -> TorchLoader:
    """The batches of `create_loader`, through torch's own DataLoader and its processes.

    `augment` applies `config.augment`, otherwise samples are letterboxed only; `shuffle` draws a new order
    every epoch; `hooks` are the user's own transforms. Raises `ConfigError` without data, `DataError` for
    unusable data.
    """
    dataset = configured_dataset(config, split, augment, shuffle, hooks=hooks)
    loading = configured_loading(config, dataset)
    batch_size, workers = config.training.batch, loading["workers"]
    return TorchLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), dataset.sizes(batch_size)),
        num_workers=workers,
        prefetch_factor=config.dataset.prefetch if workers else None,
        persistent_workers=workers > 0,
        pin_memory=loading["pin_memory"],
        drop_last=loading["drop_last"],
        collate_fn=custom_collate_fn,
    )
