"""Backbone and neck: from pixels to three feature maps at strides 8, 16 and 32.

The backbone is a CSP network that ends in fast SPP, in later families with attention; the neck is a
path-aggregation network (PANet, Liu et al. 2018): features flow down from coarse to fine, then up again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yolofast.models.blocks import ConvUnit, CSPBlock, FastSPP, PartialAttention
from yolofast.models.spec import Block, ModelSpec

Pyramid = tuple[Tensor, Tensor, Tensor]
"""Feature maps at strides 8, 16 and 32."""


def _block(spec: ModelSpec, channels_in: int, block: Block) -> CSPBlock:
    """A CSP block of this size."""
    channels_out = spec.channels(block.channels)
    inner = "csp" if spec.all_csp and block.inner == "narrow" else block.inner
    return CSPBlock(
        channels_in,
        channels_out,
        block.repeats if block.fixed else spec.repeats(block.repeats),
        block.residual,
        inner,
        int(channels_out * block.hidden),
    )


class Backbone(nn.Module):
    """Images [B, 3, H, W] to feature maps with the channels of the blocks at strides 8, 16 and 32."""

    def __init__(self, spec: ModelSpec, *, spp_activation: bool) -> None:
        super().__init__()
        family = spec.family
        narrow = [spec.channels(full) for full in (64, 128, 256, 512, 1024)]
        wide = [spec.channels(block.channels) for block in family.backbone]
        self.stem = ConvUnit(3, narrow[0], 3, stride=2)
        inputs = (narrow[0], *wide[:3])
        self.stage4, self.stage8, self.stage16, self.stage32 = (
            nn.Sequential(ConvUnit(before, channels, 3, stride=2), _block(spec, channels, block))
            for before, channels, block in zip(inputs, narrow[1:], family.backbone, strict=True)
        )
        self.spp = FastSPP(wide[3], wide[3], activation=spp_activation, residual=family.spp_residual)
        self.attention = (
            PartialAttention(wide[3], spec.repeats(family.attention)) if family.attention else None
        )

    def forward(self, images: Tensor) -> Pyramid:
        p8 = self.stage8(self.stage4(self.stem(images)))
        p16 = self.stage16(p8)
        p32 = self.spp(self.stage32(p16))
        return p8, p16, p32 if self.attention is None else self.attention(p32)


class PathAggregation(nn.Module):
    """Merges the three levels, coarse to fine and back, into maps of the channels of the neck's blocks."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        c8, c16, c32 = (spec.channels(block.channels) for block in spec.family.backbone[1:])
        top16, top8, out16, out32 = spec.family.neck
        t16, n8, n16 = (spec.channels(block.channels) for block in (top16, top8, out16))
        self.upsample = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.top16 = _block(spec, c32 + c16, top16)
        self.top8 = _block(spec, t16 + c8, top8)
        self.down16 = ConvUnit(n8, n8, 3, stride=2)
        self.out16 = _block(spec, n8 + t16, out16)
        self.down32 = ConvUnit(n16, n16, 3, stride=2)
        self.out32 = _block(spec, n16 + c32, out32)

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
