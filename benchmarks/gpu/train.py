"""Training on a device from files, compared with the same steps on one batch that is already on the device.

The rates are the trainer's own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yolofast.bench.figures import ratio, spread
from yolofast.bench.loaders.dataset import Copied, copy_for_bench
from yolofast.bench.protocol import interleave
from yolofast.config import AugmentConfig, TrainingConfig
from yolofast.errors import YolofastError
from yolofast.load import Loader, YOLODataset
from yolofast.models import build_model
from yolofast.train import Trainer
from yolofast.types import Batch

WARM_UP = 1
LIMIT_S = 120
"""No further round begins after so many seconds."""


class Repeated:
    """A loader that repeats one batch: what a step takes when nothing has to be loaded."""

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
    """Images per second from files by each executor, and on the batch that is already there; interleaved."""
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_for_bench(data, "train", Path(folder, "copy"), batch * steps)
        samples = YOLODataset(copied.data_yaml, "train", imgsz=imgsz, augment=AugmentConfig(), shuffle=True)
        loaders: dict[str, Any] = {
            "files, rendered on the device": Loader(samples, batch, drop_last=True, device=device),
            "files, rendered on the CPU": Loader(
                samples, batch, drop_last=True, tensors=True, pin_memory=device.type == "cuda"
            ),
        }
        notes: dict[str, Any] = {}
        if device.type == "cuda":
            try:
                by_nvjpeg = Loader(samples, batch, drop_last=True, device=device, jpeg="nvjpeg")
            except YolofastError as error:  # there is no nvJPEG, or it does not work here
                notes["decoded by nvJPEG: not run"] = str(error)
            else:
                loaders["files, decoded by nvJPEG"] = by_nvjpeg
        first = next(iter(loaders["files, rendered on the device"]))
        loaders["nothing to load"] = Repeated(first, steps)
        runs = {name: partial(images_per_s, copied, loader, device, size) for name, loader in loaders.items()}
        rates = interleave(runs, rounds, warm_up=WARM_UP, limit_s=LIMIT_S)
    still = rates["nothing to load"]
    return {
        "what": f"training {size} at {imgsz}, batch {batch}, {steps} steps, mosaic and default augmentation",
        "rounds": len(still),
        "images_per_s": {name: spread(values) for name, values in rates.items()},
        "share_of_nothing_to_load": {name: ratio(values, still) for name, values in rates.items()},
        "files": copied.files,
    } | notes
