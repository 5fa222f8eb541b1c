"""The batches of an epoch, without a last one of a single image.

Batch norm cannot learn from one image at the coarsest level, and its statistics are poor at all others.
Such a rest joins the batch before it, so that every image is trained in every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from yolofast.types import Batch


class TrainLoader(Protocol):
    """What the trainer needs of a loader."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...

    def set_epoch(self, epoch: int) -> None: ...


def epoch_batches(loader: TrainLoader) -> Iterator[tuple[Batch, bool]]:
    """Every batch of the loader's epoch, and whether it is the last.

    A last batch of one image is appended to the one before where their images have the same size; it stays
    alone where they differ (rectangular and multi-scale batches) and where it is the only one.
    """
    count, source = len(loader), iter(loader)
    for number, batch in enumerate(source, start=1):
        if number != count - 1:
            yield batch, number == count
            continue
        last = next(source, None)
        if last is not None and len(last) == 1 and last.images.shape[1:] == batch.images.shape[1:]:
            yield _joined(batch, last), True
            return
        yield batch, last is None
        if last is not None:
            yield last, True


def _joined(one: Batch, two: Batch) -> Batch:
    """Both batches of tensors as one; the targets' sample numbers go on."""
    moved = two.targets.clone()
    moved[:, 0] += len(one)
    return Batch(
        torch.cat((one.images, two.images)),
        torch.cat((one.targets, moved)),
        one.paths + two.paths,
        torch.cat((one.shapes, two.shapes)),
    )
