"""The native renderer is held to its numpy definition over random plans, and refuses what it cannot take."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.property_tests import examples

from yolofast.config import AugmentConfig
from yolofast.kernels import render
from yolofast.kernels.reference import render as reference_render
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Picture, Ycc

FACTORS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1)}
SUBSAMPLINGS = (*FACTORS, "gray")


def place_of(width: int, height: int, orientation: int, eighths: int) -> NDArray[np.float64]:
    """Upright full-size point -> stored plane, for a stored full size of width x height."""
    turns = {
        1: [[1, 0, 0], [0, 1, 0]],
        2: [[-1, 0, width], [0, 1, 0]],
        3: [[-1, 0, width], [0, -1, height]],
        4: [[1, 0, 0], [0, -1, height]],
        5: [[0, 1, 0], [1, 0, 0]],
        6: [[0, 1, 0], [-1, 0, height]],
        7: [[0, -1, width], [-1, 0, height]],
        8: [[0, -1, width], [1, 0, 0]],
    }
    return np.array(turns[orientation], dtype=np.float64) * eighths / 8


def make_picture(
    rng: np.random.Generator, subsampling: str, width: int, height: int, orientation: int, eighths: int
) -> Picture:
    """Noise planes of a picture stored at width x height, reduced to eighths / 8."""
    stored_h, stored_w = -(-height * eighths // 8), -(-width * eighths // 8)

    def plane(h: int, w: int) -> NDArray[np.uint8]:
        # Padded rows: a renderer must go by strides and must not read past a row's end.
        return rng.integers(0, 256, (h, w + int(rng.integers(0, 5))), dtype=np.uint8)[:, :w]

    chroma: list[NDArray[np.uint8] | None] = [None, None]
    if subsampling != "gray":
        across, down = FACTORS[subsampling]
        chroma = [plane(-(-stored_h // down), -(-stored_w // across)) for _ in range(2)]
    ycc = Ycc(plane(stored_h, stored_w), chroma[0], chroma[1], subsampling)
    upright = (width, height) if orientation >= 5 else (height, width)
    return Picture(ycc, place_of(width, height, orientation, eighths), upright)


def assert_close(got: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> None:
    difference = np.abs(got.astype(int) - wanted.astype(int))
    assert difference.max(initial=0) <= 2
    assert (difference <= 1).mean() >= 0.999


sizes = st.one_of(st.integers(1, 24), st.integers(1, 150))


@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.sampled_from(SUBSAMPLINGS), sizes, sizes, st.integers(1, 8), st.integers(1, 8)),
        min_size=4,
        max_size=6,
    ),
    st.sampled_from(
        ["letterbox", "default", "affine", "perspective", "mixup", "rect", "cutmix", "all mixed"]
    ),
    st.sampled_from([1, 7, 32, 65, 130]),
)
@examples(300)
def test_render_is_the_reference(
    seed: int, kinds: list[tuple[str, int, int, int, int]], mode: str, side: int
) -> None:
    rng = np.random.default_rng(seed)
    pictures = [make_picture(rng, *kind) for kind in kinds]
    shapes = np.array([p.shape for p in pictures], dtype=np.int32)
    jitter = {"hsv_h": 0.5, "hsv_s": 1.0, "hsv_v": 1.0, "translate": 0.5, "scale": 0.9, "flipud": 0.5}
    augment = {
        "letterbox": None,
        "rect": AugmentConfig(**jitter, degrees=20, mosaic=0),
        "default": AugmentConfig(**jitter),
        "affine": AugmentConfig(**jitter, degrees=180, shear=30, mosaic=0.7),
        "perspective": AugmentConfig(**jitter, degrees=30, perspective=0.001, mosaic=0.7),
        "mixup": AugmentConfig(**jitter, degrees=5, mixup=1.0, mosaic=0.5),
        "cutmix": AugmentConfig(**jitter, cutmix=1.0, mosaic=0.5),
        "all mixed": AugmentConfig(
            **jitter, degrees=90, perspective=0.001, mixup=0.5, cutmix=1.0, mosaic=0.5
        ),
    }[mode]
    size = (side, side + 13) if mode in ("rect", "letterbox") else (side, side)
    order = np.arange(len(pictures))
    plan = plan_batch(order, order, shapes, size, augment, seed=seed, epoch=0, mosaic=mode != "rect")
    out = np.full((len(plan), 3, *size), 77, dtype=np.uint8)
    assert render(plan, pictures, out) is out
    assert_close(out, reference_render(plan, pictures))


def simple_plan(**changes: object) -> BatchPlan:
    """One sample that shows image 0 as it is, 8 x 8."""
    plan = plan_batch(np.arange(1), np.arange(1), np.array([[8, 8]]), (8, 8), None, seed=0, epoch=0)
    return dataclasses.replace(plan, **changes)


FLAT = Ycc(*(np.full((8, 8), v, np.uint8) for v in (90, 128, 128)), "444")


def test_tiles_far_out_of_the_frame_leave_gray() -> None:
    plan = simple_plan()
    for far in (1e9, -1e9, 1e11):
        away = plan.tile_matrix.copy()
        away[:, :2, 2] = far
        assert (render(dataclasses.replace(plan, tile_matrix=away), [FLAT]) == 114).all()


def test_images_may_be_a_mapping_and_planes_strided() -> None:
    wide = np.full((8, 30), 90, np.uint8)
    strided = Ycc(wide[:, 5:13], FLAT.cb, FLAT.cr, "444")
    assert (render(simple_plan(), {0: strided}) == 90).all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tile_matrix": np.full((1, 3, 3), np.nan)}, "tile_matrix has a value that is not finite"),
        ({"tile_matrix": np.eye(3)}, r"tile_matrix has shape \(3, 3\)"),
        ({"tile_window": np.array([[0.0, 0, np.inf, 8]])}, "tile_window has a value"),
        ({"tile_sample": np.array([1])}, "tile_sample has values 1..1; expected 0..0"),
        ({"tile_layer": np.array([2])}, "tile_layer has values"),
        (
            {"tile_layer": np.array([2]), "hole": np.array([[3, 0, 3, 8]])},
            r"tile_layer\[0\] is 2 in a sample without",
        ),
        ({"tile_layer": np.array([3]), "hole": np.array([[0, 0, 8, 8]])}, "tile_layer has values"),
        ({"hole": np.array([[0, 0, 9, 8]])}, r"hole\[0\] is \[0, 0, 9, 8\]; expected .* output of 8 x 8"),
        ({"hole": np.array([[0, -1, 8, 8]])}, r"hole\[0\] is"),
        ({"hole": np.array([[5, 0, 4, 8]])}, r"hole\[0\] is"),
        ({"hole": np.array([[0, 0, 2**40, 8]])}, r"hole\[0\] is"),
        ({"hole": np.zeros((2, 4), int)}, r"hole has shape \(2, 4\); expected \(1, 4\)"),
        ({"mix": np.array([-0.5])}, "mix"),
        ({"colour": np.full((1, 3, 4), 9.0)}, "colour is out of range"),
        ({"size": (0, 8)}, "plan.size"),
    ],
)
def test_a_bad_plan_is_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        render(simple_plan(**changes), [FLAT])


@pytest.mark.parametrize(
    ("images", "error", "match"),
    [
        ([Ycc(FLAT.y, FLAT.cb[:4], FLAT.cr, "444")], ValueError, "has chroma"),
        ([Ycc(FLAT.y.astype(np.int16), FLAT.cb, FLAT.cr, "444")], ValueError, r"images\[0\].y is int16"),
        ([Ycc(FLAT.y[:, ::2], FLAT.cb, FLAT.cr, "444")], ValueError, "strides"),
        ([Ycc(FLAT.y, None, None, "444")], ValueError, "cb is NoneType"),
        ([Ycc(FLAT.y, FLAT.cb, FLAT.cr, "other")], ValueError, "subsampling 'other'"),
        ([FLAT.y], TypeError, "expected a Picture or Ycc"),
        ([], IndexError, "index"),
        ({}, KeyError, "0"),
    ],
)
def test_bad_pictures_are_refused(images: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        render(simple_plan(), images)  # type: ignore[arg-type]


def test_a_bad_out_is_refused() -> None:
    with pytest.raises(ValueError, match="out is uint8"):
        render(simple_plan(), [FLAT], np.zeros((1, 3, 8, 9), np.uint8))
    frozen = np.zeros((1, 3, 8, 8), np.uint8)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        render(simple_plan(), [FLAT], frozen)


def test_a_broadcast_plane_is_rendered_or_refused() -> None:
    """Its rows share memory; one too large for 32-bit offsets is refused by its sides, not by its bytes."""
    row = np.arange(8, dtype=np.uint8)
    shared = Ycc(np.broadcast_to(row, (8, 8)), FLAT.cb, FLAT.cr, "444")
    assert (render(simple_plan(), [shared])[0, 0] == row).all()
    huge = np.broadcast_to(np.zeros(46000, np.uint8), (46000, 46000))
    with pytest.raises(ValueError, match="from end to end"):
        render(simple_plan(), [Ycc(huge, huge, huge, "444")])


@pytest.mark.parametrize("scale", [5e-324, 1e-200, 1e-9, 1e11])
def test_a_projection_may_come_at_any_scale(scale: float) -> None:
    """All multiples of a projective matrix mean the same, down to the smallest number there is."""
    turned = np.array([[0.0, 1, 0], [-1, 0, 8], [0, 0, 1]])
    plain = simple_plan(tile_matrix=turned[None])
    scaled = simple_plan(tile_matrix=turned[None] * scale)
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    picture = Ycc(noise, FLAT.cb, FLAT.cr, "444")
    got = render(scaled, [picture])
    if scale > 1e-300:
        np.testing.assert_array_equal(got, render(plain, [picture]))
    degenerate = simple_plan(tile_matrix=np.diag([0, 0, scale])[None])
    assert (render(degenerate, [picture])[0, 0] == noise[0, 0]).all()
