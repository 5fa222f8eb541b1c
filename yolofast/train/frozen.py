"""Frozen layers stay as they are: their batch norms, too."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_frozen_statistics(model: nn.Module) -> None:
    """Put the batch norms whose weights get no gradient into eval mode; `model.train()` undoes it."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
            module.eval()
