"""Optimizers with decay and no-decay parameter groups, and the learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from yolofast.config import Optimizer, TrainingConfig
from yolofast.train.muon import MuSGD

AUTO_ADAMW_STEPS = 10_000
MUSGD_RATE = 0.03
"""Peak rate of MuSGD: its orthogonalised steps do not depend on the size of the gradients."""
MAX_WARMUP_SHARE = 0.3
"""A warm-up never takes a larger share of the run than this, so that short runs reach their peak rate."""
ADAMW_BETAS = (0.9, 0.999)


FINE_TUNING_SHARE = 0.25
"""Peak learning rate of AdamW for trained weights, as a share of that for random ones."""


def resolved(
    config: TrainingConfig,
    *,
    num_classes: int,
    steps: int,
    resumed: Optimizer | None = None,
    default: Optimizer = "auto",
    fine_tuning: bool = False,
) -> TrainingConfig:
    """`config` with the optimizer and the peak learning rate that it leaves open.

    steps    of the whole run: `auto` means AdamW up to 10,000 steps, whose per-weight step size suits short
             runs, and SGD for longer ones
    default  the model's own optimizer, which `auto` then means, whatever the number of steps
    resumed  the optimizer of the run that is resumed, which `auto` then means in any case
    fine_tuning  whether training starts from trained weights: a high peak would undo them first, so `auto`
             goes by the number of steps for every model, and AdamW's peak is lower
    """
    kind = config.optimizer
    if kind == "auto":
        by_length: Optimizer = "adamw" if steps <= AUTO_ADAMW_STEPS else "sgd"
        kind = resumed or (by_length if default == "auto" or fine_tuning else default)
    adamw = 0.01 / (4 + num_classes) * (FINE_TUNING_SHARE if fine_tuning else 1.0)
    rates = {"adamw": adamw, "musgd": MUSGD_RATE, "sgd": 0.01}
    rate = config.lr0 or rates[kind]
    return replace(config, optimizer=kind, lr0=rate)


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, AdamW (Loshchilov and Hutter, arXiv:1711.05101) or `MuSGD`.

    As a `resolved` config says.
    Only weights of two or more dimensions decay; biases and norm weights do not.
    """
    assert config.lr0 is not None
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr0, betas=ADAMW_BETAS)
    if config.optimizer == "musgd":
        return MuSGD(groups, lr=config.lr0, momentum=config.momentum)
    return torch.optim.SGD(groups, lr=config.lr0, momentum=config.momentum, nesterov=config.momentum > 0)


@dataclass
class Plateau:
    """Reduces the learning rate when the validation loss stops falling (as torch's ReduceLROnPlateau)."""

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    gain: float = 1.0
    best: float = math.inf
    waited: int = 0

    def step(self, loss: float) -> None:
        """Record the validation loss of an epoch."""
        if loss < self.best * (1 - self.threshold):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.gain *= self.factor
            self.waited = 0


@dataclass
class LearningRate:
    """Learning rate and momentum of every step: warm-up from zero, then the schedule.

    A pure function of the step and the number of epochs, except for the plateau schedule, whose state is in
    `plateau`. `epochs` are those of the run; one with a time limit has them estimated anew.
    """

    config: TrainingConfig
    steps_per_epoch: int
    peak: float
    plateau: Plateau = field(default_factory=Plateau)
    epochs: int = field(init=False)

    def __post_init__(self) -> None:
        self.epochs = self.config.epochs

    @property
    def warmup_steps(self) -> int:
        """Steps of the warm-up: --warmup-epochs, or the largest share that is allowed."""
        epochs = min(self.config.warmup_epochs, MAX_WARMUP_SHARE * self.epochs)
        return round(epochs * self.steps_per_epoch)

    def at(self, step: int) -> float:
        """The learning rate of a step (counted from 0 over the whole run)."""
        progress = min(1.0, step / max(1, self.epochs * self.steps_per_epoch))
        last = self.config.lrf
        if self.config.schedule == "cosine":
            share = last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2
        elif self.config.schedule == "linear":
            share = last + (1 - last) * (1 - progress)
        else:
            share = self.plateau.gain
        return self.peak * share * self._warm(step)

    def _warm(self, step: int) -> float:
        return min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Set rate and momentum of all groups for a step; returns the rate."""
        rate = self.at(step)
        low = self.config.warmup_momentum
        for group in optimizer.param_groups:
            group["lr"] = rate
            if "momentum" in group:
                group["momentum"] = low + (self.config.momentum - low) * self._warm(step)
        return rate

    def state_dict(self) -> dict[str, Any]:
        return {"gain": self.plateau.gain, "best": self.plateau.best, "waited": self.plateau.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.plateau.gain, self.plateau.best = state["gain"], state["best"]
        self.plateau.waited = state["waited"]
