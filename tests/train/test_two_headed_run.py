"""A detector of two heads, trained with MuSGD, stopped and resumed: the same bits at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from yolofast.config import TrainingConfig
from yolofast.models import build_model
from yolofast.train import CheckpointManager, Trainer
from yolofast.types import Batch

EPOCHS = 4


class StopError(Exception):
    """The process ends here."""


class Loader:
    """One batch of two noisy images per epoch, that depends on the epoch alone."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return 1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(self.epoch)
        images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
        targets = torch.tensor([[0, 1, 0.5, 0.5, 0.4, 0.6], [1, 0, 0.3, 0.4, 0.2, 0.2]])
        yield Batch(images, targets, ("a", "b"), torch.full((2, 2), 64))


def train(folder: Path, *, stop_in: int | None = None, resume: bool = False) -> dict[str, torch.Tensor]:
    def on_batch(epoch: int, number: int, batch: Batch) -> None:
        if epoch == stop_in:
            raise StopError

    settings = TrainingConfig(epochs=EPOCHS, device="cpu", amp="off", resume=resume)
    checkpoints = CheckpointManager(folder)
    made = Trainer(
        build_model("yolo26n", 2, seed=3 if resume else 0),  # a resumed run has nothing of its new weights
        Loader(),
        settings,
        num_classes=2,
        checkpoints=checkpoints,
        progress=False,
        on_batch=on_batch,
    )
    assert made.config.optimizer == "musgd"
    made.fit()
    return load_file(checkpoints.last)


def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(StopError):
        train(tmp_path / "stopped", stop_in=3)
    got = train(tmp_path / "stopped", resume=True)
    assert got.keys() == whole.keys()
    assert any("momentum_buffer" in name for name in got)
    for name, tensor in whole.items():
        assert torch.equal(got[name], tensor), name
