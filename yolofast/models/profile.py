"""Size and cost of a model, by counting rather than from a table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yolofast.models.detector import Detector


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """Size and cost of a model."""

    params: int
    """Number of parameters."""
    flops: int
    """Floating-point operations per image: 2 for each multiply-add of a convolution."""
    layers: int
    """Number of convolutions."""

    def __str__(self) -> str:
        return (
            f"{self.layers} convolutions, {self.params / 1e6:.2f} M parameters, {self.flops / 1e9:.2f} GFLOPs"
        )


def model_profile(model: Detector, imgsz: int = 640) -> ModelProfile:
    """Parameters, FLOPs and layers of `model` for one image of imgsz x imgsz pixels.

        print(model_profile(build_model("n", num_classes=80)))
        # 63 convolutions, 3.16 M parameters, 8.74 GFLOPs

    The forward pass runs on the meta device: shapes only, no arithmetic; `model` is not changed.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shadow = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    images = torch.empty(1, 3, imgsz, imgsz, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(model, shadow, (images,))
    return ModelProfile(
        params=sum(p.numel() for p in model.parameters()),
        flops=counter.get_total_flops(),
        layers=sum(isinstance(module, nn.Conv2d) for module in model.modules()),
    )
