"""Task-aligned assignment against a slow, explicit loop over boxes and points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from yolofast.models import assigner
from yolofast.models.assigner import ALPHA, BETA, MIN_BEST_SCORE, TOP_K, Assignment, GroundTruth, assign
from yolofast.models.head import anchor_points

SIDE = 64
CENTRES, _ = anchor_points([torch.empty(1, 1, SIDE // s, SIDE // s) for s in (8, 16, 32)])
POINTS = CENTRES.shape[1]


def overlap(a: list[float], b: list[float]) -> float:
    inner = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return inner / (area - inner + 1e-7)


def oracle(truth: GroundTruth, logits: torch.Tensor, boxes: torch.Tensor) -> dict[int, tuple[int, float]]:
    """Positive point (image * A + point) -> (box, soft target), by explicit loops in float64."""
    claims: dict[int, list[tuple[float, int, float]]] = {}
    for n, (image, cls, box) in enumerate(
        zip(truth.sample.tolist(), truth.classes.tolist(), truth.boxes.tolist(), strict=True)
    ):
        half = [max(box[2] - box[0], 8.0) / 2, max(box[3] - box[1], 8.0) / 2]
        middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        ranked = []
        for a, point in enumerate(CENTRES.T.tolist()):
            if all(m - h <= p < m + h for p, m, h in zip(point, middle, half, strict=True)):
                score = 1 / (1 + math.exp(-float(logits[image, cls, a])))
                iou = overlap(boxes[image, :, a].tolist(), box)
                ranked.append((-(score**ALPHA) * iou**BETA, a, iou))
        for negative, a, iou in sorted(ranked)[:TOP_K]:
            claims.setdefault(image * POINTS + a, []).append((-iou, n, -negative))
    owned: dict[int, list[tuple[int, float, float]]] = {}
    for point, takers in claims.items():
        negative_iou, n, alignment = min(takers)
        owned.setdefault(n, []).append((point, alignment, -negative_iou))
    result = {}
    for n, points in owned.items():
        best, best_iou = max(p[1] for p in points), max(p[2] for p in points)
        for point, alignment, _ in points:
            result[point] = (n, (alignment / best if best else 1.0) * max(best_iou, MIN_BEST_SCORE))
    return result


def as_dict(assignment: Assignment) -> dict[int, tuple[int, float]]:
    lists = (part.tolist() for part in assignment)
    pairs = {point: (truth, score) for point, truth, score in zip(*lists, strict=True)}
    assert len(pairs) == len(assignment.point), "a point was given away twice"
    return pairs


def compare(truth: GroundTruth, logits: torch.Tensor, boxes: torch.Tensor) -> dict[int, tuple[int, float]]:
    got = as_dict(assign(truth, logits, boxes, CENTRES, 8.0))
    wanted = oracle(truth, logits, boxes)
    assert {p: n for p, (n, _) in got.items()} == {p: n for p, (n, _) in wanted.items()}
    for point, (_, score) in wanted.items():
        assert got[point][1] == pytest.approx(score, rel=1e-3, abs=1e-6)
    return got


def random_truth(counts: list[int], classes: int, smallest: float, seed: int) -> GroundTruth:
    generator = torch.Generator().manual_seed(seed)
    total = sum(counts)
    size = smallest + torch.rand(total, 2, generator=generator) ** 2 * 40
    low = torch.rand(total, 2, generator=generator) * (SIDE - size)
    return GroundTruth(
        torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        torch.randint(0, classes, (total,), generator=generator),
        torch.cat((low, low + size), dim=1),
    )


def random_predictions(images: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, POINTS, generator=generator) * 2
    sides = torch.rand(images, 4, POINTS, generator=generator) * 25
    return logits, torch.cat((CENTRES - sides[:, :2], CENTRES + sides[:, 2:]), dim=1)


@pytest.mark.parametrize(
    ("counts", "smallest"),
    [([1], 20.0), ([3, 0, 5, 1], 4.0), ([0, 0, 7], 0.5), ([25, 1], 2.0), ([4, 4, 4], 30.0)],
)
@pytest.mark.parametrize("seed", range(4))
def test_matches_the_loop(counts: list[int], smallest: float, seed: int) -> None:
    truth = random_truth(counts, 3, smallest, seed)
    compare(truth, *random_predictions(len(counts), 3, 100 + seed))


def test_boxes_in_any_order() -> None:
    truth = random_truth([4, 2, 6], 3, 4.0, 0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    compare(GroundTruth(*(part[order] for part in truth)), *random_predictions(3, 3, 1))


def test_ties_go_to_the_lowest_index() -> None:
    """The same prediction at every point, and one box twice: points in order, to the first box."""
    box = torch.tensor([10.0, 10.0, 50.0, 50.0])
    truth = GroundTruth(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.stack((box, box)))
    boxes = torch.tensor([5.0, 8.0, 48.0, 50.0])[None, :, None].expand(1, 4, POINTS)
    got = compare(truth, torch.zeros(1, 2, POINTS), boxes)
    assert len(got) == TOP_K
    assert {n for n, _ in got.values()} == {0}


def test_boxes_that_no_prediction_overlaps_keep_a_weight() -> None:
    truth = random_truth([3], 2, 16.0, 5)
    got = compare(truth, torch.zeros(1, 2, POINTS), torch.full((1, 4, POINTS), -5.0))
    assert {n for n, _ in got.values()} == {0, 1, 2}
    assert all(score == pytest.approx(MIN_BEST_SCORE) for _, score in got.values())


def test_no_boxes() -> None:
    truth = random_truth([0, 0], 2, 8.0, 0)
    got = assign(truth, *random_predictions(2, 2, 0), CENTRES, 8.0)
    assert [len(part) for part in got] == [0, 0, 0]


@pytest.mark.parametrize("middle", [(0.3, 0.3), (8.0, 8.0), (31.9, 16.0), (63.7, 63.9), (40.0, 0.1)])
@pytest.mark.parametrize("side", [0.2, 3.0, 7.9])
def test_a_box_between_the_points_still_gets_one(middle: tuple[float, float], side: float) -> None:
    x, y = middle
    truth = GroundTruth(
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(1, dtype=torch.int64),
        torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]]),
    )
    got = assign(truth, *random_predictions(1, 1, 3), CENTRES, 8.0)
    assert len(got.point)
    assert (CENTRES[:, got.point] - torch.tensor(middle)[:, None]).abs().max() <= 4.01


def test_best_point_is_asked_for_the_best_overlap() -> None:
    truth = random_truth([1], 2, 30.0, 2)  # large enough for a good overlap
    logits, boxes = random_predictions(1, 2, 2)
    got = assign(truth, logits, boxes, CENTRES, 8.0)
    ious = [overlap(boxes[0, :, a].tolist(), truth.boxes[0].tolist()) for a in got.point.tolist()]
    assert max(ious) > MIN_BEST_SCORE
    assert got.score.max().item() == pytest.approx(max(ious), rel=1e-4)


def test_slices_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = random_truth([9, 8, 14], 3, 3.0, 4)
    predictions = random_predictions(3, 3, 4)
    whole = assign(truth, *predictions, CENTRES, 8.0)
    monkeypatch.setattr(assigner, "MAX_PAIRS", 3 * POINTS)
    sliced = assign(truth, *predictions, CENTRES, 8.0)
    assert torch.equal(whole.point, sliced.point)
    assert torch.equal(whole.truth, sliced.truth)
    torch.testing.assert_close(whole.score, sliced.score)


def one_to_one(truth: GroundTruth, logits: torch.Tensor, boxes: torch.Tensor, side: float) -> dict[int, int]:
    """Positive point -> box: each box keeps the best aligned of its own points. numpy, float64."""
    x, y = CENTRES.double().numpy()
    claims: dict[int, list[tuple[float, int, float]]] = {}
    for n, (image, cls, box) in enumerate(
        zip(truth.sample.tolist(), truth.classes.tolist(), truth.boxes.double().numpy(), strict=True)
    ):
        middle, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], side) / 2
        low, high = middle - half, middle + half
        inside = (x >= low[0]) & (x < high[0]) & (y >= low[1]) & (y < high[1])
        got = boxes[image].double().numpy()
        inner = (np.minimum(got[2], box[2]) - np.maximum(got[0], box[0])).clip(0) * (
            np.minimum(got[3], box[3]) - np.maximum(got[1], box[1])
        ).clip(0)
        area = (got[2] - got[0]).clip(0) * (got[3] - got[1]).clip(0)
        iou = inner / (area + (box[2] - box[0]) * (box[3] - box[1]) - inner + 1e-7)
        alignment = (1 / (1 + np.exp(-logits[image, cls].double().numpy()))) ** ALPHA * iou**BETA
        ranked = sorted(np.flatnonzero(inside).tolist(), key=lambda a: (-alignment[a], a))
        for a in ranked[:TOP_K]:
            claims.setdefault(image * POINTS + a, []).append((-iou[a], n, alignment[a]))
    best: dict[int, tuple[float, int]] = {}
    for point, takers in sorted(claims.items()):
        _, n, alignment = min(takers)  # the highest IoU, then the first box
        best[n] = max(best.get(n, (-1.0, 0)), (alignment, point), key=lambda pair: pair[0])
    return {point: n for n, (_, point) in best.items()}


@pytest.mark.parametrize(
    ("counts", "smallest"),
    [([1], 20.0), ([3, 0, 5, 1], 4.0), ([0, 0, 7], 0.5), ([25, 1], 2.0), ([12, 9], 25.0)],
)
@pytest.mark.parametrize("side", [8.0, 16.0])
@pytest.mark.parametrize("seed", range(3))
def test_one_to_one_gives_each_box_its_own_best_point(
    counts: list[int], smallest: float, side: float, seed: int
) -> None:
    truth = random_truth(counts, 3, smallest, seed)
    predictions = random_predictions(len(counts), 3, 100 + seed)
    got = assign(truth, *predictions, CENTRES, side, one_to_one=True)
    assert len(set(got.point.tolist())) == len(got.point), "each point at most one box"
    assert len(set(got.truth.tolist())) == len(got.truth), "each box at most one point"
    assert dict(zip(got.point.tolist(), got.truth.tolist(), strict=True)) == one_to_one(
        truth, *predictions, side
    )
    many = as_dict(assign(truth, *predictions, CENTRES, side))
    for point, pair in as_dict(got).items():
        assert many[point] == pair
    assert set(got.truth.tolist()) == {n for n, _ in many.values()}, "no box loses its last point"


def test_one_to_one_second_stage_falls_back_on_the_next_point() -> None:
    """Two boxes nearly alike, predictions that fit the first: no point is shared, no box left out."""
    first, second = torch.tensor([8.0, 8.0, 40.0, 40.0]), torch.tensor([9.0, 9.0, 41.0, 41.0])
    truth = GroundTruth(torch.zeros(2).long(), torch.zeros(2).long(), torch.stack((first, second)))
    boxes = first[None, :, None].expand(1, 4, POINTS).clone()
    fits_second = int(((CENTRES == 28).all(dim=0)).nonzero()[0])
    boxes[0, :, fits_second] = torch.tensor([9.0, 9.0, 41.0, 38.0])  # IoU 0.91 with the second, 0.87 with it
    logits = torch.zeros(1, 1, POINTS)
    got = assign(truth, logits, boxes, CENTRES, 8.0, one_to_one=True)
    assert got.truth.tolist() == [0, 1]
    assert got.point[1] == fits_second
    assert got.point[0] != fits_second
