"""The building blocks of the network: convolution unit, bottleneck, CSP blocks, fast SPP, attention.

Sources: batch norm (Ioffe and Szegedy 2015), SiLU (Elfwing et al. 2018), residual bottleneck (He
et al. 2016), cross-stage partial networks (CSPNet, Wang et al. 2020), gathering the output of
every bottleneck (ELAN, Wang et al. 2022), spatial pyramid pooling (He et al. 2015), depthwise convolution
(Howard et al. 2017), attention over the cells of a map (Vaswani et al. 2017; partial self-attention of
YOLOv10, Wang et al. 2024).
Every block maps [B, C, H, W] to [B, C', H', W'] and keeps the memory format of its input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolofast.models.spec import Inner

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.03
HEAD_CHANNELS = 64
"""Channels of one head of an attention block."""


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that also trains on one value per channel: one image with a map of 1 x 1.

    A single value has no variance, so it is normalised by the running statistics, which it leaves unchanged.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(x)


class ConvUnit(nn.Module):
    """Convolution, batch norm, SiLU. H and W stay at stride 1 and halve at stride 2.

    depthwise   every channel has a filter of its own
    activation  without it, the unit is linear
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=channels_in if depthwise else 1,
            bias=False,
        )
        self.norm: nn.Module = BatchNorm(channels_out, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        self.act = nn.SiLU() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y

    @torch.no_grad()
    def fold_norm(self) -> None:
        """Fold the batch norm, with its running statistics, into the convolution, in place.

        With s = gamma / sqrt(var + eps): w' = w * s and b' = beta - mean * s, computed in float64.
        """
        if not isinstance(self.norm, nn.BatchNorm2d):
            return
        conv, norm = self.conv, self.norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = conv.weight.double() * gain[:, None, None, None]
        bias = norm.bias.double() - norm.running_mean.double() * gain
        conv.weight.copy_(weight)
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=conv.weight.requires_grad)
        self.norm = nn.Identity()


class Bottleneck(nn.Module):
    """Two 3x3 convolution units with `hidden` channels between, added to their input when `residual`."""

    def __init__(self, channels: int, residual: bool, hidden: int | None = None) -> None:
        super().__init__()
        hidden = channels if hidden is None else hidden
        self.first = ConvUnit(channels, hidden, 3)
        self.second = ConvUnit(hidden, channels, 3)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return x + y if self.residual else y


class SmallCSP(nn.Module):
    """Cross-stage partial block as one link of a chain: two bottlenecks on one half, nothing on the other.

    Two 1x1 units make two halves of `channels // 2`; the first goes through the bottlenecks, a 1x1 unit
    fuses both.
    """

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        hidden = channels // 2
        self.deep = ConvUnit(channels, hidden)
        self.short = ConvUnit(channels, hidden)
        self.chain = nn.Sequential(*(Bottleneck(hidden, residual) for _ in range(2)))
        self.fuse = ConvUnit(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fuse(torch.cat((self.chain(self.deep(x)), self.short(x)), dim=1))
        return y


class Attention(nn.Module):
    """Multi-head self-attention over the cells of a map, with a depthwise 3x3 unit as position encoding.

    Each head has `channels // heads` values per cell, and queries and keys of half of that. The position
    encoding is of the values, and is added to what attention gives.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.values = channels // heads
        self.keys = self.values // 2
        self.project = ConvUnit(channels, channels + 2 * heads * self.keys, activation=False)
        self.position = ConvUnit(channels, channels, 3, depthwise=True, activation=False)
        self.fuse = ConvUnit(channels, channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        parts = self.project(x).view(batch, self.heads, 2 * self.keys + self.values, height * width)
        query, key, value = parts.split((self.keys, self.keys, self.values), dim=2)
        weights = ((query.transpose(2, 3) @ key) * self.keys**-0.5).softmax(dim=-1)
        mixed = (value @ weights.transpose(2, 3)).reshape(batch, channels, height, width)
        y: Tensor = self.fuse(mixed + self.position(value.reshape(batch, channels, height, width)))
        return y


class AttentionBlock(nn.Module):
    """Attention, then two 1x1 units (twice as many channels between), each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = Attention(channels, heads=max(1, channels // HEAD_CHANNELS))
        self.mlp = nn.Sequential(
            ConvUnit(channels, 2 * channels), ConvUnit(2 * channels, channels, activation=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        y: Tensor = x + self.mlp(x)
        return y


class PartialAttention(nn.Module):
    """Attention blocks on one half of the channels; the other half passes by (YOLOv10, Wang et al. 2024)."""

    def __init__(self, channels: int, repeats: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.split = ConvUnit(channels, 2 * hidden)
        self.chain = nn.Sequential(*(AttentionBlock(hidden) for _ in range(repeats)))
        self.fuse = ConvUnit(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        passed, attended = self.split(x).chunk(2, dim=1)
        y: Tensor = self.fuse(torch.cat((passed, self.chain(attended)), dim=1))
        return y


def _link(inner: Inner, channels: int, residual: bool) -> nn.Module:
    """A member of the chain of a `CSPBlock`; see `spec.Inner`."""
    if inner == "csp":
        return SmallCSP(channels, residual)
    if inner == "attention":
        return nn.Sequential(Bottleneck(channels, residual, channels // 2), AttentionBlock(channels))
    return Bottleneck(channels, residual, channels if inner == "wide" else channels // 2)


class CSPBlock(nn.Module):
    """Cross-stage partial block that keeps the outputs of every link of its chain.

    A 1x1 unit makes two parts of `hidden` channels (omitted: half of `channels_out`); a chain runs on the
    second; both parts and every link's output are concatenated and fused by a 1x1 unit.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        repeats: int,
        residual: bool,
        inner: Inner = "wide",
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        hidden = channels_out // 2 if hidden is None else hidden
        self.split = ConvUnit(channels_in, 2 * hidden)
        self.chain = nn.ModuleList(_link(inner, hidden, residual) for _ in range(repeats))
        self.fuse = ConvUnit((2 + repeats) * hidden, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).chunk(2, dim=1))
        for link in self.chain:
            parts.append(link(parts[-1]))
        y: Tensor = self.fuse(torch.cat(parts, dim=1))
        return y


class FastSPP(nn.Module):
    """Spatial pyramid pooling as one 5x5 max-pool run three times (windows of 5, 9 and 13).

    `activation` is that of its first unit; `residual` adds the input.
    """

    def __init__(
        self, channels_in: int, channels_out: int, *, activation: bool = True, residual: bool = False
    ) -> None:
        super().__init__()
        hidden = channels_in // 2
        self.squeeze = ConvUnit(channels_in, hidden, activation=activation)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.fuse = ConvUnit(4 * hidden, channels_out)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        a = self.squeeze(x)
        b = self.pool(a)
        c = self.pool(b)
        y: Tensor = self.fuse(torch.cat((a, b, c, self.pool(c)), dim=1))
        return x + y if self.residual else y
