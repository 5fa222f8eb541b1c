"""Training on a device from files, beside the same steps on one batch that lies there already.

What an epoch takes is the trainer's own figure. The peer, where its package is, trains the same files with
its own defaults, apart from what would make the work differ: no validation, no plots, no saving.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleave import spread

from yolofast.bench.dataset import Copied, copy_for_bench
from yolofast.config import AugmentConfig, TrainingConfig
from yolofast.errors import YolofastError
from yolofast.load import Loader, YOLODataset
from yolofast.models import build_model
from yolofast.train import Trainer
from yolofast.types import Batch

WARM_UP = 1
ENOUGH_S = 120
"""No further round is begun after so many seconds."""


class Repeated:
    """A loader that gives one batch again and again: what a step takes when nothing has to be loaded."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return iter([self.batch] * self.count)

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""


def images_per_s(copied: Copied, loader: Any, device: torch.device, size: str) -> float:
    """The rate of one epoch with a new network."""
    model = build_model(size, copied.classes, seed=0)
    config = TrainingConfig(epochs=1, device=str(device), amp=True)
    result = Trainer(model, loader, config, num_classes=copied.classes).fit()
    return float(result.training_history[-1]["images_per_s"])


def run(
    data: Path, device: torch.device, *, size: str, imgsz: int, batch: int, steps: int, rounds: int
) -> dict[str, Any]:
    """Images a second from files by each executor, and on the batch that is there already; interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_for_bench(data, "train", Path(folder, "copy"), batch * steps)
        samples = YOLODataset(copied.data_yaml, "train", imgsz=imgsz, augment=AugmentConfig(), shuffle=True)
        sides: dict[str, Any] = {
            "files, rendered on the device": Loader(samples, batch, drop_last=True, device=device),
            "files, rendered on the CPU": Loader(
                samples, batch, drop_last=True, tensors=True, pin_memory=device.type == "cuda"
            ),
        }
        notes: dict[str, Any] = {}
        if device.type == "cuda":
            try:
                by_nvjpeg = Loader(samples, batch, drop_last=True, device=device, jpeg="nvjpeg")
            except YolofastError as error:  # there is no nvJPEG, or none that works here
                notes["decoded by nvJPEG: not run"] = str(error)
            else:
                sides["files, decoded by nvJPEG"] = by_nvjpeg
        first = next(iter(sides["files, rendered on the device"]))
        sides["nothing to load"] = Repeated(first, steps)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        begun = time.monotonic()
        for repeat in range(rounds + WARM_UP):
            if repeat > WARM_UP and time.monotonic() - begun > ENOUGH_S:
                break
            for name, loader in sides.items():
                rate = images_per_s(copied, loader, device, size)
                if repeat >= WARM_UP:
                    rates[name].append(rate)
    still = np.array(rates["nothing to load"])
    return {
        "what": f"training {size} at {imgsz}, batch {batch}, {steps} steps, mosaic and default augmentation",
        "rounds": len(still),
        "images_per_s": {name: spread(values) for name, values in rates.items()},
        "share_of_nothing_to_load": {
            name: spread(np.array(values) / still) for name, values in rates.items() if name in sides
        },
        "files": copied.files,
    } | notes
