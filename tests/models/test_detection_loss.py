"""The loss against explicit formulas, and its edge cases: nothing to find, tiny boxes, half precision."""

from __future__ import annotations

import math
import re

import pytest
import torch

from yolofast.errors import DataError
from yolofast.models import LossGains, build_model
from yolofast.models.assigner import assign
from yolofast.models.head import BINS, HeadOutput, anchor_points, decode_xywh
from yolofast.models.iou import paired_ciou
from yolofast.models.loss import (
    detection_loss,
    distribution_focal_loss,
    ground_truth,
    inverse_frequency_weights,
)

CENTRES, POINT_STRIDES = anchor_points([torch.empty(1, 1, 64 // s, 96 // s) for s in (8, 16, 32)])
GAINS = LossGains()
TARGETS = torch.tensor(
    [
        [0, 1, 0.5, 0.5, 0.4, 0.6],
        [0, 0, 0.2, 0.3, 0.1, 0.1],
        [2, 2, 0.7, 0.4, 0.5, 0.5],
        [2, 2, 0.71, 0.42, 0.5, 0.5],
        [2, 1, 0.11, 0.13, 0.01, 0.01],
    ]
)


def random_output(images: int, classes: int, seed: int = 0) -> HeadOutput:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.randn(images, 4 * BINS, CENTRES.shape[1], generator=generator)
    logits = torch.randn(images, classes, CENTRES.shape[1], generator=generator) - 2
    return HeadOutput(boxes.requires_grad_(), logits.requires_grad_(), CENTRES, POINT_STRIDES)


@pytest.mark.parametrize("distance", [-2.0, 0.0, 0.25, 3.0, 7.6, 14.0, 14.99, 15.0, 99.0])
def test_dfl_matches_its_formula(distance: float) -> None:
    logits = torch.randn(BINS, generator=torch.Generator().manual_seed(int(distance * 100) + 300))
    y = min(max(distance, 0.0), BINS - 1)
    p = [math.exp(x) for x in logits.tolist()]
    log_p = [math.log(x / sum(p)) for x in p]
    i = min(int(y), BINS - 2)
    wanted = -(i + 1 - y) * log_p[i] - (y - i) * log_p[i + 1]
    got = distribution_focal_loss(logits[None], torch.tensor([distance]))
    assert got.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 0.25)])
def test_parts_match_dense_formulas(weights: tuple[float, ...] | None) -> None:
    """Each part written out the plain way: dense class targets, every positive in a loop."""
    output = random_output(3, 3)
    got = detection_loss(output, TARGETS, 64, 96, LossGains(1.0, 1.0, 1.0, weights)).tolist()

    truth = ground_truth(TARGETS, 3, 3, 64, 96)
    xywh = decode_xywh(output).detach()
    xyxy = torch.cat((xywh[:, :2] - xywh[:, 2:] / 2, xywh[:, :2] + xywh[:, 2:] / 2), dim=1)
    positive = assign(truth, output.class_logits.detach(), xyxy, CENTRES, 8.0)
    dense = torch.zeros_like(output.class_logits)
    box = dfl = 0.0
    for point, n, score in zip(*(part.tolist() for part in positive), strict=True):
        image, a = divmod(point, CENTRES.shape[1])
        dense[image, truth.classes[n], a] = score
        wanted = truth.boxes[n]
        box += score * (1 - paired_ciou(xyxy[image, :, a][None], wanted[None]).item())
        x, y = CENTRES[:, a]
        sides = torch.stack((x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y)) / POINT_STRIDES[a]
        logits = output.box_logits[image, :, a].detach().view(4, BINS)
        dfl += score * distribution_focal_loss(logits, sides).mean().item()
    total = max(dense.sum().item(), 1.0)
    every = torch.nn.functional.binary_cross_entropy_with_logits(output.class_logits, dense, reduction="none")
    bce = (every * torch.tensor(weights or (1.0, 1.0, 1.0))[:, None]).sum()
    assert got == pytest.approx([box / total, bce.item() / total, dfl / total], rel=1e-4)


def test_gains_multiply_their_parts() -> None:
    output = random_output(3, 3)
    plain = detection_loss(output, TARGETS, 64, 96, LossGains(1.0, 1.0, 1.0))
    got = detection_loss(output, TARGETS, 64, 96, LossGains(box=2.0, cls=0.0, dfl=3.0))
    torch.testing.assert_close(got, plain * torch.tensor([2.0, 0.0, 3.0]))


def test_loss_does_not_grow_with_the_batch() -> None:
    output = random_output(3, 3)
    twice = HeadOutput(
        torch.cat((output.box_logits,) * 2), torch.cat((output.class_logits,) * 2), CENTRES, POINT_STRIDES
    )
    second = TARGETS + torch.tensor([3.0, 0, 0, 0, 0, 0])
    one = detection_loss(output, TARGETS, 64, 96, GAINS)
    two = detection_loss(twice, torch.cat((TARGETS, second)), 64, 96, GAINS)
    torch.testing.assert_close(one, two)


def test_gradients_are_finite_and_reach_every_parameter() -> None:
    model = build_model("p", 3, seed=0).train()
    model(torch.rand(3, 3, 64, 96), TARGETS).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(
    "targets",
    [torch.zeros(0, 6), torch.tensor([[0, 1, 0.5, 0.5, 0.0, 0.3]])],
    ids=["no boxes", "a box without area"],
)
def test_nothing_to_find(targets: torch.Tensor) -> None:
    output = random_output(2, 3)
    loss = detection_loss(output, targets, 64, 96, GAINS)
    assert loss[0] == 0
    assert loss[2] == 0
    assert 0 < loss[1] < math.inf
    loss.sum().backward()
    assert output.box_logits.grad is not None  # a graph to every output: distributed training needs it
    assert (output.box_logits.grad == 0).all()
    assert output.class_logits.grad is not None
    assert (output.class_logits.grad > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_tiny_box_pulls_on_its_nearest_point(seed: int) -> None:
    output = random_output(1, 1, seed)
    tiny = torch.tensor([[0, 0, 16.0 / 96, 16.0 / 64, 1.0 / 96, 1.0 / 64]])  # between four points
    loss = detection_loss(output, tiny, 64, 96, GAINS)
    assert loss[0] > 0
    loss[0].backward()
    assert output.box_logits.grad is not None
    moved = (output.box_logits.grad != 0).any(dim=1)[0].nonzero().flatten()
    assert len(moved) >= 1
    assert ((CENTRES[:, moved] - 16).abs() <= 4).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits(dtype: torch.dtype) -> None:
    output = random_output(3, 3)
    rounded = HeadOutput(*(part.detach().to(dtype) for part in output[:2]), CENTRES, POINT_STRIDES)
    wanted = HeadOutput(*(part.float() for part in rounded[:2]), CENTRES, POINT_STRIDES)
    got = detection_loss(rounded, TARGETS, 64, 96, GAINS)
    assert got.dtype == torch.float32
    assert torch.equal(got, detection_loss(wanted, TARGETS, 64, 96, GAINS))


def test_same_inputs_same_bits() -> None:
    def run() -> tuple[torch.Tensor, torch.Tensor]:
        output = random_output(3, 3)
        loss = detection_loss(output, TARGETS, 64, 96, GAINS)
        (gradient,) = torch.autograd.grad(loss.sum(), output.box_logits)
        return loss, gradient

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (torch.zeros(2, 5), ValueError, "got shape (2, 5), expected [N, 6]"),
        (torch.tensor([[0, 3, 0.5, 0.5, 0.1, 0.1]]), DataError, "got classes 3..3, expected 0..2"),
        (torch.tensor([[0, -1, 0.5, 0.5, 0.1, 0.1]]), DataError, "got classes -1..-1"),
        (torch.tensor([[2, 0, 0.5, 0.5, 0.1, 0.1]]), DataError, "got samples 2..2, expected 0..1"),
    ],
)
def test_wrong_targets_are_refused(targets: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        detection_loss(random_output(2, 3), targets, 64, 96, GAINS)


def test_class_weights_are_a_power_of_the_inverse_frequency() -> None:
    assert inverse_frequency_weights([100, 1, 25], 0) == (1.0, 1.0, 1.0)
    assert inverse_frequency_weights([100, 25], 1) == pytest.approx((0.4, 1.6))
    assert inverse_frequency_weights([100, 25], 0.5) == pytest.approx((2 / 3, 4 / 3))
    assert inverse_frequency_weights([4, 0], 1) == inverse_frequency_weights([4, 1], 1)
