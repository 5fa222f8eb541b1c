"""Layers are counted as YOLO users count them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolofast.errors import ConfigError
from yolofast.models import backbone_layers, build_model, freezable_layers, freeze_layers
from yolofast.models.blocks import ConvUnit, CSPBlock, FastSPP


def frozen_names(freeze: int | str) -> set[str]:
    model = build_model("p", 2)
    freeze_layers(model, freeze)
    return {name for name, weight in model.named_parameters() if not weight.requires_grad}


def test_the_backbone_has_ten_layers_in_the_order_of_the_forward_pass() -> None:
    model = build_model("p", 2)
    kinds = [type(layer) for layer in backbone_layers(model)]
    assert kinds == [ConvUnit, *[ConvUnit, CSPBlock] * 4, FastSPP]
    ran: list[nn.Module] = []
    layers = [layer for layer in freezable_layers(model) if layer is not None]
    for layer in set(layers):
        layer.register_forward_hook(lambda module, *_: ran.append(module))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert ran == layers
    assert len(freezable_layers(model)) == 22


def test_ten_layers_are_the_backbone_and_22_are_all_but_the_head() -> None:
    names = {name for name, _ in build_model("p", 2).named_parameters()}
    backbone = {name for name in names if name.startswith("backbone.")}
    assert frozen_names(0) == set()
    assert frozen_names(1) == {name for name in backbone if name.startswith("backbone.stem.")}
    assert frozen_names(2) == frozen_names(1) | {n for n in backbone if n.startswith("backbone.stage4.0.")}
    assert frozen_names(10) == frozen_names("backbone") == frozen_names(12) == backbone
    assert frozen_names(13) == backbone | {name for name in names if name.startswith("neck.top16.")}
    assert frozen_names(22) == {name for name in names if not name.startswith("head.")}


def test_more_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match="freeze: got 23, expected at most 22: model p has 10 layers in the"
    ):
        freeze_layers(build_model("p", 2), 23)
