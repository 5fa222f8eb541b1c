"""Plans: deterministic, independent of the batch, and geometrically consistent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.property_tests import examples

from yolofast.config import AugmentConfig
from yolofast.kernels.reference.render import owned_pixels
from yolofast.load.plan import draws
from yolofast.load.plan import plan as plan_module
from yolofast.load.plan.draws import Stream
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Letterbox

SHAPES = np.array([(480, 640), (333, 500), (64, 64), (1, 900), (700, 31), (427, 640)] * 5, dtype=np.int32)
SIZE = (320, 320)
HEAVY = AugmentConfig(
    degrees=30, shear=10, perspective=0.001, flipud=0.5, mosaic=0.6, mixup=0.5, mosaic_block=8
)
STILL = AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, mosaic=0)
EVERYONE = list(range(len(SHAPES)))
AUGMENTS = {
    "letterbox": None,
    "default": AugmentConfig(mosaic_block=8),
    "affine": dataclasses.replace(HEAVY, perspective=0.0),
    "heavy": HEAVY,
    "cutmix": dataclasses.replace(HEAVY, perspective=0.0, cutmix=0.7),
}
augments = pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS.keys())


def plan(positions: list[int], augment: AugmentConfig | None = HEAVY, **changes: int) -> BatchPlan:
    options = {"seed": 3, "epoch": 2, **changes}
    order = draws.permutation(options["seed"], options["epoch"], len(SHAPES))
    return plan_batch(order, np.array(positions, dtype=np.int64), SHAPES, SIZE, augment, **options)


def points(matrix: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Points [T, 2] through matrices [T, 3, 3]."""
    x, y, w = np.einsum("tij,tj->it", matrix, np.hstack([at, np.ones((len(at), 1))]))
    return np.stack([x / w, y / w], axis=1)


def assert_same(one: BatchPlan, other: BatchPlan) -> None:
    for field in dataclasses.fields(BatchPlan):
        a, b = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name)
        assert np.asarray(a).dtype == np.asarray(b).dtype


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


@augments
@given(
    st.lists(st.integers(0, len(SHAPES) - 1), min_size=1, max_size=12),
    st.integers(0, 5),
    st.integers(0, 2**63 - 1),
)
@examples(40)
def test_a_sample_does_not_depend_on_its_batch(
    augment: AugmentConfig | None, positions: list[int], epoch: int, seed: int
) -> None:
    together = plan(positions, augment, epoch=epoch, seed=seed)
    for row, position in enumerate(positions):
        assert_same(together[row : row + 1], plan([position], augment, epoch=epoch, seed=seed))


@augments
def test_a_large_batch_is_its_parts(augment: AugmentConfig | None) -> None:
    """1000 samples at once and in odd slices: vector units and their remainders give the same bits."""
    shapes = np.tile(SHAPES, (40, 1))
    order = draws.permutation(0, 0, 1000)

    def cut(begin: int, end: int) -> BatchPlan:
        return plan_batch(order, np.arange(begin, end), shapes, SIZE, augment, seed=0, epoch=0)

    whole = cut(0, 1000)
    for begin, end in ((0, 1), (1, 8), (8, 25), (25, 26), (500, 737), (998, 1000)):
        assert_same(whole[begin:end], cut(begin, end))


@augments
def test_shapes_and_layout(augment: AugmentConfig | None) -> None:
    made = plan(EVERYONE, augment)
    count, tiles = len(SHAPES), len(made.tile_image)
    wanted = {
        "images": ((count,), np.int64),
        "tile_sample": ((tiles,), np.int64),
        "tile_layer": ((tiles,), np.int64),
        "tile_image": ((tiles,), np.int64),
        "tile_matrix": ((tiles, 3, 3), np.float64),
        "tile_forward": ((tiles, 3, 3), np.float64),
        "tile_window": ((tiles, 4), np.float64),
        "mix": ((count,), np.float64),
        "colour": ((count, 3, 4), np.float64),
    }
    for name, (shape, dtype) in wanted.items():
        array = getattr(made, name)
        assert (array.shape, array.dtype) == (shape, dtype), name
        assert array.flags.c_contiguous, name
    order = np.diff(2 * made.tile_sample + made.tile_layer)
    assert (order >= 0).all(), "by sample, then layer"
    np.testing.assert_array_equal(made.images, draws.permutation(3, 2, count))
    x0, y0, x1, y1 = made.tile_window.T
    height, width = SHAPES[made.tile_image].T
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= width) & (y0 >= 0) & (y0 < y1) & (y1 <= height)).all()


@augments
def test_no_samples_make_an_empty_plan(augment: AugmentConfig | None) -> None:
    made = plan([], augment)
    assert len(made) == len(made.tile_image) == len(made.mix) == 0


@augments
def test_forward_and_matrix_are_inverse(augment: AugmentConfig | None) -> None:
    made = plan(EVERYONE, augment)
    identity = np.broadcast_to(np.eye(3), made.tile_matrix.shape)
    np.testing.assert_allclose(made.tile_forward @ made.tile_matrix, identity, atol=1e-8)
    middle = (made.tile_window[:, :2] + made.tile_window[:, 2:]) / 2
    np.testing.assert_allclose(points(made.tile_matrix, points(made.tile_forward, middle)), middle, atol=1e-6)


def test_affine_plans_end_in_exactly_0_0_1() -> None:
    made = plan(EVERYONE, AUGMENTS["affine"])
    for matrices in (made.tile_matrix, made.tile_forward):
        assert (matrices[:, 2] == [0, 0, 1]).all()
        assert (matrices[:, 0, 1] != 0).all()


@pytest.mark.parametrize("augment", [None, AugmentConfig(flipud=0.5, mosaic=0.5, mixup=0.5)])
def test_axis_aligned_plans_have_exactly_zero_off_diagonals(augment: AugmentConfig | None) -> None:
    made = plan(EVERYONE, augment)
    for matrices in (made.tile_matrix, made.tile_forward):
        assert (matrices[:, [0, 1], [1, 0]] == 0).all()
        assert (matrices[:, 2] == [0, 0, 1]).all()


@pytest.mark.parametrize("size", [(320, 320), (256, 480)])
def test_warp_is_the_product_that_yolo_users_know(size: tuple[int, int]) -> None:
    """Flip @ Translate @ Shear @ Rotate @ Perspective @ Centre, matrix by matrix."""
    augment = dataclasses.replace(HEAVY, mosaic=0.0, mixup=0.0)
    positions = np.arange(40)
    shapes = np.tile([size], (40, 1))  # so that the letterbox does nothing
    made = plan_batch(positions, positions, shapes, size, augment, seed=5, epoch=1, mosaic=False)
    assert len(made.tile_image) == 40
    height, width = size
    for sample in range(40):
        u = draws.uniform(5, 1, sample, np.arange(21))
        angle = np.deg2rad((2 * u[Stream.ROTATE] - 1) * augment.degrees)
        zoom = 1 + (2 * u[Stream.ZOOM] - 1) * augment.scale
        c, s = zoom * np.cos(angle), zoom * np.sin(angle)
        shear = np.tan(np.deg2rad((2 * u[[Stream.SHEAR_X, Stream.SHEAR_Y]] - 1) * augment.shear))
        shift = 0.5 + (2 * u[[Stream.TRANSLATE_X, Stream.TRANSLATE_Y]] - 1) * augment.translate
        tilt = (2 * u[[Stream.PERSPECTIVE_X, Stream.PERSPECTIVE_Y]] - 1) * augment.perspective
        flip = np.eye(3)
        if u[Stream.FLIP_LR] < augment.fliplr:
            flip = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1.0]]) @ flip
        if u[Stream.FLIP_UD] < augment.flipud:
            flip = np.array([[1, 0, 0], [0, -1, height], [0, 0, 1.0]]) @ flip
        wanted = (
            flip
            @ np.array([[1, 0, shift[0] * width], [0, 1, shift[1] * height], [0, 0, 1]])
            @ np.array([[1, shear[0], 0], [shear[1], 1, 0], [0, 0, 1]])
            @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
            @ np.array([[1, 0, 0], [0, 1, 0], [tilt[0], tilt[1], 1]])
            @ np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        )
        np.testing.assert_allclose(made.tile_forward[sample], wanted, rtol=1e-9, atol=1e-9)


def test_mosaic_tiles_meet_at_one_point() -> None:
    made = plan(EVERYONE[:20], dataclasses.replace(STILL, mosaic=1))
    full = 0
    for sample in range(20):
        tiles = np.flatnonzero(made.tile_sample == sample)
        assert 1 <= len(tiles) <= 4
        if len(tiles) == 4:
            corners = [(2, 3), (0, 3), (2, 1), (0, 1)]  # the window corner that touches the centre
            at = np.array([made.tile_window[t][list(c)] for t, c in zip(tiles, corners, strict=True)])
            centre = points(made.tile_forward[tiles], at)
            np.testing.assert_allclose(centre, np.tile(centre[0], (4, 1)), atol=1e-6)
            assert (centre >= -1e-6).all()
            assert (centre <= 320 + 1e-6).all()
            full += 1
    assert full > 10


def test_mosaic_is_off_when_told() -> None:
    made = plan_batch(np.arange(30), np.arange(30), SHAPES, SIZE, HEAVY, seed=0, epoch=0, mosaic=False)
    np.testing.assert_array_equal(made.tile_sample, np.arange(30))
    np.testing.assert_array_equal(made.tile_image, np.arange(30))
    assert (made.mix == 1).all()


def test_partners_come_from_the_samples_own_block() -> None:
    order = draws.permutation(3, 2, len(SHAPES))
    where = np.argsort(order)
    made = plan(EVERYONE)
    block = np.minimum(np.arange(len(SHAPES)) // 8, len(SHAPES) // 8 - 1)
    assert (block[where[made.tile_image]] == block[made.tile_sample]).all()
    assert len(np.unique(made.tile_image[made.tile_layer == 1])) > 5


@pytest.mark.parametrize("block", [0, 1, 7, 1000])
def test_any_block_size_gives_partners_of_the_dataset(block: int) -> None:
    made = plan(EVERYONE, dataclasses.replace(HEAVY, mosaic_block=block, mosaic=1.0))
    own = made.tile_image == made.images[made.tile_sample]
    assert own.all() if block == 1 else not own.all()


def test_mixup_blends_a_second_picture_in() -> None:
    shapes = np.full((20000, 2), 64)
    order = np.arange(20000)
    augment = AugmentConfig(mosaic=0, mixup=0.3, degrees=10)
    made = plan_batch(order, order, shapes, (64, 64), augment, seed=0, epoch=0)
    mixed = np.flatnonzero(made.mix < 1)
    second = made.tile_layer == 1
    np.testing.assert_array_equal(made.tile_sample[second], mixed)
    np.testing.assert_array_equal(made.tile_sample[~second], order)
    assert len(mixed) / 20000 == pytest.approx(0.3, abs=0.01)
    # Beta(32, 32): mean 1/2, variance 1 / (4 * 65), symmetric.
    ratio = made.mix[mixed]
    assert ratio.mean() == pytest.approx(0.5, abs=0.004)
    assert ratio.var() == pytest.approx(1 / 260, rel=0.06)
    assert ((ratio - 0.5) ** 3).mean() == pytest.approx(0, abs=2e-5)
    # Its geometry is drawn for itself.
    first = made.tile_forward[~second][mixed].reshape(-1, 9)
    other = made.tile_forward[second].reshape(-1, 9)
    for entry in (0, 1, 2, 5):
        assert abs(np.corrcoef(first[:, entry], other[:, entry])[0, 1]) < 0.05
    assert (made.tile_image[second] != mixed).mean() > 0.9


@pytest.mark.parametrize("target", [(320, 320), (640, 640), (320, 672), (33, 7)])
@given(st.lists(st.tuples(st.integers(1, 9000), st.integers(1, 9000)), min_size=1, max_size=30))
@examples(60)
def test_letterbox_plans_are_letterbox_fit(target: tuple[int, int], shapes: list[tuple[int, int]]) -> None:
    order = np.arange(len(shapes))
    made = plan_batch(order, order, np.array(shapes), target, None, seed=0, epoch=0)
    for row, (height, width) in enumerate(shapes):
        fit = Letterbox.fit((height, width), target)
        inner_h, inner_w = fit.inner
        wanted = [[inner_w / width, 0, fit.pad_x], [0, inner_h / height, fit.pad_y], [0, 0, 1]]
        np.testing.assert_array_equal(made.tile_forward[row], wanted)
        np.testing.assert_array_equal(made.tile_window[row], [0, 0, width, height])


def test_letterbox_rounds_halves_to_even_as_python_does() -> None:
    """Sides that scale to exactly n + 1/2."""
    shapes = np.array([(2 * k + 1, 128) for k in range(1, 60)])
    order = np.arange(len(shapes))
    made = plan_batch(order, order, shapes, (64, 64), None, seed=0, epoch=0)
    fits = [Letterbox.fit((int(h), 128), (64, 64)) for h, _ in shapes]
    np.testing.assert_array_equal(made.tile_forward[:, 1, 1], [f.inner[0] / f.source[0] for f in fits])
    np.testing.assert_array_equal(made.tile_forward[:, 1, 2], [f.pad_y for f in fits])


def test_rectangular_output_is_letterboxed_and_turned_about_its_own_centre() -> None:
    order = np.arange(30)
    augment = dataclasses.replace(STILL, degrees=45, mixup=0.5)
    made = plan_batch(order, order, SHAPES, (224, 480), augment, seed=0, epoch=0, mosaic=False)
    centre = points(made.tile_matrix, np.full((30, 2), (240.0, 112.0)))
    fits = [Letterbox.fit((int(h), int(w)), (224, 480)) for h, w in SHAPES]
    wanted = [
        ((240 - f.pad_x) * f.source[1] / f.inner[1], (112 - f.pad_y) * f.source[0] / f.inner[0]) for f in fits
    ]
    np.testing.assert_allclose(centre, wanted, atol=1e-6)


def test_mosaic_wants_a_square() -> None:
    order = np.arange(30)
    with pytest.raises(ValueError, match=r"224 x 480.*mosaic=False"):
        plan_batch(order, order, SHAPES, (224, 480), AugmentConfig(), seed=0, epoch=0)


@pytest.mark.parametrize("augment", [AUGMENTS["default"], AUGMENTS["affine"]], ids=["default", "affine"])
def test_only_tiles_that_show_nothing_are_left_out(
    augment: AugmentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(EVERYONE, augment)
    monkeypatch.setattr(plan_module, "may_show", lambda forward, *_: np.ones(forward.shape[2], bool))
    whole = plan(EVERYONE, augment)
    kept = {m.tobytes() for m in made.tile_matrix}
    left_out = [t for t in range(len(whole.tile_image)) if whole.tile_matrix[t].tobytes() not in kept]
    assert len(left_out) == len(whole.tile_image) - len(made.tile_image) > 5
    for tile in left_out:
        assert not owned_pixels(whole.tile_matrix[tile], whole.tile_window[tile], SIZE).any()
    shows = [owned_pixels(m, w, SIZE).any() for m, w in zip(made.tile_matrix, made.tile_window, strict=True)]
    assert np.mean(shows) > 0.8


TO_RGB = np.array(
    [
        [1, 0, 1.402, -1.402 * 128],
        [1, -0.344136, -0.714136, (0.344136 + 0.714136) * 128],
        [1, 1.772, 0, -1.772 * 128],
    ]
)


@pytest.mark.parametrize("augment", [None, STILL, dataclasses.replace(STILL, degrees=5)])
def test_no_jitter_is_the_plain_conversion(augment: AugmentConfig | None) -> None:
    for colour in plan(EVERYONE[:5], augment).colour:
        np.testing.assert_allclose(colour, TO_RGB, atol=1e-4)
        np.testing.assert_array_equal(colour, plan([0], None).colour[0])


@pytest.mark.parametrize("level", [0, 90, 255])
def test_jitter_keeps_gray_gray(level: int) -> None:
    """Hue and saturation do nothing to gray, and value is a plain gain."""
    gains = []
    for colour in plan(EVERYONE).colour:
        np.testing.assert_allclose(colour @ [level, 128, 128, 1], np.full(3, level * colour[0, 0]), atol=1e-9)
        gains.append(colour[0, 0])
    assert min(gains) < 0.75
    assert max(gains) > 1.25


@pytest.mark.parametrize("name", ["hsv_s", "hsv_h"])
def test_saturation_and_hue_change_chroma_and_keep_luma(name: str) -> None:
    augment = dataclasses.replace(STILL, **{name: 0.5})
    ycc = np.array([100.0, 110.0, 150.0, 1.0])
    rgb = plan(EVERYONE, augment).colour @ ycc
    np.testing.assert_allclose(rgb @ [0.299, 0.587, 0.114], 100, atol=1e-9)
    chroma = np.stack([(rgb[:, 2] - 100) / 1.772, (rgb[:, 0] - 100) / 1.402], axis=1)
    gain = np.hypot(*chroma.T) / np.hypot(18, 22)
    angle = np.arctan2(*chroma.T[::-1]) - np.arctan2(22, -18)
    turn = np.abs((angle + np.pi) % (2 * np.pi) - np.pi)
    changed, kept = (gain - 1, turn) if name == "hsv_s" else (turn, gain - 1)
    np.testing.assert_allclose(kept, 0, atol=1e-9)
    assert np.abs(changed).max() > 0.4
