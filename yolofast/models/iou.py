"""Differentiable overlap of paired boxes: IoU and complete IoU.

Boxes are float32 [N, 4] xyxy in any unit; pair i is (a[i], b[i]). A box whose low side is beyond its high
one, as a regression may predict it, is of size 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPS = 1e-7
"""Keeps quotients finite for boxes of zero area."""


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each pair, float32 [N] in 0..1."""
    low = torch.maximum(a[:, :2], b[:, :2])
    high = torch.minimum(a[:, 2:], b[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    area_a = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(dim=1)
    area_b = (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    return overlap / (area_a + area_b - overlap + EPS)


def paired_ciou(a: Tensor, b: Tensor) -> Tensor:
    """Complete IoU of each pair, float32 [N], at most 1 (Zheng et al. 2020 and 2021).

    CIoU = IoU - d^2 / c^2 - alpha v, with d the distance of the centres, c the diagonal of the
    smallest box around both, v = 4 / pi^2 (atan(w_b / h_b) - atan(w_a / h_a))^2 and
    alpha = v / (1 - IoU + v), which is a constant to the gradient.
    """
    iou = paired_iou(a, b)
    distance = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) ** 2).sum(dim=1) / 4
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    diagonal = (around**2).sum(dim=1)
    size_a, size_b = (a[:, 2:] - a[:, :2]).clamp(min=0), (b[:, 2:] - b[:, :2]).clamp(min=0)
    angle_a = torch.atan(size_a[:, 0] / (size_a[:, 1] + EPS))
    angle_b = torch.atan(size_b[:, 0] / (size_b[:, 1] + EPS))
    v = (4 / math.pi**2) * (angle_b - angle_a) ** 2
    with torch.no_grad():
        alpha = v / (1 - iou + v + EPS)
    return iou - distance / (diagonal + EPS) - alpha * v
