"""Anchor-free, decoupled head: box distributions and class scores for every anchor point.

An anchor point is the centre of a cell of a feature map. For each point the head outputs a
distribution over `BINS` distances for each side of a box (distribution focal regression, Li et
al. 2020, "Generalized Focal Loss"), or in yolo26 models the distance itself, and one logit per class. The
decoupled branches follow YOLOX (Ge et al. 2021), anchor points follow FCOS (Tian et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolofast.models.blocks import ConvUnit
from yolofast.models.spec import STRIDES, ModelSpec

BINS = 16
"""Each side has a distribution over the distances 0, 1, ..., 15, in strides."""


class HeadOutput(NamedTuple):
    """The head's output for a batch; A anchor points, finest level first, row by row."""

    box_logits: Tensor
    """float32 [B, 4 * bins, A]: left, top, right, bottom, `BINS` logits each, or (1 bin) the distance in
    strides."""
    class_logits: Tensor
    """float32 [B, nc, A]."""
    centres: Tensor
    """float32 [2, A]: x, y of the anchor points in network pixels."""
    strides: Tensor
    """float32 [A]: stride of each anchor point's level."""


def anchor_points(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Centres float32 [2, A] in pixels and strides float32 [A] of the cells of `maps` [B, C, h, w]."""
    centres, strides = [], []
    for feature, stride in zip(maps, STRIDES, strict=True):
        h, w = feature.shape[-2:]
        x = (torch.arange(w, device=feature.device, dtype=torch.float32) + 0.5) * stride
        y = (torch.arange(h, device=feature.device, dtype=torch.float32) + 0.5) * stride
        grid = torch.stack((x.expand(h, w), y[:, None].expand(h, w))).flatten(1)
        centres.append(grid)
        strides.append(torch.full_like(grid[0], float(stride)))
    return torch.cat(centres, dim=1), torch.cat(strides)


def _branch(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        ConvUnit(channels_in, hidden, 3), ConvUnit(hidden, hidden, 3), nn.Conv2d(hidden, channels_out, 1)
    )


def _separable_branch(channels_in: int, hidden: int, channels_out: int) -> nn.Sequential:
    """A branch whose 3x3 units are depthwise, each followed by a 1x1 unit."""
    return nn.Sequential(
        nn.Sequential(ConvUnit(channels_in, channels_in, 3, depthwise=True), ConvUnit(channels_in, hidden)),
        nn.Sequential(ConvUnit(hidden, hidden, 3, depthwise=True), ConvUnit(hidden, hidden)),
        nn.Conv2d(hidden, channels_out, 1),
    )


def side_distances(logits: Tensor, bins: int) -> Tensor:
    """The distance of each side: the head's [..., 4, bins, A] to [..., 4, A], in strides.

    The mean of a distribution; with one bin the number itself, which may be negative.
    """
    if bins == 1:
        return logits.squeeze(-2)
    distances = torch.arange(bins, device=logits.device, dtype=logits.dtype)
    return (logits.softmax(dim=-2) * distances[:, None]).sum(dim=-2)


def decode_xywh(output: HeadOutput, bins: int = BINS) -> Tensor:
    """Boxes float32 [B, 4, A], centre x, centre y, width, height in network pixels."""
    logits = output.box_logits
    sides = side_distances(logits.view(logits.shape[0], 4, bins, -1), bins) * output.strides
    low, high = sides.chunk(2, dim=1)
    return torch.cat((output.centres + (high - low) / 2, low + high), dim=1)


class Head(nn.Module):
    """Three feature maps to a `HeadOutput`; each level has its own pair of branches."""

    def __init__(self, spec: ModelSpec, num_classes: int) -> None:
        super().__init__()
        widths = [spec.channels(block.channels) for block in spec.family.neck[1:]]
        box = max(16, widths[0] // 4, spec.min_box_channels)
        cls = max(widths[0], min(num_classes, 100))
        classes = _separable_branch if spec.family.depthwise_classes else _branch
        self.box_branches = nn.ModuleList(_branch(w, box, 4 * spec.family.bins) for w in widths)
        self.class_branches = nn.ModuleList(classes(w, cls, num_classes) for w in widths)
        self._set_biases(num_classes)

    def _set_biases(self, num_classes: int) -> None:
        """Initialise to the prior of about 5 objects in a 640-pixel image, spread over the classes.

        Without it the many background points dominate the first steps (focal loss, Lin et al. 2017).
        """
        for box, cls, stride in zip(self.box_branches, self.class_branches, STRIDES, strict=True):
            nn.init.constant_(box.get_submodule("2").get_parameter("bias"), 1.0)
            prior = math.log(5 / num_classes / (640 / stride) ** 2)
            nn.init.constant_(cls.get_submodule("2").get_parameter("bias"), prior)

    def forward(self, maps: Sequence[Tensor]) -> HeadOutput:
        boxes = [branch(x).flatten(2) for branch, x in zip(self.box_branches, maps, strict=True)]
        classes = [branch(x).flatten(2) for branch, x in zip(self.class_branches, maps, strict=True)]
        centres, strides = anchor_points(maps)
        return HeadOutput(
            torch.cat(boxes, dim=2).float(), torch.cat(classes, dim=2).float(), centres, strides
        )
