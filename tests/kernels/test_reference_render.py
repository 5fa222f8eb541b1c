"""The definition of `render` itself, against what must be true of any picture."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from yolofast.kernels import reference
from yolofast.kernels.reference.render import owned_pixels
from yolofast.types import BatchPlan, Picture, Ycc

TO_RGB = np.array(
    [
        [1, 0, 1.402, -1.402 * 128],
        [1, -0.344136, -0.714136, (0.344136 + 0.714136) * 128],
        [1, 1.772, 0, -1.772 * 128],
    ]
)
PLANES_AS_RGB = np.eye(3, 4)
FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1)}


def planes(height: int, width: int, subsampling: str = "444", seed: int = 0) -> Ycc:
    rng = np.random.default_rng(seed)
    if subsampling == "gray":
        return Ycc(rng.integers(0, 256, (height, width), dtype=np.uint8), None, None, "gray")
    x, y = FACTORS[subsampling]
    chroma = (-(-height // y), -(-width // x))
    return Ycc(
        rng.integers(0, 256, (height, width), dtype=np.uint8),
        rng.integers(0, 256, chroma, dtype=np.uint8),
        rng.integers(0, 256, chroma, dtype=np.uint8),
        subsampling,
    )


def plan_of(
    *tiles: dict[str, Any], size: tuple[int, int], mix: float = 1.0, colour: Any = TO_RGB
) -> BatchPlan:
    """One sample; a tile says `window` and what else differs from image 0 shown as it is."""
    matrix = np.array([np.asarray(t.get("matrix", np.eye(3)), float) for t in tiles]).reshape(-1, 3, 3)
    return BatchPlan(
        size=size,
        images=np.zeros(1, np.int64),
        tile_sample=np.zeros(len(tiles), np.int64),
        tile_layer=np.array([t.get("layer", 0) for t in tiles], np.int64),
        tile_image=np.array([t.get("image", 0) for t in tiles], np.int64),
        tile_matrix=matrix,
        tile_forward=np.linalg.inv(matrix),
        tile_window=np.array([t["window"] for t in tiles], float).reshape(-1, 4),
        mix=np.array([mix]),
        colour=np.asarray(colour, float)[None],
    )


def to_rgb(ycc: Ycc) -> np.ndarray:
    y, cb, cr = (p.astype(float) for p in (ycc.y, ycc.cb, ycc.cr))
    rgb = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    return np.floor(np.clip(rgb, 0, 255) + 0.5)


def test_identity_is_the_plain_conversion() -> None:
    ycc = planes(7, 11)
    out = reference.render(plan_of({"window": (0, 0, 11, 7)}, size=(7, 11)), [ycc])
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[0], to_rgb(ycc))


def test_pictures_and_bare_planes_are_the_same() -> None:
    ycc = planes(9, 9, "420")
    plan = plan_of({"window": (0, 0, 9, 9), "image": 5}, size=(9, 9))
    np.testing.assert_array_equal(
        reference.render(plan, {5: ycc}), reference.render(plan, {5: Picture.of(ycc)})
    )


def test_what_no_tile_owns_is_114_whatever_the_colour() -> None:
    plan = plan_of({"window": (3, 2, 8, 6)}, size=(10, 12), colour=TO_RGB * 0.5)
    out = reference.render(plan, [planes(10, 12)])[0]
    outside = np.ones((10, 12), bool)
    outside[2:6, 3:8] = False
    assert (out[:, outside] == 114).all()
    assert (out[:, ~outside] != 114).any(axis=0).all()


def test_no_tiles_give_a_gray_sample() -> None:
    assert (reference.render(plan_of(size=(4, 6)), []) == 114).all()


@pytest.mark.parametrize("angle", [0.0, 0.3, -2.0])
@pytest.mark.parametrize("tilt", [0.0, 0.004])
def test_abutting_windows_leave_no_gap_and_no_overlap(angle: float, tilt: float) -> None:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, s, 5.0], [-s, c, 9.0], [tilt, -tilt, 1.0]])
    cut = 17.3
    windows = [(-99, -99, cut, cut), (cut, -99, 99, cut), (-99, cut, cut, 99), (cut, cut, 99, 99)]
    owned = [owned_pixels(matrix, np.array(w), (40, 40)) for w in windows]
    whole = owned_pixels(matrix, np.array((-99, -99, 99, 99)), (40, 40))
    np.testing.assert_array_equal(np.sum(owned, axis=0), whole)
    assert whole.mean() > 0.9
    assert sum(o.any() for o in owned) >= 2


def test_windows_are_half_open() -> None:
    """A pixel centre exactly on the lower edge is in, on the upper edge out."""
    owned = owned_pixels(np.eye(3), np.array((1.5, 0.5, 3.5, 2.5)), (4, 5))
    assert np.argwhere(owned).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]


def test_later_tiles_lie_over_earlier_ones_of_their_layer() -> None:
    under, over = planes(6, 8, seed=1), planes(6, 8, seed=2)
    tiles = {"window": (0, 0, 8, 6)}, {"window": (2, 0, 5, 6), "image": 1}
    out = reference.render(plan_of(*tiles, size=(6, 8)), [under, over])[0]
    wanted = to_rgb(under)
    wanted[:, :, 2:5] = to_rgb(over)[:, :, 2:5]
    np.testing.assert_array_equal(out, wanted)


def test_nothing_is_seen_behind_the_horizon() -> None:
    """Third coordinate 1 - u / 10: pixels from column 10 on look away from the picture."""
    matrix = np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1]])
    everything = np.array((-1e9, -1e9, 1e9, 1e9))
    owned = owned_pixels(matrix, everything, (4, 20))
    assert owned[:, :10].all()
    assert not owned[:, 10:].any()


def test_perspective_divides() -> None:
    """Column 3.5 of the output shows source point 3.5 / (1 + 0.35)."""
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]])
    ramp = np.tile(np.arange(20, dtype=np.uint8) * 10, (4, 1))
    plan = plan_of({"window": (0, 0, 20, 4), "matrix": matrix}, size=(2, 12))
    out = reference.render(plan, [Ycc(ramp, None, None, "gray")])[0, 0, 0]
    u = np.arange(12) + 0.5
    wanted = np.maximum(u / (1 + 0.1 * u) - 0.5, 0) * 10
    np.testing.assert_allclose(out, wanted, atol=0.5 + 1e-9)


@pytest.mark.parametrize("mix", [1.0, 0.7, 0.25])
def test_mixup_weights(mix: float) -> None:
    """Layers are blended unrounded; the second is 114 where it has no picture."""
    first, second = planes(6, 8, seed=1), planes(6, 8, seed=2)
    tiles = [{"window": (0, 0, 8, 6)}]
    if mix < 1:
        tiles.append({"window": (0, 0, 4, 6), "image": 1, "layer": 1})
    out = reference.render(plan_of(*tiles, size=(6, 8), mix=mix), [first, second])[0]
    other = to_rgb(second)
    other[:, :, 4:] = 114
    np.testing.assert_allclose(out, mix * to_rgb(first) + (1 - mix) * other, atol=1.01)


def test_gray_has_neutral_chroma() -> None:
    ycc = planes(5, 6, "gray")
    out = reference.render(plan_of({"window": (0, 0, 6, 5)}, size=(5, 6)), [ycc])[0]
    np.testing.assert_array_equal(out, np.stack([ycc.y] * 3))


@pytest.mark.parametrize("subsampling", FACTORS)
def test_chroma_lies_where_its_luma_pixels_do(subsampling: str) -> None:
    """A ramp whose chroma was box-averaged from full size stays that ramp, away from the sides."""
    x, y = FACTORS[subsampling]
    rows, columns = np.mgrid[0:16, 0:16].astype(float)
    full = 8 * columns + 4 * rows
    averaged = full.reshape(16 // y, y, 16 // x, x).mean(axis=(1, 3))
    assert (averaged == averaged.round()).all()
    ycc = Ycc(full.astype(np.uint8), averaged.astype(np.uint8), averaged.astype(np.uint8), subsampling)
    plan = plan_of({"window": (0, 0, 16, 16)}, size=(16, 16), colour=PLANES_AS_RGB)
    out = reference.render(plan, [ycc])[0].astype(float)
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_array_equal(out[0], full)
    np.testing.assert_array_equal(out[1][inner], full[inner])
    np.testing.assert_array_equal(out[2][inner], full[inner])


@pytest.mark.parametrize("subsampling", ["444", "420", "gray"])
def test_place_turns_and_reduces(subsampling: str) -> None:
    """A stored picture that is the upright one, turned by 90 degrees, shows upright."""
    stored = planes(8, 12, subsampling)
    # Upright is 12 high, 8 wide: upright (x, y) is stored (y, 8 - x).
    place = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 8.0]])
    plan = plan_of({"window": (0, 0, 8, 12)}, size=(12, 8))
    upright = reference.render(plan, [Picture(stored, place, (12, 8))])
    as_stored = reference.render(plan_of({"window": (0, 0, 12, 8)}, size=(8, 12)), [stored])
    np.testing.assert_array_equal(upright[0], np.rot90(as_stored[0], -1, axes=(1, 2)))

    doubled = Picture(stored, place * 0.5 * [[1, 1, 1], [1, 1, 2]], (24, 16))
    twice = plan_of({"window": (0, 0, 16, 24), "matrix": np.diag([2.0, 2.0, 1.0])}, size=(12, 8))
    np.testing.assert_array_equal(reference.render(twice, [doubled]), upright)


@pytest.mark.parametrize("seed", range(5))
def test_affine_444_is_warp_affine_of_the_planes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ycc = planes(23, 31, seed=seed)
    assert ycc.cb is not None
    assert ycc.cr is not None
    matrix = np.eye(3)
    matrix[:2] += rng.uniform(-0.4, 0.4, (2, 3)) * [1, 1, 20]
    window = (2.5, 1.25, 30.0, 19.75)
    out = reference.render(
        plan_of({"window": window, "matrix": matrix}, size=(27, 33), colour=PLANES_AS_RGB), [ycc]
    )[0]
    wanted = np.full((3, 27, 33), 114, np.uint8)
    image = np.stack([ycc.y, ycc.cb, ycc.cr], axis=-1)
    reference.warp_affine(image, matrix[:2], wanted, window=window)
    assert np.abs(out.astype(int) - wanted).max() <= 1
    assert (out != 114).mean() > 0.3


def test_samples_of_a_batch_are_rendered_apart() -> None:
    one = plan_of({"window": (0, 0, 8, 6)}, size=(6, 8))
    both = dataclasses.replace(
        one,
        images=np.arange(2),
        tile_sample=np.arange(2),
        tile_layer=np.zeros(2, np.int64),
        tile_image=np.arange(2),
        **{f: np.repeat(getattr(one, f), 2, axis=0) for f in ("tile_matrix", "tile_forward", "tile_window")},
        mix=np.ones(2),
        colour=np.stack([TO_RGB, TO_RGB * 0.5]),
    )
    pictures = [planes(6, 8, "422", seed=1), planes(6, 8, "411", seed=2)]
    out = reference.render(both, pictures)
    np.testing.assert_array_equal(out[:1], reference.render(one, pictures))
    darker = dataclasses.replace(one, tile_image=np.ones(1, np.int64), colour=both.colour[1:])
    np.testing.assert_array_equal(out[1:], reference.render(darker, pictures))
