"""CocoMetrics: figures one can work out by hand, and the definition (parity/ has pycocotools)."""

from __future__ import annotations

import numpy as np
import pytest

from yolofast.errors import DataError
from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.kernels import reference
from yolofast.kernels.matching import IOU_THRESHOLDS
from yolofast.types import Detections

BOXES = np.array([[i * 20.0, 0, i * 20.0 + 10, 10] for i in range(10)])
AWAY = BOXES + 500


def found(boxes: object, scores: object, classes: object) -> Detections:
    return Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        np.asarray(classes, np.int64),
    )


NOTHING = found([], [], [])


def test_perfect_detections() -> None:
    metrics = CocoMetrics(2, ["cat", "dog"])
    metrics.update(found(BOXES, np.linspace(0.5, 0.9, 10), [0, 1] * 5), BOXES, [0, 1] * 5)
    result = metrics.compute()
    for value in (result.map50, result.map50_95, result.precision, result.recall, result.f1):
        assert value == pytest.approx(1.0)
    assert result.confidence == np.float32(0.5)  # all are right: the lowest score loses none
    assert (result.images, result.boxes, result.detections) == (1, 10, 10)
    assert [(c.name, c.images, c.boxes) for c in result.classes] == [("cat", 1, 5), ("dog", 1, 5)]


def test_average_precision_worked_out_by_hand() -> None:
    """Right, wrong, right of two objects: precision 1 to recall 0.5 (51 points), 2/3 from there."""
    metrics = CocoMetrics(1)
    metrics.update(found([BOXES[0], AWAY[0], BOXES[1]], [0.9, 0.8, 0.7], [0, 0, 0]), BOXES[:2], [0, 0])
    result = metrics.compute()
    assert result.map50 == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    np.testing.assert_allclose(result.pr_precision[0], [1.0] * 51 + [2 / 3] * 50)
    np.testing.assert_allclose(result.pr_recall, np.arange(101) / 100)
    # F1: 2/3 at 0.9, 1/2 at 0.8, 4/5 at 0.7.
    assert result.confidence == np.float32(0.7)
    assert (result.precision, result.recall, result.f1) == pytest.approx((2 / 3, 1.0, 0.8))


def test_the_operating_point_is_one_for_all_classes() -> None:
    """Class 0 alone would choose 0.9, class 1 alone 0.2; together 0.9 is the better."""
    metrics = CocoMetrics(2)
    metrics.update(
        found(
            [BOXES[0], AWAY[0], AWAY[1], AWAY[2], BOXES[1], BOXES[2]],
            [0.9, 0.8, 0.7, 0.6, 0.9, 0.2],
            [0, 0, 0, 0, 1, 1],
        ),
        BOXES[:3],
        [0, 1, 1],
    )
    result = metrics.compute()
    assert result.confidence == np.float32(0.9)
    assert [c.precision for c in result.classes] == [1.0, 1.0]
    assert [c.recall for c in result.classes] == [1.0, 0.5]
    assert [c.f1 for c in result.classes] == pytest.approx([1.0, 2 / 3])


def test_equal_scores_are_taken_together() -> None:
    metrics = CocoMetrics(1)
    metrics.update(found([BOXES[0], AWAY[0]], [0.5, 0.5], [0, 0]), BOXES[:1], [0])
    result = metrics.compute()
    assert (result.precision, result.recall) == (0.5, 1.0)


def test_a_threshold_inside_a_group_of_equal_scores_is_no_choice() -> None:
    """Stopping after the right one of the four at 0.5 would give F1 1; all four give 4/7, 0.6 gives 2/3."""
    metrics = CocoMetrics(1)
    boxes = [BOXES[0], BOXES[1], AWAY[0], AWAY[1], AWAY[2]]
    metrics.update(found(boxes, [0.6, 0.5, 0.5, 0.5, 0.5], [0] * 5), BOXES[:2], [0, 0])
    result = metrics.compute()
    assert result.confidence == np.float32(0.6)
    assert result.f1 == pytest.approx(2 / 3)


def test_classes_without_boxes_do_not_count() -> None:
    metrics = CocoMetrics(3)
    metrics.update(found([BOXES[0], AWAY[0]], [0.9, 0.8], [0, 2]), BOXES[:1], [0])
    result = metrics.compute()
    assert result.map50 == pytest.approx(1.0)
    assert result.precision == 1.0
    assert np.isnan([result.classes[k].ap50 for k in (1, 2)]).all()
    assert np.isnan(result.pr_precision[1:]).all()
    assert not np.isnan(result.pr_precision[0]).any()


def test_objects_without_detections_count_as_missed() -> None:
    metrics = CocoMetrics(2)
    metrics.update(found(BOXES[:1], [0.9], [0]), BOXES[:2], [0, 1])
    result = metrics.compute()
    assert (result.map50, result.recall, result.precision) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("with_image", [False, True])
def test_nothing_at_all_is_nan_not_a_crash(with_image: bool) -> None:
    metrics = CocoMetrics(2)
    if with_image:
        metrics.update(NOTHING, [], [])
    result = metrics.compute()
    assert np.isnan([result.map50, result.map50_95, result.precision, result.recall, result.f1]).all()
    assert (result.confidence, result.images, result.boxes) == (0.0, int(with_image), 0)


def test_no_detections_give_zero() -> None:
    metrics = CocoMetrics(1)
    metrics.update(NOTHING, BOXES, np.zeros(10, int))
    result = metrics.compute()
    assert (result.map50, result.map50_95, result.precision, result.recall, result.f1) == (0, 0, 0, 0, 0)


def test_detections_in_a_crowd_are_neither_right_nor_wrong() -> None:
    metrics = CocoMetrics(1)
    boxes = [[0, 0, 100, 100], [200, 0, 210, 10]]
    metrics.update(
        found([[10, 10, 20, 20], [50, 50, 60, 60], [200, 0, 210, 10]], [0.9, 0.8, 0.7], [0, 0, 0]),
        boxes,
        [0, 0],
        [True, False],
    )
    result = metrics.compute()
    assert result.map50 == pytest.approx(1.0)
    assert (result.precision, result.boxes) == (1.0, 1)


def test_equals_the_definition() -> None:
    rng = np.random.default_rng(3)
    metrics = CocoMetrics(2)
    scores: list[np.ndarray] = []
    right: list[np.ndarray] = []
    ignored: list[np.ndarray] = []
    boxes = 0
    for _ in range(8):
        corner = rng.integers(0, 40, (12, 2)).astype(float)
        gt = np.concatenate([corner, corner + rng.integers(8, 25, (12, 2))], axis=1)
        dt = np.repeat(gt, 2, axis=0) + rng.integers(-3, 4, (24, 4))
        crowd = rng.random(12) < 0.2
        confidence = rng.random(24).astype(np.float32)
        metrics.update(found(dt, confidence, np.zeros(24)), gt, np.zeros(12, int), crowd)
        match, skip = reference.match_image(
            np.concatenate([dt[:, :2], dt[:, 2:] - dt[:, :2]], axis=1),
            confidence,
            np.concatenate([gt[:, :2], gt[:, 2:] - gt[:, :2]], axis=1),
            crowd,
            IOU_THRESHOLDS[4],
        )
        scores.append(confidence)
        right.append((match >= 0) & ~skip)
        ignored.append(skip)
        boxes += int((~crowd).sum())
    expected = reference.average_precision(
        np.concatenate(scores), np.concatenate(right), np.concatenate(ignored), boxes
    )
    assert 0 < expected < 1
    assert metrics.compute().eval["precision"][4, :, 0, 0, -1].mean() == pytest.approx(expected, abs=1e-12)


def test_input_that_does_not_fit_is_named() -> None:
    metrics = CocoMetrics(2)
    with pytest.raises(DataError, match="a label has class 2; expected 0 to 1"):
        metrics.update(NOTHING, BOXES[:1], [2])
    with pytest.raises(DataError, match="a detection has class -1"):
        metrics.update(found(BOXES[:1], [0.5], [-1]), BOXES[:1], [0])
    with pytest.raises(ValueError, match="gt_classes has 1 values; expected 2"):
        metrics.update(NOTHING, BOXES[:2], [0])
    with pytest.raises(ValueError, match="NaN"):
        metrics.update(found(BOXES[:1], [np.nan], [0]), BOXES[:1], [0])
    assert metrics.compute().images == 0  # a refused image leaves nothing behind
    with pytest.raises(ValueError, match="got 2 classes and 1 names"):
        CocoMetrics(2, ["cat"])
    with pytest.raises(ValueError, match="cannot merge"):
        metrics.merge(CocoMetrics(3))
