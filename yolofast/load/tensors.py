"""Batches as torch tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from yolofast.types import Batch, Sample


def as_tensors(batch: Batch) -> Batch:
    """The same batch as torch tensors that share its memory."""
    return Batch(
        torch.from_numpy(batch.images),
        torch.from_numpy(batch.targets),
        batch.paths,
        torch.from_numpy(batch.shapes),
    )


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


def custom_collate_fn(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as a `Batch` of torch tensors."""
    return as_tensors(collate(samples))
