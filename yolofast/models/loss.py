"""The detection loss: CIoU and a loss of the side distances for boxes, cross entropy for classes.

A head with a distribution for each side has the distribution focal loss; one that gives the distance itself
has the absolute error, in strides, in its place. A detector with two heads, one-to-many and one-to-one, has
the weighted sum of both losses, whose weights move from the first to the second while it is trained.
At least float32, even under autocast: products of small probabilities and IoUs underflow in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yolofast.errors import DataError
from yolofast.models.assigner import Assignment, GroundTruth, assign
from yolofast.models.head import BINS, HeadOutput, side_distances
from yolofast.models.iou import paired_ciou
from yolofast.models.spec import STRIDES


@dataclass(frozen=True, slots=True)
class LossGains:
    """Weights of the three loss terms."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    """Of the side distances: distribution focal loss, or absolute error in a model without distributions."""
    classes: tuple[float, ...] | None = None
    """A weight per class in the classification loss; None means 1 for all."""


ONE_TO_MANY_SHARES = (0.75, 0.25)
"""Weight of the one-to-many head's loss at the start and at the end of a training."""


def one_to_many_share(progress: float) -> float:
    """Weight of the one-to-many head's loss when the share `progress` (0..1) of the training is done.

    It falls linearly; the one-to-one head has the rest of 1. At first the many positives shape the backbone,
    which only the one-to-many head's loss reaches; in the end what counts is the head that inference uses
    (progressive loss balancing, as published for YOLO26; the numbers are ours).
    """
    first, last = ONE_TO_MANY_SHARES
    return first + (last - first) * progress


def inverse_frequency_weights(counts: Sequence[int], power: float) -> tuple[float, ...]:
    """Weights of classes with so many boxes: the inverse frequency to a power, scaled to a mean of 1.

    A class without boxes weighs as much as one with a single box.
    """
    weights = [max(1, count) ** -power for count in counts]
    mean = sum(weights) / len(weights)
    return tuple(weight / mean for weight in weights)


def ground_truth(targets: Tensor, batch: int, num_classes: int, height: int, width: int) -> GroundTruth:
    """The boxes of `targets` [N, 6] (sample, class, xywhn) in pixels; boxes without area are dropped.

    Raises `DataError` for a sample or class number out of range, ValueError for a wrong shape.
    """
    if targets.dim() != 2 or targets.shape[1] != 6:
        raise ValueError(
            f"targets: got shape {tuple(targets.shape)}, expected [N, 6]: sample, class, and centre x, "
            "centre y, width, height as shares of the image. For a batch without boxes pass [0, 6]."
        )
    targets = targets.float()
    sample, classes = targets[:, 0].long(), targets[:, 1].long()
    if len(targets):
        low_s, high_s, low_c, high_c = torch.stack((*sample.aminmax(), *classes.aminmax())).tolist()
        if low_s < 0 or high_s >= batch:
            raise DataError(f"targets: got samples {low_s}..{high_s}, expected 0..{batch - 1}.")
        if low_c < 0 or high_c >= num_classes:
            raise DataError(
                f"targets: got classes {low_c}..{high_c}, expected 0..{num_classes - 1}. Build the model "
                "with the number of classes in the dataset's data.yaml, or fix the labels."
            )
    scale = targets.new_tensor((width, height))
    centre, half = targets[:, 2:4] * scale, targets[:, 4:6] * scale / 2
    keep = (half > 0).all(dim=1)
    return GroundTruth(sample[keep], classes[keep], torch.cat((centre - half, centre + half), dim=1)[keep])


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss of distances under their distributions (Li et al. 2020, equation 6).

    logits [..., BINS], distances [...] in strides, clipped to 0..BINS-1 -> loss [...]. The target's
    mass lies on the two bins next to the distance y: -(i + 1 - y) log p(i) - (y - i) log p(i + 1).
    """
    distances = distances.clamp(0, BINS - 1)
    left = distances.floor().clamp(max=BINS - 2)
    share = distances - left
    log_p = logits.log_softmax(dim=-1)
    index = left.long()[..., None]
    low, high = log_p.gather(-1, index)[..., 0], log_p.gather(-1, index + 1)[..., 0]
    return -(1 - share) * low - share * high


def _side_distances(boxes: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Left, top, right, bottom [P, 4], in strides, of boxes [P, 4] xyxy seen from centres [P, 2]."""
    return torch.cat((centres - boxes[:, :2], boxes[:, 2:] - centres), dim=1) / strides[:, None]


def _assign(output: HeadOutput, truth: GroundTruth, *, one_to_one: bool) -> Assignment:
    """Positive points of the output's own boxes.

    Sides that are one number may be negative, so a point outside of a box can still predict it: then small
    boxes are widened to two strides instead of one, for at least four points (small-target-aware
    assignment). Distributions cannot go below 0.
    """
    output = HeadOutput(*(part.detach().float() for part in output))
    batch, channels, _ = output.box_logits.shape
    bins = channels // 4
    sides = side_distances(output.box_logits.view(batch, 4, bins, -1), bins) * output.strides
    boxes = torch.cat((output.centres - sides[:, :2], output.centres + sides[:, 2:]), dim=1)
    min_side = float(STRIDES[0] * (2 if bins == 1 else 1))
    return assign(truth, output.class_logits, boxes, output.centres, min_side, one_to_one=one_to_one)


def heads_loss(
    outputs: Sequence[HeadOutput],
    targets: Tensor,
    height: int,
    width: int,
    gains: LossGains,
    progress: float = 0.0,
) -> Tensor:
    """Loss float32 [3] of a batch and all heads of a detector: see `detection_loss`.

    outputs   of one head; or of the one-to-many and the one-to-one head, whose losses are added with the
              weights `one_to_many_share(progress)` and the rest of 1
    progress  share of the training that is done, 0..1
    """
    many = detection_loss(outputs[0], targets, height, width, gains)
    if len(outputs) == 1:
        return many
    one = detection_loss(outputs[1], targets, height, width, gains, one_to_one=True)
    share = one_to_many_share(progress)
    return share * many + (1 - share) * one


def detection_loss(
    output: HeadOutput,
    targets: Tensor,
    height: int,
    width: int,
    gains: LossGains,
    *,
    one_to_one: bool = False,
) -> Tensor:
    """Loss float32 [3] of a batch and one head: box, class and distance terms, each times its gain.

    The terms of `loss_sums` divided by the sum of the soft targets, at least 1. So the loss does not scale
    with the batch size; a trainer whose learning rates assume summed losses multiplies by it.
    """
    sums = loss_sums(output, targets, height, width, gains, one_to_one=one_to_one)
    return sums[:3] / sums[3].clamp(min=1)


def loss_sums(
    output: HeadOutput,
    targets: Tensor,
    height: int,
    width: int,
    gains: LossGains,
    *,
    one_to_one: bool = False,
) -> Tensor:
    """Sums float32 [4] over a batch: the box, class and distance terms, and the soft targets.

    output         of the head, for images of `height` x `width` pixels; float64 logits give float64 sums.
    targets        float [N, 6]: sample, class, xywhn; N may be 0.
    one_to_one     each box has a single positive point: see `assign`.

    box = sum t (1 - CIoU) over positive points; class = sum of the binary cross entropy over all points and
    classes, each class times its weight (`gains.classes`); distance = sum t (mean over four sides of DFL, or
    of |predicted - true distance| in strides when the head has one bin); each times its gain. The last is
    the sum of the soft targets t, without a gradient.
    Sums of batches add up: their total is the same however a dataset is cut into batches. Without boxes the
    box and distance terms are 0 and still have a gradient (0).
    """
    precision = torch.promote_types(output.box_logits.dtype, torch.float32)
    output = HeadOutput(*(part.to(precision) for part in output))
    batch, classes, count = output.class_logits.shape
    truth = ground_truth(targets, batch, classes, height, width)
    with torch.autocast(output.box_logits.device.type, enabled=False):
        positive = _assign(output, truth, one_to_one=one_to_one)
        total = positive.score.sum()
        sample, point = positive.point // count, positive.point % count

        # BCE(x, t) = softplus(x) - x t, and t is 0 except at positives: no dense target is needed.
        hits = output.class_logits[sample, truth.classes[positive.truth], point]
        negative, soft = F.softplus(output.class_logits), hits * positive.score
        if gains.classes is not None:
            weights = negative.new_tensor(gains.classes)
            negative, soft = negative * weights[:, None], soft * weights[truth.classes[positive.truth]]
        cls = negative.sum() - soft.sum()

        logits = output.box_logits[sample, :, point].reshape(len(point), 4, output.box_logits.shape[1] // 4)
        centres, strides = output.centres[:, point].T, output.strides[point]
        predicted = side_distances(logits[..., None], logits.shape[2])[..., 0]
        sides = predicted * strides[:, None]
        boxes = torch.cat((centres - sides[:, :2], centres + sides[:, 2:]), dim=1)
        wanted = truth.boxes[positive.truth]
        box = ((1 - paired_ciou(boxes, wanted)) * positive.score).sum()
        wanted_sides = _side_distances(wanted, centres, strides)
        if logits.shape[2] == 1:
            errors = (predicted - wanted_sides).abs()
        else:
            errors = distribution_focal_loss(logits, wanted_sides)
        dfl = (errors.mean(dim=1) * positive.score).sum()
        return torch.stack((box * gains.box, cls * gains.cls, dfl * gains.dfl, total))
