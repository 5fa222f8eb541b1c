"""What the tests of a loader's samples, its states and its shards share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.coloured_dataset import Plain, plain

from yolofast.config import AugmentConfig
from yolofast.load import YOLODataset

COUNT = 23
"""Images of the `data` fixture."""
SIZE = 64


def dataset(data: Path, **options: Any) -> YOLODataset:
    """Shuffled and augmented in small blocks, unless the options say otherwise."""
    options = {"imgsz": SIZE, "augment": AugmentConfig(mosaic_block=8, mixup=0.3), "shuffle": True} | options
    return YOLODataset(data, "train", **options)


def one_by_one(samples: YOLODataset, epoch: int = 0, batch: int = 1) -> list[Plain]:
    """An epoch's samples from the dataset itself, at the sizes that batches of `batch` have."""
    sizes = samples.sizes(batch)
    return [plain(samples[epoch, position, sizes.at(epoch, position)]) for position in range(len(samples))]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it comes back from a checkpoint."""
    loaded: dict[str, Any] = json.loads(json.dumps(state))
    return loaded
