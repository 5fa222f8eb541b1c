"""Freezing of the first layers for fine-tuning, counted as YOLO users count them."""

from __future__ import annotations

from torch import nn

from yolofast.errors import ConfigError
from yolofast.models.detector import Detector


def freezable_layers(model: Detector) -> list[nn.Module | None]:
    """The layers of backbone and neck in the order of the forward pass; None is a concatenation.

    The modules of a stage count one by one (down-sampling, CSP block), upsampling and concatenation count as
    well, the head does not: of n..x 10 layers are the backbone, 22 are all but the head.
    """
    return [*backbone_layers(model), *model.neck.layers()]


def backbone_layers(model: Detector) -> list[nn.Module]:
    """The layers of the backbone in the order of the forward pass."""
    return [
        layer
        for child in model.backbone.children()
        for layer in (child.children() if type(child) is nn.Sequential else (child,))
    ]


def freeze_layers(model: Detector, freeze: int | str) -> int:
    """Freeze the first `freeze` layers of `model`, or its "backbone"; returns their number.

    Their weights get no gradient, so that an optimizer made afterwards leaves them alone; that their batch
    norms keep their statistics is seen to by `train.Trainer`. What was frozen before stays frozen. Raises
    `ConfigError` for more layers than there are before the head.
    """
    layers = freezable_layers(model)
    backbone = len(backbone_layers(model))
    count = backbone if freeze == "backbone" else int(freeze)
    if count > len(layers):
        raise ConfigError(
            f"freeze: got {count}, expected at most {len(layers)}: model {model.spec.name} has {backbone} "
            f"layers in the backbone and {len(layers) - backbone} in the neck; the head is always trained."
        )
    for layer in layers[:count]:
        if layer is not None:
            layer.requires_grad_(False)
    return count
