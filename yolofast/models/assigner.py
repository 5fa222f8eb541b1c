"""Task-aligned assignment: which anchor points learn which ground-truth box.

TOOD (Feng et al. 2021): a point's alignment with a box is t = s^alpha u^beta, s its score for the
box's class, u the IoU of its predicted box; each box takes its `TOP_K` best aligned points. One-to-one
assignment (YOLOv10, Wang et al. 2024, "consistent dual assignments") ranks by the same alignment and leaves
each box the best of them.

Tensors have one row per box of the whole batch, [boxes, A], instead of being padded to the image with the
most boxes, [B, max boxes, A], and are processed in slices of bounded size: a crowded image costs no more
than its own boxes. Choices use integer keys that hold the value and the index, so ties go to the lowest
index and the same inputs always give the same result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from yolofast.models.iou import paired_iou

TOP_K = 10
ALPHA = 0.5
BETA = 6.0
MIN_BEST_SCORE = 0.1
"""Lower bound of the soft target of a box's best point; see `assign`."""
MAX_PAIRS = 1 << 21
"""(Box, anchor point) pairs processed at a time: about 150 MB in the worst case."""


class GroundTruth(NamedTuple):
    """The boxes of all images of a batch."""

    sample: Tensor
    """int64 [N]: index of the image in the batch."""
    classes: Tensor
    """int64 [N]."""
    boxes: Tensor
    """float32 [N, 4] xyxy in network pixels."""


class Assignment(NamedTuple):
    """The P positive anchor points, each at most once."""

    point: Tensor
    """int64 [P]: image * A + anchor point."""
    truth: Tensor
    """int64 [P]: row of `GroundTruth`; ascending."""
    score: Tensor
    """float32 [P] in 0..1: soft target of the point's class score."""


def _rank_key(value: Tensor, index: Tensor, count: int) -> Tensor:
    """Positive int64 keys, ordered as `value` (float32, >= 0); for equal values, a lower index ranks higher.

    The bits of a non-negative float32 are ordered as the number is; the low bits hold count - index.
    """
    return (value.contiguous().view(torch.int32).long() << 32) + (count - index)


def _candidates(
    truth: GroundTruth, class_logits: Tensor, boxes: Tensor, centres: Tensor, min_side: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best aligned points of each box: point, alignment, IoU, and a mask of those taken, all [n, k]."""
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
    truth: GroundTruth,
    class_logits: Tensor,
    boxes: Tensor,
    centres: Tensor,
    min_side: float,
    *,
    one_to_one: bool = False,
) -> Assignment:
    """Assign ground-truth boxes to anchor points.

    truth         N boxes with positive area.
    class_logits  float32 [B, nc, A].
    boxes         float32 [B, 4, A] predicted boxes, xyxy in network pixels.
    centres       float32 [2, A] anchor points in network pixels.
    min_side      in pixels: a multiple k >= 1 of the finest stride.
    one_to_one    leave each box its single best point.

    The candidates of a box are the points inside it (low edges included). A box narrower than the finest
    stride may contain no point and would never be learned; for this test only, a side shorter than
    `min_side` is widened to it around the box's centre, so that at least k x k points of the finest level
    count as inside (fewer at the border of the image, but at least one). Of its candidates the box takes the
    `TOP_K` best aligned; a point taken by several boxes goes to the one with the highest IoU. Of two tiny
    boxes that share their only point, the one with the lower IoU gets none in this step.

    One-to-one is a second stage after that: of the points that are its own, a box keeps the best aligned. So
    a box whose best point went to another falls back on its next one, and the positives, with their soft
    targets, are always among those of the one-to-many assignment of the same predictions.

    The soft target of a point is t / max t * max(max IoU, MIN_BEST_SCORE), with maxima over the box's own
    points: the target of a box's best point is the box's best IoU (TOOD, section 3.3). The lower bound is
    ours: the target is also the box's weight in the loss, so a tiny box, whose first predictions overlap it
    by well under one per cent, would have almost no weight and would never get better predictions. Above an
    IoU of 0.1 it changes nothing. If t underflows to 0 at all points of a box, they share the same target.
    """
    number, count = len(truth.boxes), centres.shape[1]
    rows = max(1, MAX_PAIRS // count)
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
    score = relative * iou.amax(dim=1, keepdim=True).clamp(min=MIN_BEST_SCORE)
    if one_to_one:
        taken = taken & (taken.cumsum(dim=1) == 1)  # the points of a box are in the order of their alignment
    return Assignment(point[taken], owner[taken], score[taken])
