"""Plans: deterministic, independent of the batch, and geometrically consistent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolofast.config import AugmentConfig
from yolofast.load import draws
from yolofast.load.plan import BatchPlan, colour_on_rgb, plan_batch

SHAPES = np.array([(480, 640), (333, 500), (64, 64), (1, 900), (700, 31), (427, 640)] * 5, dtype=np.int32)
HEAVY = AugmentConfig(degrees=30, shear=10, flipud=0.5, mosaic=0.6, mosaic_block=8)


def plan(positions: list[int], augment: AugmentConfig | None = HEAVY, **changes: int) -> BatchPlan:
    options = {"seed": 3, "epoch": 2, **changes}
    order = draws.permutation(options["seed"], options["epoch"], len(SHAPES))
    return plan_batch(order, np.array(positions), SHAPES, 320, augment, **options)


def test_permutation_is_one_and_changes_with_epoch_and_seed() -> None:
    orders = [tuple(draws.permutation(seed, epoch, 100)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len(set(orders)) == 4


def test_uniform_draws_are_uniform_and_uncorrelated() -> None:
    values = draws.uniform(0, 0, np.arange(20000)[:, None], np.arange(4))
    assert values.min() >= 0
    assert values.max() < 1
    assert np.abs(values.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.03
    assert np.abs(np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]) < 0.03


@given(st.lists(st.integers(0, len(SHAPES) - 1), min_size=1, max_size=6), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_a_sample_does_not_depend_on_its_batch(positions: list[int], epoch: int) -> None:
    together = plan(positions, epoch=epoch)
    for row, position in enumerate(positions):
        alone = plan([position], epoch=epoch)
        mine = together.tile_sample == row
        np.testing.assert_array_equal(together.tile_image[mine], alone.tile_image)
        np.testing.assert_array_equal(together.tile_matrix[mine], alone.tile_matrix)
        np.testing.assert_array_equal(together.tile_window[mine], alone.tile_window)
        np.testing.assert_array_equal(together.colour[row], alone.colour[0])


def test_forward_and_matrix_are_inverse() -> None:
    made = plan(list(range(len(SHAPES))))
    ones = np.ones((len(made.tile_image), 1))
    corners = np.hstack([made.tile_window[:, 2:], ones])
    out = np.einsum("tij,tj->ti", made.tile_forward, corners)
    back = np.einsum("tij,tj->ti", made.tile_matrix, np.hstack([out, ones]))
    np.testing.assert_allclose(back, corners[:, :2], atol=1e-6)


def test_mosaic_tiles_meet_at_one_point_and_stay_inside_their_image() -> None:
    still = AugmentConfig(translate=0, scale=0, fliplr=0, mosaic=1)
    made = plan(list(range(20)), still)
    for sample in range(20):
        tiles = np.flatnonzero(made.tile_sample == sample)
        assert 1 <= len(tiles) <= 4
        for tile in tiles:
            height, width = SHAPES[made.tile_image[tile]]
            x0, y0, x1, y1 = made.tile_window[tile]
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
        if len(tiles) == 4:
            corners = [(2, 3), (0, 3), (2, 1), (0, 1)]  # the window corner that touches the centre
            points = [
                made.tile_forward[t] @ [*made.tile_window[t][list(c)], 1]
                for t, c in zip(tiles, corners, strict=True)
            ]
            np.testing.assert_allclose(points, np.tile(points[0], (4, 1)), atol=1e-6)


def test_partners_come_from_the_samples_own_block() -> None:
    order = draws.permutation(3, 2, len(SHAPES))
    where = np.argsort(order)
    made = plan(list(range(len(SHAPES))))
    block = np.minimum(np.arange(len(SHAPES)) // 8, len(SHAPES) // 8 - 1)
    assert (block[where[made.tile_image]] == block[made.tile_sample]).all()


def test_letterbox_plan_shows_the_whole_image_centred() -> None:
    made = plan_batch(np.arange(2), np.arange(2), SHAPES[:2], 320, None, seed=0, epoch=0)
    corner = made.tile_forward[0] @ [0, 0, 1], made.tile_forward[0] @ [640, 480, 1]
    np.testing.assert_allclose(corner, [(0, 40), (320, 280)])
    np.testing.assert_array_equal(made.tile_window[0], [0, 0, 640, 480])


@pytest.mark.parametrize("rgb", [(0, 0, 0), (255, 255, 255), (90, 90, 90)])
def test_jitter_keeps_gray_gray(rgb: tuple[int, int, int]) -> None:
    """Hue and saturation do nothing to gray, and value is a plain gain."""
    for colour in plan(list(range(10))).colour:
        out = colour_on_rgb(colour) @ [*rgb, 1]
        np.testing.assert_allclose(out, np.array(rgb) * colour[0, 0], atol=1e-6)


def test_identity_jitter_is_identity_on_rgb() -> None:
    np.testing.assert_allclose(colour_on_rgb(np.eye(3, 4)), np.eye(3, 4), atol=1e-12)
