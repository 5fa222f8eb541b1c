"""match_detections: the COCO rule case by case, and its definition on random images."""

from __future__ import annotations

import numpy as np
import pytest

from yolofast.kernels import match_detections, reference
from yolofast.kernels.matching import IOU_THRESHOLDS, Matches

BOX = [0.0, 0, 10, 10]
HALF = [0.0, 0, 10, 5]  # IoU 0.5 with BOX


def match(dt: list[list[float]], scores: list[float], gt: list[list[float]], **options: object) -> Matches:
    options.setdefault("thresholds", [0.5])
    return match_detections(dt, scores, np.zeros(len(dt), int), gt, np.zeros(len(gt), int), **options)


def test_thresholds_are_those_of_coco() -> None:
    assert IOU_THRESHOLDS.tolist() == np.linspace(0.5, 0.95, 10, endpoint=True).tolist()


def test_best_score_chooses_first_and_an_object_is_taken_once() -> None:
    found = match([HALF, BOX], [0.3, 0.9], [BOX])
    assert found.detections.tolist() == [1, 0]
    assert found.ground_truths.tolist() == [[0, -1]]
    assert not found.ignored.any()


def test_iou_equal_to_the_threshold_matches() -> None:
    assert match([HALF], [0.5], [BOX], thresholds=[0.5, 0.55]).ground_truths.tolist() == [[0], [-1]]


def test_among_equal_overlaps_the_later_object_is_taken() -> None:
    assert match([BOX, BOX, BOX], [0.9, 0.8, 0.7], [BOX, BOX]).ground_truths.tolist() == [[1, 0, -1]]


def test_equal_scores_keep_their_order() -> None:
    assert match([BOX, BOX], [0.5, 0.5], [BOX]).ground_truths.tolist() == [[0, -1]]


def test_an_object_is_preferred_to_a_crowd_that_overlaps_more() -> None:
    found = match([HALF], [0.9], [BOX, BOX], gt_crowd=[True, False])
    assert found.ground_truths.tolist() == [[1]]
    assert not found.ignored.any()


def test_a_crowd_takes_many_and_they_are_ignored() -> None:
    inside = [[1.0, 1, 2, 2], [5.0, 5, 2, 2], [50.0, 50, 2, 2]]
    found = match(inside, [0.9, 0.8, 0.7], [BOX], gt_crowd=[True])
    assert found.ground_truths.tolist() == [[0, 0, -1]]
    assert found.ignored.tolist() == [[True, True, False]]


def test_an_ignored_object_takes_one() -> None:
    found = match([BOX, BOX], [0.9, 0.8], [BOX], gt_ignore=[True])
    assert found.ground_truths.tolist() == [[0, -1]]
    assert found.ignored.tolist() == [[True, False]]


def test_detections_that_do_not_count_are_ignored_only_when_unmatched() -> None:
    found = match([BOX, [90.0, 90, 1, 1]], [0.9, 0.8], [BOX], dt_ignore=[True, True])
    assert found.ignored.tolist() == [[False, True]]


def test_classes_do_not_meet_and_max_det_counts_per_class() -> None:
    found = match_detections(
        [BOX] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], [1, 1, 1, 0, 7], [BOX, BOX], [1, 0], thresholds=[0.5], max_det=2
    )
    assert found.detections.tolist() == [3, 2, 1, 4]
    assert found.ground_truths.tolist() == [[1, 0, -1, -1]]


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = 1 if seed % 2 else 0  # whole numbers give ties
    dt = rng.uniform(0, 12, (60, 4)).round(scale)
    gt = rng.uniform(0, 12, (25, 4)).round(scale)
    scores = rng.integers(0, 20, 60) / 20
    dt_classes, gt_classes = rng.integers(0, 3, 60), rng.integers(0, 4, 25)
    crowd = rng.random(25) < 0.3
    found = match_detections(dt, scores, dt_classes, gt, gt_classes, gt_crowd=crowd)
    for t, threshold in enumerate(IOU_THRESHOLDS):
        for label in range(4):
            rows, truths = np.flatnonzero(dt_classes == label), np.flatnonzero(gt_classes == label)
            expected, ignored = reference.match_image(
                dt[rows], scores[rows], gt[truths], crowd[truths], threshold
            )
            columns = {int(d): k for k, d in enumerate(found.detections)}
            picked = [columns[int(row)] for row in rows]
            np.testing.assert_array_equal(
                found.ground_truths[t, picked], [truths[e] if e >= 0 else -1 for e in expected]
            )
            np.testing.assert_array_equal(found.ignored[t, picked], ignored)


@pytest.mark.parametrize(("detections", "truths"), [(0, 0), (0, 2), (2, 0)])
def test_empty_sides(detections: int, truths: int) -> None:
    found = match([BOX] * detections, [0.5] * detections, [BOX] * truths)
    assert found.ground_truths.tolist() == [[-1] * detections]


@pytest.mark.parametrize("column", range(4))
def test_nan_boxes_match_nothing(column: int) -> None:
    bad = list(BOX)
    bad[column] = np.nan
    assert match([bad], [0.5], [BOX]).ground_truths.tolist() == [[-1]]
    assert match([BOX], [0.5], [bad]).ground_truths.tolist() == [[-1]]


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"dt_boxes has shape \(1, 4\); expected \[2, 4\]"):
        match_detections([BOX], [0.5, 0.5], [0, 0], [], [])
    with pytest.raises(ValueError, match="the score of detection 0 is NaN"):
        match([BOX], [np.nan], [])
