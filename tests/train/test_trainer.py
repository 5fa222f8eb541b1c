"""The training loop on a model small enough to follow by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from yolofast.config import TrainingConfig
from yolofast.errors import CheckpointError, ConfigError, YolofastError
from yolofast.train import CheckpointManager, Trainer, TrainingMonitor, mixed_precision, select_device
from yolofast.types import Batch

CPU = torch.device("cpu")


class Mean(nn.Module):
    """Fits the mean brightness of the images: box loss (w - mean)^2, other losses 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1))

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = ((self.w - images.mean()) ** 2).sum()
        return torch.stack([loss, loss * 0, loss * 0])


class Loader:
    """Four batches of two images of brightness 51 (0.2)."""

    def __init__(self, brightness: float = 51) -> None:
        self.epochs: list[int] = []
        self.brightness = brightness

    def __len__(self) -> int:
        return 4

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(4):
            images = torch.full((2, 3, 4, 4), self.brightness)
            yield Batch(images, torch.zeros(0, 6), ("a", "b"), torch.full((2, 2), 4))


def config(**changes: Any) -> TrainingConfig:
    options: dict[str, Any] = {"epochs": 6, "device": "cpu", "optimizer": "sgd", "lr0": 0.1, "amp": "off"}
    return TrainingConfig(**options | {"warmup_epochs": 0.0, "momentum": 0.0, "weight_decay": 0.0} | changes)


def trainer(settings: TrainingConfig, **options: Any) -> Trainer:
    return Trainer(Mean(), options.pop("loader", None) or Loader(), settings, num_classes=1, **options)


def test_it_learns_and_reports_every_epoch(tmp_path: Path) -> None:
    loader = Loader()
    made = trainer(config(), loader=loader, monitor=TrainingMonitor(tmp_path))
    result = made.fit()
    assert made.model.w.item() == pytest.approx(0.2, abs=1e-3)
    assert loader.epochs == list(range(6))
    assert result.final_epoch == 6
    losses = [row["train_box"] for row in result.training_history]
    assert losses == sorted(losses, reverse=True)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 7
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4", "5", "6"]


def test_the_result_reads_as_an_object_and_as_a_mapping() -> None:
    result = trainer(config(epochs=2)).fit()
    assert dict(result) == {
        "training_history": result.training_history,
        "best_metric": result.best_metric,
        "final_epoch": 2,
    }
    assert "best_metric" in result
    assert "resume" not in result
    with pytest.raises(KeyError):
        result["resume"]


def test_images_that_are_scaled_already_are_used_unchanged() -> None:
    made = trainer(config(), loader=Loader(brightness=0.2))
    made.fit()
    assert made.model.w.item() == pytest.approx(0.2, abs=1e-3)


def test_gradients_are_summed_up_to_the_nominal_batch() -> None:
    """Two batches of two summed to nbs 4 make one step of the same size as plain SGD on four."""
    made = trainer(config(epochs=1, nbs=4, lrf=1.0))
    made.fit()
    w = 0.0
    for _ in range(2):  # 4 batches = 2 steps; gradient = 2 batches x 2 images x 2 (w - 0.2)
        w -= 0.1 * 2 * 2 * 2 * (w - 0.2)
    assert made.model.w.item() == pytest.approx(w, rel=1e-5)
    assert made.ema.updates == 2


def test_gradient_clipping_bounds_the_step() -> None:
    made = trainer(config(epochs=1, clip_norm=0.01, lrf=1.0))
    made.fit()
    assert made.model.w.item() == pytest.approx(4 * 0.1 * 0.01, rel=1e-4)


def test_patience_stops_and_best_is_kept(tmp_path: Path) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    manager = CheckpointManager(tmp_path)
    made = trainer(
        config(patience=2),
        checkpoints=manager,
        validate=lambda _: {"map50_95": next(scores), "val_loss": 1.0},
    )
    result = made.fit()
    assert result.best_metric == 0.5
    assert result.final_epoch == 4
    assert manager.best.exists()


def test_a_validation_split_without_boxes_still_leaves_a_best_model(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    validate = lambda _: {"map50_95": math.nan, "val_loss": 1.0}  # noqa: E731
    trainer(config(epochs=2), checkpoints=manager, validate=validate).fit()
    assert manager.best.exists()


def test_a_loss_that_is_not_finite_stops_with_advice() -> None:
    with pytest.raises(YolofastError, match=r"the loss became (nan|inf) in epoch 1.*Lower --lr0"):
        trainer(config(), loader=Loader(brightness=math.inf)).fit()


def test_resume_needs_the_same_optimizer(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    trainer(config(epochs=1), checkpoints=manager).fit()
    with pytest.raises(CheckpointError, match="made with SGD, this run uses AdamW"):
        trainer(config(optimizer="adamw", resume=True), checkpoints=manager).fit()


def test_resume_without_a_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    assert (
        trainer(config(epochs=1, resume=True), checkpoints=CheckpointManager(tmp_path)).fit().final_epoch == 1
    )


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "99"])
def test_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device: got '{name}'"):
        select_device(name)


def test_mixed_precision_policy() -> None:
    assert mixed_precision("off", CPU) is None
    assert mixed_precision("on", CPU) is torch.bfloat16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert mixed_precision("auto", CPU) is (torch.bfloat16 if native else None)
