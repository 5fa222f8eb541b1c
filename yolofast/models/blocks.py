"""The building blocks of the network: convolution unit, bottleneck, CSP block, fast SPP.

Sources: batch norm (Ioffe and Szegedy 2015), SiLU (Elfwing et al. 2018), residual bottleneck (He
et al. 2016), cross-stage partial networks (CSPNet, Wang et al. 2020), gathering the output of
every bottleneck (ELAN, Wang et al. 2022), spatial pyramid pooling (He et al. 2015).
Every block maps [B, C, H, W] to [B, C', H', W'] and keeps the memory format of its input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.03


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
    """Convolution, batch norm, SiLU. H and W stay at stride 1 and halve at stride 2."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.norm: nn.Module = BatchNorm(channels_out, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        self.act = nn.SiLU()

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
    """Two 3x3 convolution units, added to their input when `residual`."""

    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.first = ConvUnit(channels, channels, 3)
        self.second = ConvUnit(channels, channels, 3)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return x + y if self.residual else y


class CSPBlock(nn.Module):
    """Cross-stage partial block that keeps the outputs of all its bottlenecks.

    A 1x1 unit makes two halves of `channels_out // 2`; a chain of bottlenecks runs on the second;
    both halves and every bottleneck's output are concatenated and fused by a 1x1 unit.
    """

    def __init__(self, channels_in: int, channels_out: int, repeats: int, residual: bool) -> None:
        super().__init__()
        hidden = channels_out // 2
        self.split = ConvUnit(channels_in, 2 * hidden)
        self.chain = nn.ModuleList(Bottleneck(hidden, residual) for _ in range(repeats))
        self.fuse = ConvUnit((2 + repeats) * hidden, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).chunk(2, dim=1))
        for bottleneck in self.chain:
            parts.append(bottleneck(parts[-1]))
        y: Tensor = self.fuse(torch.cat(parts, dim=1))
        return y


class FastSPP(nn.Module):
    """Spatial pyramid pooling as one 5x5 max-pool run three times (windows of 5, 9 and 13)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        hidden = channels_in // 2
        self.squeeze = ConvUnit(channels_in, hidden)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.fuse = ConvUnit(4 * hidden, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        a = self.squeeze(x)
        b = self.pool(a)
        c = self.pool(b)
        y: Tensor = self.fuse(torch.cat((a, b, c, self.pool(c)), dim=1))
        return y
