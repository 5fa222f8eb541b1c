"""Backbone and neck: from pixels to three feature maps at strides 8, 16 and 32.

The backbone is a CSP network that ends in fast SPP; the neck is a path-aggregation network (PANet,
Liu et al. 2018): features flow down from coarse to fine, then up again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yolofast.models.blocks import ConvUnit, CSPBlock, FastSPP
from yolofast.models.spec import ModelSpec

Pyramid = tuple[Tensor, Tensor, Tensor]
"""Feature maps at strides 8, 16 and 32."""


class Backbone(nn.Module):
    """Images [B, 3, H, W] to feature maps of `spec.channels(256 | 512 | 1024)` channels."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = (spec.channels(full) for full in (64, 128, 256, 512, 1024))
        self.stem = ConvUnit(3, c2, 3, stride=2)
        self.stage4 = self._stage(c2, c4, spec.repeats(3))
        self.stage8 = self._stage(c4, c8, spec.repeats(6))
        self.stage16 = self._stage(c8, c16, spec.repeats(6))
        self.stage32 = self._stage(c16, c32, spec.repeats(3))
        self.spp = FastSPP(c32, c32)

    @staticmethod
    def _stage(channels_in: int, channels_out: int, repeats: int) -> nn.Sequential:
        return nn.Sequential(
            ConvUnit(channels_in, channels_out, 3, stride=2),
            CSPBlock(channels_out, channels_out, repeats, residual=True),
        )

    def forward(self, images: Tensor) -> Pyramid:
        p8 = self.stage8(self.stage4(self.stem(images)))
        p16 = self.stage16(p8)
        return p8, p16, self.spp(self.stage32(p16))


class PathAggregation(nn.Module):
    """Merges the three levels, coarse to fine and back; the channels of each level stay the same."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        c8, c16, c32 = (spec.channels(full) for full in (256, 512, 1024))
        repeats = spec.repeats(3)
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.top16 = CSPBlock(c32 + c16, c16, repeats, residual=False)
        self.top8 = CSPBlock(c16 + c8, c8, repeats, residual=False)
        self.down16 = ConvUnit(c8, c8, 3, stride=2)
        self.out16 = CSPBlock(c8 + c16, c16, repeats, residual=False)
        self.down32 = ConvUnit(c16, c16, 3, stride=2)
        self.out32 = CSPBlock(c16 + c32, c32, repeats, residual=False)

    def layers(self) -> list[nn.Module | None]:
        """The layers in the order of `forward`; None is a concatenation."""
        up = self.upsample
        down = [up, None, self.top16, up, None, self.top8]
        return [*down, self.down16, None, self.out16, self.down32, None, self.out32]

    def forward(self, pyramid: Pyramid) -> Pyramid:
        p8, p16, p32 = pyramid
        t16 = self.top16(torch.cat((self.upsample(p32), p16), dim=1))
        n8 = self.top8(torch.cat((self.upsample(t16), p8), dim=1))
        n16 = self.out16(torch.cat((self.down16(n8), t16), dim=1))
        n32 = self.out32(torch.cat((self.down32(n16), p32), dim=1))
        return n8, n16, n32
