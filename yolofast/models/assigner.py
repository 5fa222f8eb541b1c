"""Which anchor points learn which ground-truth box: task-aligned assignment.

TOOD (Feng et al. 2021): a point's alignment with a box is t = s^alpha u^beta, s its score for the
box's class, u the IoU of its predicted box; each box takes its `TOP_K` best aligned points.

The work is laid out over the boxes of the whole batch, [boxes, A], not padded to the fullest image,
[B, most boxes, A], and runs in slices of bounded size: one crowded image costs no more than its
own boxes. Choices are made on integer keys that hold the value and the index, so that ties fall to
the lowest index and the same inputs always give the same result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from yolofast.models.iou import paired_iou

TOP_K = 10
ALPHA = 0.5
BETA = 6.0
FLOOR = 0.1
"""Least soft target of a box's best point; see `assign`."""
SLICE = 1 << 21
"""Most (box, anchor point) pairs looked at in one go: about 150 MB in the worst case."""


class GroundTruth(NamedTuple):
    """The boxes of a batch, all images in one list."""

    sample: Tensor
    """int64 [N]: image in the batch."""
    classes: Tensor
    """int64 [N]."""
    boxes: Tensor
    """float32 [N, 4] xyxy in network pixels."""


class Assignment(NamedTuple):
    """The P positive anchor points; no point is in it twice."""

    point: Tensor
    """int64 [P]: image * A + anchor point."""
    truth: Tensor
    """int64 [P]: row of `GroundTruth`; ascending."""
    score: Tensor
    """float32 [P] in 0..1: soft target of the point's class score."""


def _rank_key(value: Tensor, index: Tensor, count: int) -> Tensor:
    """int64 keys, positive, in the order of `value` (float32, >= 0); equal values: low index first.

    The bits of a non-negative float32 order as the number does; below them goes count - index.
    """
    return (value.contiguous().view(torch.int32).long() << 32) + (count - index)


def _candidates(
    truth: GroundTruth, class_logits: Tensor, boxes: Tensor, centres: Tensor, min_side: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best aligned points of each box: point, alignment, IoU, all [n, k], and taken, bool [n, k]."""
    count = centres.shape[1]
    middle = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    half = ((truth.boxes[:, 2:] - truth.boxes[:, :2]) / 2).clamp(min=min_side / 2)
    low, high = middle - half, middle + half
    x, y = centres
    inside = (x >= low[:, :1]) & (x < high[:, :1]) & (y >= low[:, 1:]) & (y < high[:, 1:])
    row, point = inside.nonzero(as_tuple=True)
    sample = truth.sample[row]
    score = class_logits[sample, truth.classes[row], point].sigmoid()
    iou = paired_iou(boxes[sample, :, point], truth.boxes[row])
    alignment = score**ALPHA * iou**BETA

    key = torch.zeros(inside.shape, dtype=torch.int64, device=centres.device)
    key[row, point] = _rank_key(alignment, point, count)
    dense = torch.zeros((2, *inside.shape), device=centres.device)
    dense[:, row, point] = torch.stack((alignment, iou))
    best, chosen = key.topk(min(TOP_K, count), dim=1)
    alignment, iou = dense.gather(2, chosen.expand(2, *chosen.shape))
    return chosen, alignment, iou, best > 0


@torch.no_grad()
def assign(
    truth: GroundTruth, class_logits: Tensor, boxes: Tensor, centres: Tensor, min_side: float
) -> Assignment:
    """Give ground-truth boxes to anchor points.

    truth         N boxes with area.
    class_logits  float32 [B, nc, A].
    boxes         float32 [B, 4, A] predicted boxes, xyxy in network pixels.
    centres       float32 [2, A] anchor points in network pixels.
    min_side      the finest stride, in pixels.

    A point may take a box when it lies inside (low edges included). A box narrower than `min_side`
    could hold no point at all and would never be learned; for this test alone such a side is
    widened to `min_side` about the box's centre, so that the nearest points of the finest level
    count as inside. Of these points the box takes the `TOP_K` best aligned; a point that several
    boxes took goes to the one it overlaps most (by IoU). Two tiny boxes that share their only point
    cannot both have it: the one with less overlap gets none in this step.

    The soft target of a point is t / max t * max(max IoU, FLOOR), the maxima over the box's own points:
    the best point of a box is asked to score the box's best IoU (TOOD, section 3.3). The floor is ours:
    the target is also the box's weight in the loss, so a tiny box, whose first predictions overlap it by
    well under one per cent, would have next to no weight, and so would never get better predictions.
    Past an IoU of 0.1 it changes nothing. Where t underflows to 0 at all points of a box, they are equal.
    """
    number, count = len(truth.boxes), centres.shape[1]
    rows = max(1, SLICE // count)
    slices = [
        _candidates(
            GroundTruth(*(part[start : start + rows] for part in truth)),
            class_logits,
            boxes,
            centres,
            min_side,
        )
        for start in range(0, number, rows)
    ]
    if not slices:
        empty = torch.zeros(0, dtype=torch.int64, device=centres.device)
        return Assignment(empty, empty, torch.zeros(0, device=centres.device))
    chosen, alignment, iou, taken = (torch.cat(parts) for parts in zip(*slices, strict=True))

    owner = torch.arange(number, device=centres.device)[:, None].expand_as(chosen)
    point = truth.sample[:, None] * count + chosen
    key = _rank_key(iou, owner, number).where(taken, 0)
    highest = torch.zeros(class_logits.shape[0] * count, dtype=torch.int64, device=centres.device)
    highest.scatter_reduce_(0, point.flatten(), key.flatten(), "amax")
    taken = taken & (key == highest[point])

    alignment, iou = alignment.where(taken, 0.0), iou.where(taken, 0.0)
    top = alignment.amax(dim=1, keepdim=True)
    relative = (alignment / top).where(top > 0, taken.float())
    score = relative * iou.amax(dim=1, keepdim=True).clamp(min=FLOOR)
    return Assignment(point[taken], owner[taken], score[taken])
