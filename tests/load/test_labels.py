"""Labels of a plan: equal to the label kernels' definitions applied tile by tile."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from yolofast.config import AugmentConfig
from yolofast.kernels import reference
from yolofast.load.labels import render_labels
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Ycc

SHAPES = np.array([(480, 640), (333, 500), (64, 64), (1, 900), (700, 31), (427, 640)] * 10, dtype=np.int32)
HEAVY = AugmentConfig(degrees=30, shear=10, perspective=0.001, flipud=0.5, mosaic=0.6, mixup=0.5)
AUGMENTS = {
    "letterbox": None,
    "default": AugmentConfig(),
    "affine": dataclasses.replace(HEAVY, perspective=0.0),
    "heavy": HEAVY,
}


def make_plan(augment: AugmentConfig | None, size: tuple[int, int] = (320, 320), seed: int = 0) -> BatchPlan:
    order, square = np.arange(len(SHAPES)), size[0] == size[1]
    return plan_batch(order, order, SHAPES, size, augment, seed=seed, epoch=0, mosaic=square)


def random_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, offsets): 0 to 9 boxes an image, some of them tiny, outside, thin or not numbers."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 10, len(SHAPES))
    rows = np.zeros((counts.sum(), 5), np.float32)
    rows[:, 0] = rng.integers(0, 80, len(rows))
    rows[:, 1:3] = rng.uniform(-0.1, 1.1, (len(rows), 2))
    rows[:, 3:] = rng.uniform(0, 1, (len(rows), 2)) ** 2
    rows[rng.choice(len(rows), 5), rng.integers(0, 5, 5)] = np.nan
    rows[rng.choice(len(rows), 3), 3] = np.inf
    return rows, np.concatenate([[0], np.cumsum(counts)])


def oracle(plan: BatchPlan, rows: np.ndarray, offsets: np.ndarray, filtered: bool) -> np.ndarray:
    height, width = plan.size
    parts = [np.zeros((0, 6))]
    for sample, image, forward, window in zip(
        plan.tile_sample, plan.tile_image, plan.tile_forward, plan.tile_window, strict=True
    ):
        mine = rows[offsets[image] : offsets[image + 1]].astype(np.float64)
        mine = mine[~np.isnan(mine).any(axis=1)]
        with np.errstate(invalid="ignore"):
            boxes = reference.xywhn_to_xyxy(mine[:, 1:], SHAPES[image, 1], SHAPES[image, 0])
        boxes = np.clip(boxes, np.tile(window[:2], 2), np.tile(window[2:], 2))
        moved = reference.transform_boxes(boxes, forward)
        shown = np.clip(moved, 0, [width, height, width, height])
        keep = ~np.isnan(shown).any(axis=1)
        if filtered:
            keep &= reference.visible_boxes(moved, shown)
        xywhn = reference.xyxy_to_xywhn(shown, width, height)
        row = np.column_stack([np.full(len(mine), sample), mine[:, 0], xywhn])
        parts.append(row[keep])
    return np.concatenate(parts)


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS.keys())
@pytest.mark.parametrize("size", [(320, 320), (224, 480)])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_the_definitions(
    seed: int, size: tuple[int, int], augment: AugmentConfig | None, filtered: bool
) -> None:
    plan = make_plan(augment, size, seed)
    rows, offsets = random_labels(seed)
    targets = render_labels(plan, rows, offsets, SHAPES, filtered=filtered)
    assert targets.dtype == np.float32
    wanted = oracle(plan, rows, offsets, filtered)
    assert targets.shape == wanted.shape
    np.testing.assert_array_equal(targets[:, :2], wanted[:, :2])
    np.testing.assert_allclose(targets[:, 2:], wanted[:, 2:], atol=1e-6)
    assert len(targets) > 60


def test_a_batch_is_its_samples_one_after_the_other() -> None:
    plan = make_plan(HEAVY)
    rows, offsets = random_labels(3)
    whole = render_labels(plan, rows, offsets, SHAPES, filtered=True)
    for sample in range(len(plan)):
        alone = render_labels(plan[sample : sample + 1], rows, offsets, SHAPES, filtered=True)
        np.testing.assert_array_equal(alone[:, 1:], whole[whole[:, 0] == sample][:, 1:])


def test_no_boxes_give_an_empty_array() -> None:
    rows, offsets = np.zeros((0, 5), np.float32), np.zeros(len(SHAPES) + 1, np.int64)
    for plan in (make_plan(HEAVY), make_plan(None)[0:0]):
        targets = render_labels(plan, rows, offsets, SHAPES, filtered=True)
        assert targets.shape == (0, 6)
        assert targets.dtype == np.float32


def test_letterbox_keeps_boxes_where_the_picture_goes() -> None:
    """A box over the whole of a 640 x 480 image in a square covers the middle three quarters."""
    rows, offsets = np.array([[7, 0.5, 0.5, 1, 1]], np.float32), np.array([0, 1])
    zero = np.zeros(1, np.int64)
    plan = plan_batch(zero, zero, SHAPES[:1], (320, 320), None, seed=0, epoch=0)
    targets = render_labels(plan, rows, offsets, SHAPES[:1], filtered=False)
    np.testing.assert_allclose(targets, [[0, 7, 0.5, 0.5, 1, 0.75]], atol=1e-6)


def test_mixup_brings_both_pictures_labels() -> None:
    plan = make_plan(AugmentConfig(mosaic=0, mixup=1, translate=0, scale=0, fliplr=0))
    rows = np.tile(np.array([0, 0.5, 0.5, 1, 1], np.float32), (len(SHAPES), 1))
    rows[:, 0] = np.arange(len(SHAPES))  # the class says which image
    targets = render_labels(plan, rows, np.arange(len(SHAPES) + 1), SHAPES, filtered=False)
    np.testing.assert_array_equal(targets[:, 0], plan.tile_sample)
    np.testing.assert_array_equal(targets[:, 1], plan.tile_image)
    assert len(targets) == 2 * len(SHAPES)


def test_a_box_that_reaches_the_horizon_is_dropped() -> None:
    """Behind x = 100 there is no picture: a box across that line has no place in the output."""
    plan = make_plan(None)[0:1]
    forward = np.array([[[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]]])
    plan = dataclasses.replace(plan, tile_forward=forward, tile_matrix=np.linalg.inv(forward))
    boxes = np.array([[0, 50, 50, 40, 40], [1, 90, 50, 40, 40], [2, 200, 50, 40, 40]], np.float32)
    boxes[:, 1:] /= [640, 480, 640, 480]
    offsets = np.r_[0, np.full(len(SHAPES), 3)]
    targets = render_labels(plan, boxes, offsets, SHAPES, filtered=False)
    assert targets[:, 1].tolist() == [0]


def test_labels_lie_where_the_pixels_are() -> None:
    """The white area of each rendered sample fills its label's box, to a pixel."""
    shapes = np.tile(np.array([(60, 90)], np.int32), (12, 1))
    plane = np.zeros((60, 90), np.uint8)
    plane[20:50, 30:75] = 255
    box = np.array([0, 52.5 / 90, 35 / 60, 45 / 90, 30 / 60], np.float32)
    augment = dataclasses.replace(HEAVY, mosaic=0.0, mixup=0.0, hsv_v=0.0)
    order = np.arange(12)
    plan = plan_batch(order, order, shapes, (96, 96), augment, seed=2, epoch=0)
    targets = render_labels(plan, np.tile(box, (12, 1)), np.arange(13), shapes, filtered=True)
    white = reference.render(plan, [Ycc(plane, None, None, "gray")] * 12)[:, 0] > 150
    assert len(targets) == 12
    for sample, _, x, y, w, h in targets:
        rows, columns = np.nonzero(white[int(sample)])
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        wanted = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * 96
        np.testing.assert_allclose(seen, wanted, atol=1.5)
