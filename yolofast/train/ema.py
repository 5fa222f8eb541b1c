"""Exponential moving average of the weights: the model that is evaluated and exported."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


class ModelEma:
    """Keeps `average = decay * average + (1 - decay) * weights`, with a ramp at the start.

    The decay of update t is `decay * (1 - exp(-t / tau))`, so early averages follow the weights.
    Averaging of iterates: Polyak and Juditsky, SIAM J. Control Optim. 1992. Integer buffers are
    copied. `decay` 0 makes the average the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau = decay, tau
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average after an optimizer step."""
        self.updates += 1
        share = 1 - self.decay * (1 - math.exp(-self.updates / self.tau))
        averages, weights = [], []
        for average, weight in zip(
            self.model.state_dict().values(), model.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                averages.append(average)
                weights.append(weight)
            else:
                average.copy_(weight)
        torch._foreach_lerp_(averages, weights, share)
