"""The loss of heads with one number for each side, and of two heads: hand-computed, and by differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from yolofast.models import LossGains, build_model
from yolofast.models import loss as loss_module
from yolofast.models.assigner import Assignment
from yolofast.models.head import BINS, HeadOutput, anchor_points, decode_xywh
from yolofast.models.loss import (
    ONE_TO_MANY_SHARES,
    detection_loss,
    heads_loss,
    loss_sums,
    one_to_many_share,
)

HEIGHT, WIDTH = 64, 96
CENTRES, POINT_STRIDES = anchor_points([torch.empty(1, 1, HEIGHT // s, WIDTH // s) for s in (8, 16, 32)])
POINTS = CENTRES.shape[1]
UNIT = LossGains(1.0, 1.0, 1.0)
TARGETS = torch.tensor(
    [
        [0, 1, 0.5, 0.5, 0.4, 0.6],
        [0, 0, 0.2, 0.3, 0.1, 0.1],
        [1, 2, 0.7, 0.4, 0.5, 0.5],
        [1, 2, 0.71, 0.42, 0.5, 0.5],
        [1, 1, 0.11, 0.13, 0.01, 0.01],
    ]
)


def output_of(bins: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> HeadOutput:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.randn(2, 4 * bins, POINTS, generator=generator, dtype=dtype) + 1
    logits = torch.randn(2, 3, POINTS, generator=generator, dtype=dtype) - 2
    return HeadOutput(boxes.requires_grad_(), logits.requires_grad_(), CENTRES, POINT_STRIDES)


def point_at(x: float, y: float, stride: int) -> int:
    found = CENTRES.eq(torch.tensor([[x], [y]])).all(dim=0) & POINT_STRIDES.eq(stride)
    return int(found.nonzero().item())


def given(monkeypatch: pytest.MonkeyPatch, point: list[int], truth: list[int], score: list[float]) -> None:
    """These positives, whatever the predictions are."""
    made = Assignment(torch.tensor(point), torch.tensor(truth), torch.tensor(score))
    monkeypatch.setattr(loss_module, "_assign", lambda *args, **options: made)


def test_the_distance_term_is_the_absolute_error_in_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    """One box 10, 20, 50, 52 and two points, worked out on paper.

    From (20, 28), stride 8: left 10, top 8, right 30, bottom 24 pixels are 1.25, 1, 3.75, 3 strides.
    From (24, 40), stride 16: left 14, top 20, right 26, bottom 12 are 0.875, 1.25, 1.625, 0.75 strides.
    """
    near, far = point_at(20, 28, 8), point_at(24, 40, 16)
    boxes = torch.zeros(1, 4, POINTS)
    boxes[0, :, near] = torch.tensor([1.0, 1.5, 3.75, -1.0])  # off by 0.25, 0.5, 0, 4: mean 1.1875
    boxes[0, :, far] = torch.tensor([1.875, 1.25, 1.125, 0.75])  # off by 1, 0, 0.5, 0: mean 0.375
    given(monkeypatch, [near, far], [0, 0], [0.8, 0.4])
    target = torch.tensor([[0, 0, 30 / WIDTH, 36 / HEIGHT, 40 / WIDTH, 32 / HEIGHT]])
    output = HeadOutput(boxes, torch.zeros(1, 1, POINTS), CENTRES, POINT_STRIDES)
    sums = loss_sums(output, target, HEIGHT, WIDTH, LossGains(box=1.0, cls=1.0, dfl=1.5))
    assert sums[2].item() == pytest.approx(1.5 * (0.8 * 1.1875 + 0.4 * 0.375), rel=1e-5)
    assert sums[3].item() == pytest.approx(1.2)


def test_right_distances_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    near = point_at(20, 28, 8)
    boxes = torch.zeros(1, 4, POINTS)
    boxes[0, :, near] = torch.tensor([1.25, 1.0, 3.75, 3.0])
    given(monkeypatch, [near], [0], [1.0])
    target = torch.tensor([[0, 0, 30 / WIDTH, 36 / HEIGHT, 40 / WIDTH, 32 / HEIGHT]])
    output = HeadOutput(boxes, torch.zeros(1, 1, POINTS), CENTRES, POINT_STRIDES)
    box, _, distance, _ = loss_sums(output, target, HEIGHT, WIDTH, UNIT).tolist()
    assert (box, distance) == pytest.approx((0.0, 0.0), abs=1e-5)


def numeric_gradient(function: Any, at: np.ndarray, places: list[tuple[int, ...]]) -> list[float]:
    """Central differences of `function`, float64, at some entries of `at`."""
    found = []
    for place in places:
        values = []
        for step in (1e-5, -1e-5):
            moved = at.copy()
            moved[place] += step
            values.append(function(moved))
        found.append((values[0] - values[1]) / 2e-5)
    return found


def reference_sums(boxes: np.ndarray, logits: np.ndarray, positives: Assignment, alphas: list[float]) -> Any:
    """The three terms by their formulas, in float64, and the alphas of CIoU, given or (if empty) computed."""
    truth = loss_module.ground_truth(TARGETS, 2, 3, HEIGHT, WIDTH)
    bins = boxes.shape[1] // 4
    cls = np.logaddexp(0, logits).sum()
    box = distance = 0.0
    computed = []
    for i, (place, n, score) in enumerate(zip(*(part.tolist() for part in positives), strict=True)):
        image, a = divmod(place, POINTS)
        cls -= score * logits[image, truth.classes[n], a]
        raw = boxes[image, :, a].reshape(4, bins)
        p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        sides = raw[:, 0] if bins == 1 else p @ np.arange(bins)
        (x, y), stride = CENTRES[:, a].tolist(), POINT_STRIDES[a].item()
        got = np.array([x, y, x, y]) + np.array([-1, -1, 1, 1]) * sides * stride
        wanted = truth.boxes[n].double().numpy()
        goal = np.array([x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y]) / stride
        if bins == 1:
            distance += score * np.abs(sides - goal).mean()
        else:
            goal = goal.clip(0, bins - 1)
            low = np.minimum(np.floor(goal), bins - 2).astype(int)
            side = np.arange(4)
            distance -= score * np.mean(
                (low + 1 - goal) * np.log(p[side, low]) + (goal - low) * np.log(p[side, low + 1])
            )
        size, want = (got[2:] - got[:2]).clip(0), wanted[2:] - wanted[:2]
        inner = (np.minimum(got[2:], wanted[2:]) - np.maximum(got[:2], wanted[:2])).clip(0).prod()
        iou = inner / (size.prod() + want.prod() - inner + 1e-7)
        offset = ((got[:2] + got[2:] - wanted[:2] - wanted[2:]) ** 2).sum() / 4
        around = ((np.maximum(got[2:], wanted[2:]) - np.minimum(got[:2], wanted[:2])) ** 2).sum()
        v = 4 / math.pi**2 * (np.arctan(want[0] / want[1]) - np.arctan(size[0] / (size[1] + 1e-7))) ** 2
        computed.append(v / (1 - iou + v + 1e-7))
        alpha = alphas[i] if alphas else computed[-1]
        box += score * (1 - (iou - offset / (around + 1e-7) - alpha * v))
    return np.array([box, cls, distance]), computed


@pytest.mark.parametrize("bins", [1, BINS])
def test_gradients_are_those_of_the_formulas(bins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Central differences in float64; the positives, and alpha in CIoU, are constants to the gradient."""
    output = output_of(bins, dtype=torch.float64)
    truth = loss_module.ground_truth(TARGETS, 2, 3, HEIGHT, WIDTH)
    positives = loss_module._assign(output, truth, one_to_one=False)
    given(monkeypatch, *(part.tolist() for part in positives))
    boxes, logits = (part.detach().numpy() for part in output[:2])
    values, alphas = reference_sums(boxes, logits, positives, [])
    sums = loss_sums(output, TARGETS, HEIGHT, WIDTH, UNIT)
    assert sums.dtype == torch.float64
    np.testing.assert_allclose(sums[:3].detach().numpy(), values, rtol=1e-6)

    some = [*sorted({divmod(place, POINTS) for place in positives.point.tolist()})[::3], (0, POINTS - 1)]
    for term in range(3):
        grads = torch.autograd.grad(sums[term], output[:2], retain_graph=True, allow_unused=True)
        for part, (at, channels) in enumerate(((boxes, 4 * bins), (logits, 3))):
            places = [(image, channel, a) for image, a in some for channel in range(channels)][:150]

            def moved(values: np.ndarray, part: int = part, term: int = term) -> float:
                inputs = (values, logits) if part == 0 else (boxes, values)
                return float(reference_sums(*inputs, positives, alphas)[0][term])

            grad = grads[part]
            got = [0.0 if grad is None else grad[place].item() for place in places]
            np.testing.assert_allclose(got, numeric_gradient(moved, at, places), rtol=1e-5, atol=1e-7)
            assert any(got) == ((part == 1) == (term == 1)), "a term moves its own outputs alone"


@pytest.mark.parametrize(("bins", "points"), [(BINS, 1), (1, 4)])
def test_a_tiny_box_has_the_points_within_one_or_two_strides(bins: int, points: int) -> None:
    """A box of one pixel: one point of the finest level, or four where sides may be negative."""
    alike = torch.full((1, 4 * bins, POINTS), 3.0, requires_grad=True)  # large boxes, that all overlap it
    output = HeadOutput(alike, torch.zeros(1, 1, POINTS), CENTRES, POINT_STRIDES)
    tiny = torch.tensor([[0, 0, 33.0 / WIDTH, 34.0 / HEIGHT, 1.0 / WIDTH, 1.0 / HEIGHT]])
    detection_loss(output, tiny, HEIGHT, WIDTH, UNIT)[2].backward()
    assert output.box_logits.grad is not None
    moved = (output.box_logits.grad != 0).any(dim=1)[0]
    # What is inside of the widened box, of all levels, by hand: half a side is 4 or 8 pixels.
    reach = ((CENTRES - torch.tensor([[33.0], [34.0]])).abs() <= (4 if bins == BINS else 8)).all(dim=0)
    assert (reach & (POINT_STRIDES == 8)).sum() == points
    assert torch.equal(moved, reach)


def test_a_box_of_two_strides_is_not_widened() -> None:
    output = output_of(1)
    box = torch.tensor([[0, 0, 33.0 / WIDTH, 34.0 / HEIGHT, 17.0 / WIDTH, 30.0 / HEIGHT]])
    detection_loss(output, box, HEIGHT, WIDTH, UNIT)[2].backward()
    assert output.box_logits.grad is not None
    x, y = CENTRES[:, (output.box_logits.grad != 0).any(dim=1)[0]]
    assert ((x - 33).abs() <= 8.5).all()
    assert ((y - 34).abs() <= 15).all()


def test_shares_fall_linearly_and_add_up_to_1() -> None:
    first, last = ONE_TO_MANY_SHARES
    assert 1 >= first > last >= 0
    assert one_to_many_share(0.0) == first
    assert one_to_many_share(1.0) == pytest.approx(last)
    values = [one_to_many_share(i / 10) for i in range(11)]
    assert np.diff(values) == pytest.approx([(last - first) / 10] * 10)


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_two_heads_have_the_weighted_sum_of_their_losses(progress: float) -> None:
    many, one = output_of(1, 0), output_of(1, 1)
    got = heads_loss((many, one), TARGETS, HEIGHT, WIDTH, UNIT, progress)
    share = one_to_many_share(progress)
    wanted = share * detection_loss(many, TARGETS, HEIGHT, WIDTH, UNIT) + (1 - share) * detection_loss(
        one, TARGETS, HEIGHT, WIDTH, UNIT, one_to_one=True
    )
    torch.testing.assert_close(got, wanted)
    # Each head is trained by its own kind of assignment: swapped, the loss is another.
    swapped = heads_loss((one, many), TARGETS, HEIGHT, WIDTH, UNIT, progress)
    assert not torch.allclose(got, swapped, rtol=1e-3)


def test_one_head_has_its_own_loss_whatever_the_progress() -> None:
    output = output_of(BINS)
    wanted = detection_loss(output, TARGETS, HEIGHT, WIDTH, UNIT)
    for progress in (0.0, 0.5, 1.0):
        assert torch.equal(heads_loss((output,), TARGETS, HEIGHT, WIDTH, UNIT, progress), wanted)


def test_the_one_to_one_head_pulls_one_point_for_each_box() -> None:
    output = output_of(1)
    detection_loss(output, TARGETS, HEIGHT, WIDTH, UNIT, one_to_one=True)[2].backward()
    assert output.box_logits.grad is not None
    moved = (output.box_logits.grad != 0).any(dim=1).sum(dim=1).tolist()
    assert moved == [2, 3]  # the boxes of both images


def test_a_detector_of_two_heads_weighs_them_by_its_progress() -> None:
    model = build_model("yolo26n", 3, seed=0).train()
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    outputs = model.training_maps(images)
    assert len(outputs) == 2
    for progress in (0.0, 1.0):
        model.progress = progress
        wanted = heads_loss(outputs, TARGETS, HEIGHT, WIDTH, model.gains, progress)
        torch.testing.assert_close(model(images, TARGETS), wanted, rtol=1e-4, atol=1e-4)


def test_the_validation_loss_is_that_of_the_predicting_head_alone() -> None:
    """And does not depend on the progress, so that epochs can be compared."""
    model = build_model("yolo26n", 3, seed=0).eval()
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    found = []
    for progress in (0.0, 1.0):
        model.progress = progress
        with torch.no_grad():
            raw, sums = model.with_loss(images, TARGETS)
            single = model.predict_maps(images)
        found.append(sums)
        torch.testing.assert_close(raw[:, :4], decode_xywh(single, 1))
        wanted = loss_sums(single, TARGETS, HEIGHT, WIDTH, model.gains, one_to_one=True)
        torch.testing.assert_close(sums, wanted)
    assert torch.equal(*found)
