"""The averaged model."""

from __future__ import annotations

import math

import torch
from torch import nn

from yolofast.train import ModelEma


def test_average_follows_the_formula_and_buffers_are_copied() -> None:
    model = nn.BatchNorm1d(3)
    ema = ModelEma(model, decay=0.9, tau=10)
    expected = model.weight.detach().clone()
    for step in range(1, 6):
        with torch.no_grad():
            model.weight += step
            model.running_mean += 1.0
            model.num_batches_tracked += 1
        ema.update(model)
        share = 1 - 0.9 * (1 - math.exp(-step / 10))
        expected = expected + (model.weight.detach() - expected) * share
    torch.testing.assert_close(ema.model.weight.detach(), expected)
    assert ema.model.num_batches_tracked == 5
    assert 0 < ema.model.running_mean[0] < 5
    assert not ema.model.weight.requires_grad
    assert not ema.model.training


def test_no_decay_is_the_model_itself() -> None:
    model = nn.Linear(2, 2)
    ema = ModelEma(model, decay=0.0)
    with torch.no_grad():
        model.weight += 3
    ema.update(model)
    torch.testing.assert_close(ema.model.weight, model.weight, check_stride=False)
