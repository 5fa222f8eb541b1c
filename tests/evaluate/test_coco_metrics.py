"""CocoMetrics: figures one can work out by hand, and the definition (parity/ has pycocotools)."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("right", "objects", "eleven", "every"),
    [
        pytest.param([1, 0, 1], 2, (6 * 1 + 5 * 2 / 3) / 11, 1 / 2 + 1 / 2 * 2 / 3, id="precision falls"),
        pytest.param([1, 0, 1], 4, (3 * 1 + 3 * 2 / 3) / 11, 1 / 4 + 1 / 4 * 2 / 3, id="half are missed"),
        pytest.param([1, 0, 1, 1], 3, (4 * 1 + 7 * 3 / 4) / 11, 1 / 3 + 2 / 3 * 3 / 4, id="precision rises"),
        pytest.param([0, 1], 1, 1 / 2, 1 / 2, id="wrong first"),
        pytest.param([0, 0], 3, 0.0, 0.0, id="all wrong"),
        pytest.param([], 3, 0.0, 0.0, id="nothing found"),
    ],
)
def test_pascal_voc_worked_out_by_hand(right: list[int], objects: int, eleven: float, every: float) -> None:
    """Detections by falling score, right (1) or wrong (0): precision at recall 0, 0.1 .. 1, or area."""
    places = np.cumsum(right) - 1
    boxes = [
        BOXES[place] if hit else AWAY[i] for i, (hit, place) in enumerate(zip(right, places, strict=True))
    ]
    metrics = CocoMetrics(2, ["cat", "never"])
    metrics.update(
        found(boxes, np.linspace(0.9, 0.5, len(right)), [0] * len(right)), BOXES[:objects], [0] * objects
    )
    for method, expected in (("11-point", eleven), ("all-point", every)):
        result = metrics.compute(ap_method=method)
        assert (result.map50, result.map50_95) == pytest.approx((expected, expected), abs=1e-12)
        assert result.classes[0].ap50 == pytest.approx(expected, abs=1e-12)
        assert np.isnan(result.classes[1].ap50)
        np.testing.assert_array_equal(result.stats, metrics.compute().stats)  # these stay COCO's
    assert np.isnan([CocoMetrics(1).compute(m).map50 for m in ("11-point", "all-point")]).all()
    with pytest.raises(ValueError, match="expected '101-point', '11-point' or 'all-point'"):
        metrics.compute(ap_method="7-point")


def test_confidence_curves_worked_out_by_hand() -> None:
    """Of two objects: right at 0.9, wrong at 0.8, right at 0.7; a class without objects has no curve.

    Precision holds above the highest score, where there is nothing to be right or wrong.
    """
    metrics = CocoMetrics(2)
    metrics.update(found([BOXES[0], AWAY[0], BOXES[1]], [0.9, 0.8, 0.7], [0, 0, 0]), BOXES[:2], [0, 0])
    curves = metrics.compute().confidence_curves
    np.testing.assert_allclose(curves.confidence, np.linspace(0, 1, 1001))
    for threshold, expected in ((0, (2 / 3, 1, 0.8)), (0.65, (2 / 3, 1, 0.8)), (0.75, (0.5, 0.5, 0.5)),
                                (0.85, (1, 0.5, 2 / 3)), (0.95, (1, 0, 0)), (1, (1, 0, 0))):  # fmt: skip
        at = round(threshold * 1000)
        got = [rates[0, at] for rates in (curves.precision, curves.recall, curves.f1)]
        assert got == pytest.approx(expected), threshold
    for rates in (curves.precision, curves.recall, curves.f1):
        assert rates.shape == (2, 1001)
        assert np.isnan(rates[1]).all()


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


RIGHT = found(BOXES[:1], [0.5], [0])
WRONG = found(AWAY[:1], [0.5], [0])


@pytest.mark.parametrize(("right_id", "expected"), [(1, 1.0), (3, 0.5)])
def test_image_ids_order_equal_scores_as_pycocotools_does(right_id: int, expected: float) -> None:
    """A right and a wrong detection of one score: that of the smaller image id comes first."""
    alone = CocoMetrics(1).update(RIGHT, BOXES[:1], [0], image_ids=[right_id])
    alone.update(WRONG, [], [], image_ids=[2])
    together = CocoMetrics(1).update(
        [WRONG, RIGHT], BOXES[:1], [0], gt_images=[1], image_ids=np.array([2, right_id])
    )
    merged = CocoMetrics(1).update(WRONG, [], [], image_ids=[2])
    merged.merge(CocoMetrics(1).update(RIGHT, BOXES[:1], [0], image_ids=[right_id]))
    for metrics in (alone, together, merged):
        assert metrics.compute().map50 == pytest.approx(expected)


def test_image_ids_that_do_not_fit_are_named() -> None:
    metrics = CocoMetrics(1).update(RIGHT, BOXES[:1], [0], image_ids=[7])
    with pytest.raises(DataError, match="image 7 was added twice"):
        metrics.update(RIGHT, BOXES[:1], [0], image_ids=[7])
    with pytest.raises(DataError, match="image 8 was added twice"):
        metrics.update([RIGHT, RIGHT], [], [], gt_images=[], image_ids=[8, 8])
    with pytest.raises(ValueError, match="expected image_ids for all images or for none"):
        metrics.update(RIGHT, BOXES[:1], [0])
    with pytest.raises(ValueError, match="image_ids has 2 values; expected 1"):
        metrics.update(RIGHT, BOXES[:1], [0], image_ids=[8, 9])
    with pytest.raises(TypeError, match="image_ids has dtype float64"):
        metrics.update(RIGHT, BOXES[:1], [0], image_ids=[8.0])
    with pytest.raises(DataError, match="image 7 was added twice"):
        metrics.merge(CocoMetrics(1).update(RIGHT, [], [], image_ids=[7]))
    with pytest.raises(ValueError, match="expected image_ids for all images or for none"):
        metrics.merge(CocoMetrics(1).update(RIGHT, [], []))
    assert metrics.compute().images == 1


@pytest.mark.parametrize(
    "other", [CocoMetrics(3), CocoMetrics(2, ["cat", "dog"]), CocoMetrics(2, max_dets=(1, 10, 300))]
)
def test_only_the_same_classes_and_limits_are_merged(other: CocoMetrics) -> None:
    with pytest.raises(ValueError, match="cannot merge"):
        CocoMetrics(2).merge(other)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_single_images_and_merged_shares_are_the_same(threads: int) -> None:
    rng = np.random.default_rng(5)
    images = []
    for _ in range(12):
        gt = BOXES[: rng.integers(0, 10)]
        dt = np.concatenate([BOXES, AWAY]) + rng.integers(-3, 4, (20, 4))
        scores = rng.integers(0, 6, 20) / 5
        images.append((found(dt, scores, rng.integers(0, 2, 20)), gt, rng.integers(0, 2, len(gt))))
    places = np.repeat(np.arange(12), [len(gt) for _, gt, _ in images])
    boxes, classes = (np.concatenate([image[part] for image in images]) for part in (1, 2))
    batch = [image[0] for image in images]
    whole = CocoMetrics(2, threads=threads).update(batch, boxes, classes, gt_images=places)
    mixed = rng.permutation(len(places))
    in_any_order = CocoMetrics(2).update(batch, boxes[mixed], classes[mixed], gt_images=places[mixed])
    one_by_one, first, second = (CocoMetrics(2, threads=threads) for _ in range(3))
    for place, image in enumerate(images):
        one_by_one.update(*image)
        (first if place < 5 else second).update(*image)
    expected = whole.compute()
    assert 0 < expected.map50_95 < 1
    for metrics in (in_any_order, one_by_one, first.merge(second)):
        result = metrics.compute()
        np.testing.assert_array_equal(result.stats, expected.stats)
        for name, array in expected.eval.items():
            np.testing.assert_array_equal(result.eval[name], array)
        assert result.classes == expected.classes
        assert (result.images, result.boxes, result.detections) == (12, len(places), 240)


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint16, np.float16, np.float32, np.float64, list])
def test_whole_and_broken_numbers_are_the_same_boxes(kind: type) -> None:
    boxes = BOXES.tolist() if kind is list else BOXES.astype(kind)
    strided = boxes if kind is list else np.repeat(boxes, 2, axis=0)[::2]
    detections = Detections(strided, np.linspace(0.5, 0.9, 10), np.zeros(10, np.uint8))
    result = CocoMetrics(1).update(detections, strided, [0] * 10).compute()
    assert result.map50_95 == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "got 2 images without gt_images"),
        ({"gt_images": [2]}, ValueError, "gt_images are 2 to 2; expected 0 to 1"),
        ({"gt_images": [-1]}, ValueError, "gt_images are -1 to -1; expected 0 to 1"),
        ({"gt_images": [0, 1]}, ValueError, "gt_images has 2 values; expected 1"),
        ({"gt_images": [0.0]}, TypeError, "gt_images has dtype float64; expected whole numbers"),
        ({"gt_images": [0], "gt_classes": [0.0]}, TypeError, "gt_classes has dtype float64"),
        ({"gt_images": [0], "gt_crowd": [True, False]}, ValueError, "gt_crowd has 2 values"),
        ({"gt_images": [0], "gt_areas": [1.0, 2.0]}, ValueError, "gt_areas has 2 values"),
        ({"gt_images": [0], "gt_boxes": np.zeros((1, 5))}, ValueError, r"gt_boxes has shape \(1, 5\)"),
        ({"gt_images": [0], "gt_boxes": np.zeros(4)}, ValueError, r"gt_boxes has shape \(4,\)"),
    ],
)
def test_a_batch_that_does_not_fit_is_named(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    metrics = CocoMetrics(2)
    with pytest.raises(error, match=message):
        metrics.update([RIGHT, NOTHING], **({"gt_boxes": BOXES[:1], "gt_classes": [0]} | arguments))
    assert metrics.compute().images == 0


@pytest.mark.parametrize(
    ("detections", "error", "message"),
    [
        (Detections(BOXES[:1], [0.5], np.array([0.0])), TypeError, "classes has dtype float64"),
        (Detections(BOXES[:1, :3], [0.5], [0]), ValueError, r"boxes has shape \(1, 3\)"),
        (Detections(BOXES[:2], [0.5], [0]), ValueError, "2 boxes, 1 scores and 1 classes"),
        (Detections(BOXES[:1], [0.5], []), ValueError, "1 boxes, 1 scores and 0 classes"),
        (
            {"boxes": BOXES[:1]},
            TypeError,
            r"got a dict; expected Detections\(boxes, scores, classes\), or a list",
        ),
        ([{"boxes": BOXES[:1]}], TypeError, "detections: got a dict; expected Detections"),
        ((BOXES[:1], [0.5], [0]), TypeError, "detections: got a ndarray; expected Detections"),
    ],
)
def test_detections_that_do_not_fit_are_named(detections: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CocoMetrics(2).update(detections, BOXES[:1], [0])


def test_a_batch_of_no_images_adds_nothing() -> None:
    assert CocoMetrics(1).update([], [], [], gt_images=[]).compute().images == 0


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


@pytest.mark.parametrize(
    "max_dets",
    [[1, 10], [1, 2, 3, 4], [10, 1, 100], [0, 1, 2], [1, 2.5, 9], [1, 10, 2**64 - 1], [1, 10, 2**70]],
)
def test_limits_are_three_rising_numbers(max_dets: list[float]) -> None:
    with pytest.raises(ValueError, match="expected three rising whole numbers"):
        CocoMetrics(2, max_dets=max_dets)  # type: ignore[arg-type]


def test_metrics_are_not_merged_into_themselves() -> None:
    metrics = CocoMetrics(1).update(found(BOXES[:1], [0.5], [0]), BOXES[:1], [0])
    with pytest.raises(ValueError, match="into themselves"):
        metrics.merge(metrics)
    assert metrics.compute().images == 1


def test_image_ids_may_be_written_to_afterwards() -> None:
    """One buffer for the ids of every batch: ties are still broken by the ids that were given."""
    reused, fresh = CocoMetrics(1), CocoMetrics(1)
    buffer = np.empty(1, np.int64)
    for image, box in ((2, AWAY[:1]), (1, BOXES[:1])):
        buffer[:] = image
        for metrics, ids in ((reused, buffer), (fresh, np.array([image]))):
            metrics.update(found(box, [0.5], [0]), BOXES[:1], [0], image_ids=ids)
    # The right one, of image 1, comes first: precision 1 to recall 0.5.
    assert reused.compute().map50 == fresh.compute().map50 == pytest.approx(51 / 101)


@pytest.mark.parametrize("seed", range(9))
def test_no_other_confidence_has_a_better_mean_f1(seed: int) -> None:
    """Every score tried, also where scores are not from 0 to 1 (logits)."""
    rng = np.random.default_rng(seed)
    classes, levels = int(rng.integers(1, 6)), int(rng.choice([5, 40, 10**6]))
    low, high = [(0, 1), (-4, 4), (0.4, 0.41)][seed % 3]
    metrics = CocoMetrics(classes)
    judged: list[tuple[float, int, bool]] = []
    positives = np.zeros(classes)
    for _ in range(12):
        truth = rng.integers(0, classes, 10)
        scores = (low + rng.integers(0, levels, 30) / levels * (high - low)).astype(np.float32)
        place, labels = (
            np.arange(30) % 15,
            rng.integers(0, classes, 30),
        )  # two detections at each of 15 places
        labels[:8] = truth[:8]
        boxes = np.stack([place * 20, place * 0, place * 20 + 10, place * 0 + 10], axis=1)
        metrics.update(found(boxes, scores, labels), boxes[:10], truth)
        positives += np.bincount(truth, minlength=classes)
        taken: set[int] = set()
        for d in np.argsort(-scores, kind="stable").tolist():
            at = int(place[d])
            right = at < 10 and truth[at] == labels[d] and at not in taken
            if right:
                taken.add(at)
            judged.append((float(scores[d]), int(labels[d]), bool(right)))
    score, label, right_ones = (np.array(column) for column in zip(*judged, strict=True))

    def mean_f1(confidence: float) -> float:
        above = score >= confidence
        hits = np.bincount(label[above & right_ones], minlength=classes)
        total = np.bincount(label[above], minlength=classes)
        return float((2 * hits / (total + positives))[positives > 0].mean())

    result = metrics.compute()
    best = max(map(mean_f1, np.unique(score)))
    assert result.f1 == pytest.approx(best, abs=1e-12)
    assert mean_f1(result.confidence) == pytest.approx(best, abs=1e-12)
