"""MuSGD: SGD whose steps of weight matrices are blended with Muon's orthogonalised steps.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") replaces the momentum of
a weight matrix by the nearest matrix with orthogonal rows or columns, so that all its directions are learned
at the same rate. torch.optim.Muon does that for parameters of two dimensions alone; the weights of a detector
are convolutions, so the few lines are here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration (Jordan et al.): steep at zero, so that five steps are enough."""
ITERATIONS = 5
EPS = 1e-7
MUON_SHARE = 0.5
"""Share of the orthogonalised step in the step of a weight matrix; the rest is SGD's."""


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Nearly the orthogonal factor U V^T of each matrix U S V^T: float [..., m, n], computed in `dtype`.

    Newton-Schulz iteration X <- a X + (b G + c G^2) X with G = X X^T, from a matrix of Frobenius norm 1; the
    singular values end between about 0.7 and 1.2, which is as good as 1 here (Jordan et al.). A matrix of
    zeros stays one.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=EPS)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    found: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return found


class MuSGD(torch.optim.Optimizer):
    """SGD with Nesterov momentum, blended with Muon for weights of two or more dimensions.

    With gradient g, momentum mu, rate lr and decay d of a parameter w, every step takes

        v <- mu v + g;  u = g + mu v;  w <- w (1 - lr d) - lr step

    where step = u for biases and norms, and for weights, as matrices [out, rest] of m rows and n columns,
    step = `muon_share` sqrt(max(1, m / n)) orthogonalised(u) + (1 - `muon_share`) u. The state is v, named
    `momentum_buffer`. The iteration runs in bfloat16 on CUDA and in float32 elsewhere, for all weights of
    one shape together.

    params      parameters, or groups of them; `lr`, `momentum`, `weight_decay` may differ between groups
    muon_share  0..1; 1 is Muon alone for weights, as torch.optim.Muon
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.937,
        weight_decay: float = 0.0,
        muon_share: float = MUON_SHARE,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "muon_share": muon_share}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient; there is no closure."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step(weights, group)

    def _step(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        lr, momentum, share = group["lr"], group["momentum"], group["muon_share"]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        buffers = [self._buffer(weight) for weight in weights]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        steps = list(torch._foreach_add(gradients, buffers, alpha=momentum))
        by_shape = defaultdict(list)
        for index, weight in enumerate(weights):
            if weight.ndim > 1:
                by_shape[weight.flatten(1).shape].append(index)
        for (rows, columns), indices in by_shape.items():
            matrices = torch.stack([steps[i].flatten(1) for i in indices])
            dtype = torch.bfloat16 if matrices.is_cuda else torch.float32
            moves = orthogonalised(matrices, dtype) * (share * max(1.0, rows / columns) ** 0.5)
            for i, move in zip(indices, moves, strict=True):
                steps[i] = steps[i] * (1 - share) + move.view(steps[i].shape)
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - lr * group["weight_decay"])
        torch._foreach_add_(weights, steps, alpha=-lr)

    def _buffer(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
