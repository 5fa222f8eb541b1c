"""IoU and complete IoU against the papers' formulas in float64, one pair at a time."""

from __future__ import annotations

import math

import pytest
import torch

from yolofast.models.iou import paired_ciou, paired_iou


def formula(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and CIoU of two boxes with area."""
    (aw, ah), (bw, bh) = ((c[2] - c[0], c[3] - c[1]) for c in (a, b))
    overlap = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    iou = overlap / (aw * ah + bw * bh - overlap)
    d2 = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    c2 = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    v = 4 / math.pi**2 * (math.atan(bw / bh) - math.atan(aw / ah)) ** 2
    return iou, iou - d2 / c2 - (v * v / (1 - iou + v) if v else 0.0)


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 300
    return torch.cat((low, low + 1 + torch.rand(count, 2, generator=generator) ** 2 * 300), dim=1)


def test_matches_the_formula() -> None:
    a, b = random_boxes(300, 0), random_boxes(300, 1)
    b[:50] = a[:50] + torch.rand(50, 4) * 0.5  # nearly equal pairs, too
    wanted = torch.tensor([formula(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    torch.testing.assert_close(paired_iou(a, b), wanted[:, 0], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(paired_ciou(a, b), wanted[:, 1], rtol=1e-4, atol=2e-6)


def test_equal_boxes_score_one() -> None:
    boxes = random_boxes(20, 2)
    torch.testing.assert_close(paired_ciou(boxes, boxes), torch.ones(20))


def test_trade_off_weight_is_constant_to_the_gradient() -> None:
    """Equal centres and areas leave only the aspect term: its gradient is alpha times that of v."""
    a = torch.tensor([[0.0, 10.0, 40.0, 20.0]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[10.0, 5.0, 30.0, 25.0]], dtype=torch.float64)
    (got,) = torch.autograd.grad(paired_ciou(a, b).sum() - paired_iou(a, b).sum(), a)
    w, h = 40.0, 10.0
    iou, _ = formula(a.detach()[0].tolist(), b[0].tolist())
    angle = math.atan(1.0) - math.atan(w / h)
    v = 4 / math.pi**2 * angle**2
    alpha = v / (1 - iou + v)
    dv_dw = 4 / math.pi**2 * 2 * angle * (-h / (w * w + h * h))
    dv_dh = 4 / math.pi**2 * 2 * angle * (w / (w * w + h * h))
    wanted = torch.tensor([[alpha * dv_dw, alpha * dv_dh, -alpha * dv_dw, -alpha * dv_dh]]).double()
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e6])
def test_degenerate_boxes_give_finite_values_and_gradients(size: float) -> None:
    a = torch.tensor([[50.0, 50.0, 50.0 + size, 50.0 + size]], requires_grad=True)
    value = paired_ciou(a, torch.tensor([[10.0, 10.0, 90.0, 30.0]]))
    value.sum().backward()
    assert a.grad is not None
    assert value.isfinite().all()
    assert a.grad.isfinite().all()
