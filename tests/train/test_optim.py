"""Parameter groups, schedules and warm-up."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from yolofast.config import TrainingConfig
from yolofast.models import build_model
from yolofast.train import LearningRate, Trainer, build_optimizer, resolved
from yolofast.train.optim import Plateau


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_only_weights_decay(kind: str) -> None:
    model = network()
    optimizer = build_optimizer(model, TrainingConfig(optimizer=kind, lr0=0.1))
    decayed = {p for g in optimizer.param_groups if g["weight_decay"] > 0 for p in g["params"]}
    assert decayed == {p for p in model.parameters() if p.ndim == 4}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("steps", "kind", "lr0"), [(10_000, torch.optim.AdamW, 0.002), (10_001, torch.optim.SGD, 0.01)]
)
def test_auto_chooses_by_length_of_the_run(steps: int, kind: type, lr0: float) -> None:
    config = resolved(TrainingConfig(), num_classes=1, steps=steps)
    optimizer = build_optimizer(network(), config)
    assert isinstance(optimizer, kind)
    assert config.lr0 == optimizer.param_groups[0]["lr"] == lr0


def test_trained_weights_get_a_lower_peak_from_adamw_unless_a_rate_is_given() -> None:
    def rate(**settings: object) -> float | None:
        config = TrainingConfig(**settings)  # type: ignore[arg-type]
        return resolved(config, num_classes=6, steps=9, fine_tuning=True).lr0

    assert rate() == rate(optimizer="adamw") == pytest.approx(0.001 / 4)
    assert rate(lr0=0.004) == 0.004
    assert rate(optimizer="sgd") == 0.01


def test_auto_of_a_run_that_is_resumed_is_its_own_optimizer() -> None:
    """More epochs must not turn AdamW into SGD half-way."""
    assert resolved(TrainingConfig(), num_classes=1, steps=10_001, resumed="adamw").optimizer == "adamw"
    explicit = resolved(TrainingConfig(optimizer="sgd", lr0=0.5), num_classes=1, steps=9, resumed="adamw")
    assert (explicit.optimizer, explicit.lr0) == ("sgd", 0.5)


@pytest.mark.parametrize("steps", [10, 10_001])
def test_auto_of_a_model_with_its_own_optimizer(steps: int) -> None:
    """Whatever the length of the run; but not when it was chosen, or began, otherwise."""
    config = resolved(TrainingConfig(), num_classes=1, steps=steps, default="musgd")
    assert (config.optimizer, config.lr0) == ("musgd", 0.03)
    explicit = resolved(TrainingConfig(optimizer="sgd"), num_classes=1, steps=steps, default="musgd")
    assert (explicit.optimizer, explicit.lr0) == ("sgd", 0.01)
    resumed = resolved(TrainingConfig(), num_classes=1, steps=steps, default="musgd", resumed="adamw")
    assert (resumed.optimizer, resumed.lr0) == ("adamw", 0.002)


@pytest.mark.parametrize(("name", "kind"), [("n", "AdamW"), ("yolo11n", "AdamW"), ("yolo26n", "MuSGD")])
def test_the_trainer_asks_the_model(name: str, kind: str) -> None:
    class Loader:
        def __len__(self) -> int:
            return 2

    made = Trainer(
        build_model(name, 1, seed=0),
        Loader(),  # type: ignore[arg-type]
        TrainingConfig(epochs=2, device="cpu"),
        num_classes=1,
        progress=False,
    )
    assert type(made.optimizer).__name__ == kind
    assert made.config.optimizer == kind.lower()


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_rate_warms_up_and_falls_to_its_last_share(schedule: str) -> None:
    config = TrainingConfig(schedule=schedule, epochs=50, warmup_epochs=3, lrf=0.1)
    rate = LearningRate(config, steps_per_epoch=100, peak=2.0)
    values = [rate.at(step) for step in range(50 * 100 + 1)]
    top = values.index(max(values))
    assert 290 <= top <= 300
    assert all(a < b for a, b in itertools.pairwise(values[: top + 1]))
    assert all(a >= b for a, b in itertools.pairwise(values[top:]))
    assert values[-1] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("epochs", "asked", "steps"),
    [(100, 3.0, 12), (100, 0.5, 2), (10, 3.0, 12), (10, 9.0, 12), (5, 3.0, 6), (1, 3.0, 1), (5, 0.0, 0)],
)
def test_warm_up_is_what_was_asked_for_up_to_a_share_of_the_run(
    epochs: int, asked: float, steps: int
) -> None:
    """Of epochs with 4 steps; the peak is reached even in a run of one epoch."""
    rate = LearningRate(TrainingConfig(epochs=epochs, warmup_epochs=asked, schedule="plateau"), 4, 1.0)
    assert rate.warmup_steps == steps
    assert [rate.at(step) < 1.0 for step in range(steps + 1)] == [True] * max(0, steps - 1) + [False] * (
        1 + (steps > 0)
    )


def test_plateau_cuts_like_torch() -> None:
    losses = [3.0, 2.0, 2.0, 2.1, 2.0, 1.5, 1.5, 1.6, 1.5, 1.5]
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=2)
    ours = Plateau(patience=2)
    for loss in losses:
        theirs.step(loss)
        ours.step(loss)
        assert ours.gain == pytest.approx(optimizer.param_groups[0]["lr"])
    assert ours.gain < 1


def test_plateau_schedule_survives_its_state() -> None:
    rate = LearningRate(TrainingConfig(schedule="plateau", warmup_epochs=0), 10, 1.0)
    for loss in [1.0] * 13:
        rate.plateau.step(loss)
    again = LearningRate(TrainingConfig(schedule="plateau", warmup_epochs=0), 10, 1.0)
    again.load_state_dict(rate.state_dict())
    assert again.plateau == rate.plateau
    assert again.at(500) == rate.at(500) == pytest.approx(0.1)


def test_momentum_warms_up() -> None:
    config = TrainingConfig(optimizer="sgd", epochs=10, warmup_epochs=1, momentum=0.9, warmup_momentum=0.5)
    optimizer = build_optimizer(network(), resolved(config, num_classes=2, steps=10))
    rate = LearningRate(config, 200, 0.01)
    rate.apply(optimizer, 99)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.7)
    rate.apply(optimizer, 500)
    assert all(g["momentum"] == pytest.approx(0.9) for g in optimizer.param_groups)
    assert not math.isnan(optimizer.param_groups[1]["lr"])
