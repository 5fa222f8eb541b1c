"""The detection loss: CIoU and distribution focal loss for boxes, cross entropy for classes.

Always float32, even under autocast: products of small probabilities and IoUs underflow in half precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from yolofast.errors import DataError
from yolofast.models.assigner import Assignment, GroundTruth, assign
from yolofast.models.head import BINS, HeadOutput, decode_xywh, expected_distances
from yolofast.models.iou import paired_ciou
from yolofast.models.spec import STRIDES


@dataclass(frozen=True, slots=True)
class LossGains:
    """Weights of the three loss terms."""

    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5


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


def _assign(output: HeadOutput, truth: GroundTruth) -> Assignment:
    with torch.no_grad():
        middle, size = decode_xywh(output).chunk(2, dim=1)
        boxes = torch.cat((middle - size / 2, middle + size / 2), dim=1)
    return assign(truth, output.class_logits, boxes, output.centres, float(STRIDES[0]))


def detection_loss(output: HeadOutput, targets: Tensor, height: int, width: int, gains: LossGains) -> Tensor:
    """Loss float32 [3] of a batch: box, class and distribution terms, each times its gain.

    The terms of `loss_sums` divided by the sum of the soft targets, at least 1. So the loss does not scale
    with the batch size; a trainer whose learning rates assume summed losses multiplies by it.
    """
    sums = loss_sums(output, targets, height, width, gains)
    return sums[:3] / sums[3].clamp(min=1)


def loss_sums(output: HeadOutput, targets: Tensor, height: int, width: int, gains: LossGains) -> Tensor:
    """Sums float32 [4] over a batch: the box, class and distribution terms, and the soft targets.

    output         of the head, for images of `height` x `width` pixels.
    targets        float [N, 6]: sample, class, xywhn; N may be 0.

    box = sum t (1 - CIoU) over positive points; class = sum of the binary cross entropy over all points and
    classes; distribution = sum t (mean of DFL over four sides); each times its gain. The last is the sum of
    the soft targets t, without a gradient. Sums of batches add up: their total is the same however a dataset
    is cut into batches. Without boxes the box and distribution terms are 0 and still have a gradient (0).
    """
    output = HeadOutput(*(part.float() for part in output))
    batch, classes, count = output.class_logits.shape
    truth = ground_truth(targets, batch, classes, height, width)
    with torch.autocast(output.box_logits.device.type, enabled=False):
        positive = _assign(output, truth)
        total = positive.score.sum()
        sample, point = positive.point // count, positive.point % count

        # BCE(x, t) = softplus(x) - x t, and t is 0 except at positives: no dense target is needed.
        hits = output.class_logits[sample, truth.classes[positive.truth], point]
        cls = F.softplus(output.class_logits).sum() - (hits * positive.score).sum()

        logits = output.box_logits[sample, :, point].view(-1, 4, BINS)
        centres, strides = output.centres[:, point].T, output.strides[point]
        sides = expected_distances(logits[..., None])[..., 0] * strides[:, None]
        boxes = torch.cat((centres - sides[:, :2], centres + sides[:, 2:]), dim=1)
        wanted = truth.boxes[positive.truth]
        box = ((1 - paired_ciou(boxes, wanted)) * positive.score).sum()
        wanted_sides = _side_distances(wanted, centres, strides)
        dfl = (distribution_focal_loss(logits, wanted_sides).mean(dim=1) * positive.score).sum()
        return torch.stack((box * gains.box, cls * gains.cls, dfl * gains.dfl, total))
