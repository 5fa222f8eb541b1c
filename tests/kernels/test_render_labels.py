"""Labels of a plan: bit-equal to the definition, the label kernels' definitions applied tile by tile."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from yolofast.config import AugmentConfig
from yolofast.kernels import reference, render_labels
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Ycc

SHAPES = np.array([(480, 640), (333, 500), (64, 64), (1, 900), (700, 31), (427, 640)] * 10, dtype=np.int32)
HEAVY = AugmentConfig(degrees=30, shear=10, perspective=0.001, flipud=0.5, mosaic=0.6, mixup=0.5)
AUGMENTS = {
    "letterbox": None,
    "default": AugmentConfig(),
    "affine": dataclasses.replace(HEAVY, perspective=0.0),
    "heavy": HEAVY,
    "cutmix": dataclasses.replace(HEAVY, cutmix=0.8),
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
    wanted = reference.render_labels(plan, rows, offsets, SHAPES, filtered=filtered)
    assert targets.shape == wanted.shape
    np.testing.assert_array_equal(targets, wanted)
    assert len(targets) > 60


def test_the_rule_of_what_is_worth_learning_from_can_be_chosen() -> None:
    plan = make_plan(HEAVY)
    rows, offsets = random_labels(4)
    rule = {"min_side": 8.0, "min_area": 0.5, "max_aspect": 3.0}
    targets = render_labels(plan, rows, offsets, SHAPES, filtered=True, **rule)
    np.testing.assert_array_equal(
        targets, reference.render_labels(plan, rows, offsets, SHAPES, filtered=True, **rule)
    )
    assert 0 < len(targets) < len(render_labels(plan, rows, offsets, SHAPES, filtered=True))


@given(
    rows=arrays(np.float32, (12, 5), elements=st.floats(width=32)),
    scale=st.sampled_from([1.0, 1e-30, 1e30, 1e300, -1.0, 0.0, math.inf, math.nan]),
    filtered=st.booleans(),
)
def test_hostile_numbers_harm_nothing(rows: np.ndarray, scale: float, filtered: bool) -> None:
    """Any label and any matrix: what comes out is what the definition says."""
    plan = make_plan(HEAVY)[:2]
    with np.errstate(all="ignore"):
        plan = dataclasses.replace(plan, tile_forward=plan.tile_forward * scale)
        offsets = np.clip(np.arange(len(SHAPES) + 1), 0, len(rows))
        wanted = reference.render_labels(plan, rows, offsets, SHAPES, filtered=filtered)
    targets = render_labels(plan, rows, offsets, SHAPES, filtered=filtered)
    np.testing.assert_array_equal(targets, wanted)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"offsets": np.r_[np.zeros(len(SHAPES), int), 2**40]}, "ascending numbers in 0..9"),
        ({"offsets": np.r_[np.arange(9), np.zeros(len(SHAPES) - 8, int)]}, "ascending"),
        ({"offsets": np.r_[-1, np.zeros(len(SHAPES), int)]}, "offsets.0:2. are -1 and 0"),
        ({"offsets": np.zeros(len(SHAPES))[1:]}, "offsets has shape"),
        ({"rows": np.zeros((9, 4), np.float32)}, "rows has shape .9, 4."),
        ({"shapes": SHAPES[:, :1]}, "shapes has shape"),
        ({"tile_image": -1}, "image -1; expected one of"),
        ({"tile_image": len(SHAPES)}, f"image {len(SHAPES)}; expected"),
        ({"tile_sample": 2**62}, "is of sample 4611686018427387904"),
        ({"tile_window": np.zeros(4)}, "plan.tile_window has shape"),
        ({"tile_forward": np.zeros((3, 3))}, "plan.tile_forward has shape"),
        ({"size": (0, 320)}, "plan.size is .0, 320.; expected positive"),
    ],
)
def test_what_does_not_fit_is_an_error(changes: dict[str, Any], said: str) -> None:
    plan = make_plan(None)
    given = {"rows": np.ones((9, 5), np.float32), "offsets": np.clip(np.arange(len(SHAPES) + 1), 0, 9)}
    arguments = {**given, "shapes": SHAPES, **changes}
    in_plan = {name: arguments.pop(name) for name in changes if name not in ("rows", "offsets", "shapes")}
    for name in ("tile_image", "tile_sample"):
        if name in in_plan:
            in_plan[name] = np.full(len(plan.tile_image), in_plan[name])
    with pytest.raises(ValueError, match=said):
        render_labels(dataclasses.replace(plan, **in_plan), **arguments, filtered=True)


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


HOLES = [
    ((0, 0, 64, 64), []),  # covered
    ((0, 0, 31, 64), [(31, 10, 54, 54)]),  # an end is gone
    ((30, 0, 64, 54), [(10, 10, 30, 54)]),
    ((0, 20, 64, 64), [(10, 10, 54, 20)]),
    ((20, 0, 40, 64), [(10, 10, 54, 54)]),  # what is left is on both sides
    ((0, 0, 40, 40), [(10, 10, 54, 54)]),  # a corner
    ((12, 12, 54, 54), []),  # two strips of two pixels: less than a tenth
    ((54, 0, 64, 64), [(10, 10, 54, 54)]),  # beside it
    ((20, 20, 20, 40), [(10, 10, 54, 54)]),  # no hole
]


@pytest.mark.parametrize(("hole", "wanted"), HOLES)
def test_a_box_is_what_the_hole_leaves_of_it(hole: tuple[int, ...], wanted: list[tuple[int, ...]]) -> None:
    """A box of 44 x 44 pixels at (10, 10) of 64 x 64."""
    zero, shape = np.zeros(1, np.int64), np.array([[64, 64]], np.int32)
    plan = plan_batch(zero, zero, shape, (64, 64), None, seed=0, epoch=0)
    plan = dataclasses.replace(plan, hole=np.array([hole]))
    rows, offsets = np.array([[3, 0.5, 0.5, 44 / 64, 44 / 64]], np.float32), np.array([0, 1])
    targets = render_labels(plan, rows, offsets, shape, filtered=True)
    low, high = targets[:, 2:4] - targets[:, 4:] / 2, targets[:, 2:4] + targets[:, 4:] / 2
    np.testing.assert_allclose(np.hstack([low, high]) * 64, np.reshape(wanted, (-1, 4)), atol=1e-4)
    np.testing.assert_array_equal(targets, reference.render_labels(plan, rows, offsets, shape, filtered=True))


@pytest.mark.parametrize(("hole", "kept"), [((20, 20, 64, 50), True), ((50, 50, 64, 64), False)])
def test_a_box_in_the_hole_is_clipped_to_it(hole: tuple[int, ...], kept: bool) -> None:
    zero, shape = np.zeros(1, np.int64), np.array([[64, 64]], np.int32)
    plan = plan_batch(zero, zero, shape, (64, 64), None, seed=0, epoch=0)
    plan = dataclasses.replace(plan, hole=np.array([hole]), tile_layer=np.array([2]))
    rows, offsets = np.array([[3, 0.5, 0.5, 44 / 64, 44 / 64]], np.float32), np.array([0, 1])
    targets = render_labels(plan, rows, offsets, shape, filtered=True)
    wanted = [[0, 3, 37 / 64, 35 / 64, 34 / 64, 30 / 64]] if kept else np.zeros((0, 6))
    np.testing.assert_allclose(targets, wanted, atol=1e-6)
