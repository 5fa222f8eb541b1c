"""The image kernels against their numpy definitions, over odd sizes, views and extreme values."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.property_tests import examples

from yolofast import kernels
from yolofast.kernels import reference

Pixels = NDArray[np.uint8]

SIZES = [(1, 1), (1, 37), (41, 1), (2, 2), (97, 61), (120, 160)]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng([seed, *shape]).integers(0, 256, shape, dtype=np.uint8)


def stripes(*shape: int) -> Pixels:
    """Black and white pixels side by side: the largest steps there are."""
    return (np.indices(shape).sum(axis=0) % 2 * 255).astype(np.uint8)


def gap(a: Pixels, b: Pixels) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(np.int16) - b).max())


VIEWS = {
    "rows apart": lambda im: np.pad(im, ((0, 0), (0, 5), (0, 0)))[:, : im.shape[1]],
    "upside down": lambda im: im[::-1].copy()[::-1],
    "every second column": lambda im: np.repeat(im, 2, axis=1)[:, ::2],
    "fortran order": np.asfortranarray,
    "planar memory": lambda im: np.ascontiguousarray(im.transpose(2, 0, 1)).transpose(1, 2, 0),
    "one row repeated": lambda im: np.broadcast_to(im[:1], im.shape),
}


# ------------------------------------------------------------------------------------------ letterbox


@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize("size", [1, 32, 224, (50, 301), (301, 50)])
@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("make", [noise, stripes])
def test_letterbox_is_its_definition(make: Any, source: tuple[int, int], size: Any, layout: Any) -> None:
    image = make(*source, 3)
    result, placed = kernels.letterbox(image, size, layout=layout)
    expected, expected_placed = reference.letterbox(image, size, layout=layout)
    assert placed == expected_placed
    assert gap(result, expected) <= 1


def test_letterbox_at_the_same_size_changes_nothing() -> None:
    image = noise(64, 64, 3)
    result, placed = kernels.letterbox(image, 64)
    np.testing.assert_array_equal(result, image)
    assert (placed.scale, placed.pad_x, placed.pad_y) == (1.0, 0, 0)


def test_letterbox_pads_with_fill_only() -> None:
    result, placed = kernels.letterbox(np.full((10, 20, 3), 200, np.uint8), 40, fill=3)
    assert (placed.pad_x, placed.pad_y, placed.inner) == (0, 10, (20, 40))
    assert (result[10:30] == 200).all()
    assert (result[:10] == 3).all()
    assert (result[30:] == 3).all()


def test_letterbox_agrees_with_opencv() -> None:
    image = noise(97, 143, 3)
    result, placed = kernels.letterbox(image, 224)
    inner_h, inner_w = placed.inner
    top, left = int(placed.pad_y), int(placed.pad_x)
    resized = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    assert gap(result[top : top + inner_h, left : left + inner_w], resized) <= 2


@pytest.mark.parametrize("view", VIEWS)
def test_letterbox_reads_any_view(view: str) -> None:
    image = VIEWS[view](noise(33, 47, 3))
    assert gap(kernels.letterbox(image, 64)[0], reference.letterbox(image, 64)[0]) <= 1


def test_letterbox_writes_into_a_batch() -> None:
    batch = np.full((4, 3, 48, 48), 9, np.uint8)
    image = noise(33, 47, 3)
    result, _ = kernels.letterbox(image, 48, layout="chw", out=batch[2])
    assert np.shares_memory(result, batch)
    np.testing.assert_array_equal(batch[2], kernels.letterbox(image, 48, layout="chw")[0])
    assert (batch[[0, 1, 3]] == 9).all()


# ------------------------------------------------------------------------------------------ warp_affine

MATRICES = {
    "identity": [[1, 0, 0], [0, 1, 0]],
    "zoom out": [[2.7, 0, -30], [0, 1.9, 4.25]],
    "zoom in": [[0.31, 0, 7.7], [0, 0.43, 11]],
    "mirrored": [[-0.9, 0, 70], [0, 1.1, -3]],
    "upside down": [[0.8, 0, 1], [0, -1.3, 90]],
    "rotated": [[0.83, -0.51, 20], [0.51, 0.83, -9]],
    "quarter turn": [[0, 1, 0], [-1, 0, 97]],
    "sheared": [[1, 0.4, -8], [0, 1, 0]],
    "outside": [[1, 0, 1e6], [0, 1, 0]],
    "one point": [[0, 0, 30.5], [0, 0, 12.25]],
    "one line": [[1, 2, 0], [0.5, 1, 0]],
    "all zero": [[0, 0, 0], [0, 0, 0]],
    "tiny": [[1e-300, 1e-17, 5], [1e-18, 1e-300, 7]],
    "huge": [[1e12, -1e12, 3], [1e12, 1e12, -1e12]],
    "on the edges": [[0.5, 0, 0], [0, 0.25, 0]],
}
WINDOWS = {
    "whole": None,
    "part": (10.0, 5.5, 40.25, 60.0),
    "empty": (10.0, 10.0, 10.0, 50.0),
    "reversed": (40.0, 10.0, 10.0, 50.0),
    "beyond": (-30.0, -20.0, 300.0, 200.0),
    "a sliver": (20.0, 20.0, 20.1, 20.1),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("source", [(97, 61), (1, 1), (60, 2)])
def test_warp_is_its_definition(source: tuple[int, int], matrix: str, window: str) -> None:
    image = noise(*source, 3)
    image[image == 114] = 115  # so that a pixel of 114 was certainly not written
    result = np.full((3, 75, 90), 114, np.uint8)
    expected = result.copy()
    assert kernels.warp_affine(image, MATRICES[matrix], result, window=WINDOWS[window]) is result
    reference.warp_affine(image, MATRICES[matrix], expected, window=WINDOWS[window])
    assert gap(result, expected) <= 1


numbers = st.floats(-3, 3, width=32)


@examples(150)
@given(
    matrix=st.tuples(*[numbers] * 6),
    centre=st.tuples(st.floats(-20, 60), st.floats(-20, 60)),
    upright=st.booleans(),
    corners=st.tuples(*[st.floats(-5, 45)] * 4),
)
def test_warp_owns_exactly_the_right_pixels(
    matrix: tuple[float, ...], centre: tuple[float, float], upright: bool, corners: Any
) -> None:
    m = np.array(matrix, np.float64).reshape(2, 3)
    m[:, 2] = centre
    if upright:
        m[0, 1] = m[1, 0] = 0
    image = np.full((40, 40, 3), 255, np.uint8)
    result, expected = np.zeros((2, 3, 31, 45), np.uint8)
    kernels.warp_affine(image, m, result, window=corners)
    reference.warp_affine(image, m, expected, window=corners)
    np.testing.assert_array_equal(result, expected)


def test_warp_tiles_meet_without_gap_or_overlap() -> None:
    """Four windows of one source under one matrix: each pixel inside is written by exactly one of them."""
    image = np.full((64, 64, 3), 1, np.uint8)
    matrix = [[0.7, 0.2, -5.0], [-0.2, 0.7, 9.0]]
    total = np.zeros((3, 96, 96), np.uint8)
    for x in (0.0, 21.3):
        for y in (0.0, 40.7):
            tile = np.zeros_like(total)
            window = (x, y, 21.3 if x == 0 else 64.0, 40.7 if y == 0 else 64.0)
            total += kernels.warp_affine(image, matrix, tile, window=window)
    whole = kernels.warp_affine(image, matrix, np.zeros_like(total))
    np.testing.assert_array_equal(total, whole)
    assert whole.any()


def test_warp_upright_equals_letterbox() -> None:
    image = noise(97, 143, 3)
    boxed, placed = kernels.letterbox(image, 224, layout="chw")
    inner_h, inner_w = placed.inner
    gain_x, gain_y = 143 / inner_w, 97 / inner_h
    matrix = [[gain_x, 0, -placed.pad_x * gain_x], [0, gain_y, -placed.pad_y * gain_y]]
    warped = kernels.warp_affine(image, matrix, np.full((3, 224, 224), 114, np.uint8))
    assert gap(warped, boxed) <= 1


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("matrix", ["rotated", "zoom in"])
def test_warp_reads_any_view(view: str, matrix: str) -> None:
    image = VIEWS[view](noise(97, 61, 3))
    result, expected = np.zeros((2, 3, 50, 50), np.uint8)
    kernels.warp_affine(image, MATRICES[matrix], result)
    reference.warp_affine(image, MATRICES[matrix], expected)
    assert gap(result, expected) <= 1


# ------------------------------------------------------------------------------------------ flip


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("horizontal", "vertical"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_flip_is_its_definition(size: tuple[int, int], channels: int, horizontal: int, vertical: int) -> None:
    image = noise(*size, channels)
    options: dict[str, Any] = {"horizontal": bool(horizontal), "vertical": bool(vertical)}
    result = kernels.flip(image, **options)
    np.testing.assert_array_equal(result, reference.flip(image, **options))
    np.testing.assert_array_equal(kernels.flip(result, **options), image)
    assert not np.shares_memory(result, image)


# ------------------------------------------------------------------------------------------ colour

BT601 = [[1, 0, 1.402, -179.456], [1, -0.344136, -0.714136, 135.459], [1, 1.772, 0, -226.816]]


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3, 4),
        BT601,
        np.full((3, 4), -1.0),
        [[256.0, -256.0, 256.0, 0.5]] * 3,
        [[0, 0, 0, 65536.0], [0, 0, 0, -65536.0], [0, 0, 0, 127.4]],
        np.random.default_rng(1).normal(size=(3, 4)),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_color_matrix_is_its_definition(size: tuple[int, int], matrix: Any) -> None:
    image = noise(3, *size)
    expected = reference.color_matrix(image, matrix)
    assert gap(kernels.color_matrix(image, matrix), expected) <= 1
    assert kernels.color_matrix(image, matrix, out=image) is image
    assert gap(image, expected) <= 1


def test_color_matrix_works_inside_a_batch() -> None:
    batch = noise(2, 3, 20, 30)
    before = batch.copy()
    part = batch[1, :, 3:17, 4:25]
    kernels.color_matrix(part, BT601, out=part)
    assert gap(part, reference.color_matrix(before[1, :, 3:17, 4:25], BT601)) <= 1
    part[...] = before[1, :, 3:17, 4:25]
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("h", "s", "v"),
    [(0, 1, 1), (0.015, 1.7, 0.6), (-0.4, 0.3, 1.4), (7.25, 1, 1), (0.5, 0, 1), (0, 1, 0), (0.1, 1e30, 1e30)],
)
def test_hsv_jitter_is_its_definition(size: tuple[int, int], h: float, s: float, v: float) -> None:
    image = noise(*size, 3)
    expected = reference.hsv_jitter(image, h, s, v)
    result = np.empty_like(image)
    kernels.hsv_jitter(image, h, s, v, out=result)
    assert gap(result, expected) <= 1
    kernels.hsv_jitter(image, h, s, v, out=image)
    np.testing.assert_array_equal(image, result)


def test_hsv_jitter_over_all_kinds_of_colour() -> None:
    levels = np.array([0, 1, 2, 127, 128, 253, 254, 255], np.uint8)
    image = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(8, 64, 3)
    np.testing.assert_array_equal(kernels.hsv_jitter(image, 0, 1, 1), image)
    for h in np.linspace(-1, 1, 13):
        assert gap(kernels.hsv_jitter(image, h, 1.3, 0.9), reference.hsv_jitter(image, h, 1.3, 0.9)) <= 1


def test_hsv_jitter_turns_red_to_green_and_gray_stays() -> None:
    image = np.array([[[255, 0, 0], [90, 90, 90]]], np.uint8)
    result = kernels.hsv_jitter(image, 1 / 3, 1.5, 1.0)
    np.testing.assert_array_equal(result, [[[0, 255, 0], [90, 90, 90]]])


# ------------------------------------------------------------------------------------------ arguments

CALLS = {
    "letterbox": lambda image, out=None: kernels.letterbox(image, 16, out=out),
    "flip": lambda image, out=None: kernels.flip(image, out=out),
    "hsv_jitter": lambda image, out=None: kernels.hsv_jitter(image, 0.1, 1, 1, out=out),
    "warp_affine": lambda image, out=None: kernels.warp_affine(
        image, np.eye(2, 3), np.zeros((3, 16, 16), np.uint8) if out is None else out
    ),
    "color_matrix": lambda image, out=None: kernels.color_matrix(
        image.transpose(2, 0, 1) if isinstance(image, np.ndarray) else image, np.eye(3, 4), out=out
    ),
}
PLANAR = {"warp_affine", "color_matrix"}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0, 3)])
def test_empty_images_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected sides from 1"):
        CALLS[name](np.zeros(shape, np.uint8))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4, 3), np.int8), [[[1, 2, 3]]], None])
def test_other_types_are_refused(name: str, image: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        CALLS[name](image)


@pytest.mark.parametrize("name", [n for n in CALLS if n != "flip"])
def test_other_channel_counts_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        CALLS[name](np.zeros((5, 5, 4), np.uint8))


def bad_outs(planar: bool) -> dict[str, tuple[Any, str]]:
    shape = (3, 16, 16) if planar else (16, 16, 3)
    locked = np.zeros(shape, np.uint8)
    locked.flags.writeable = False
    return {
        "shape": (np.zeros((16, 16, 16), np.uint8), "expected uint8"),
        "dtype": (np.zeros(shape, np.int16), "expected uint8"),
        "read-only": (locked, "read-only"),
        "not packed": (np.zeros((*shape[:2], 2 * shape[2]), np.uint8)[..., ::2], "strides"),
        "repeated rows": (
            np.lib.stride_tricks.as_strided(np.zeros(768, np.uint8), shape, (0, 1, 1)),
            "strides|read",
        ),
    }


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("case", ["shape", "dtype", "read-only", "not packed", "repeated rows"])
def test_wrong_out_is_refused(name: str, case: str) -> None:
    out, message = bad_outs(name in PLANAR)[case]
    with pytest.raises(ValueError, match=message):
        CALLS[name](noise(16, 16, 3), out=out)


@pytest.mark.parametrize("name", CALLS)
def test_overlapping_out_is_refused(name: str) -> None:
    memory = np.zeros(16 * 16 * 3 + 5, np.uint8)
    image, shifted = memory[: 16 * 16 * 3], memory[5:]
    with pytest.raises(ValueError, match=r"shares memory|overlaps"):
        CALLS[name](
            image.reshape(16, 16, 3), out=shifted.reshape((3, 16, 16) if name in PLANAR else (16, 16, 3))
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "expected a side"),
        ({"size": (5, -1)}, "expected a side"),
        ({"size": 2**30}, "expected sides"),
        ({"size": 1.5}, "expected a side"),
        ({"size": (1, 2, 3)}, "expected a side"),
        ({"size": 8, "fill": 256}, "fill"),
        ({"size": 8, "layout": "nchw"}, "layout"),
    ],
)
def test_letterbox_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.letterbox(noise(8, 8, 3), **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e13])
@pytest.mark.parametrize("place", range(6))
def test_warp_refuses_numbers_without_meaning(bad: float, place: int) -> None:
    matrix = np.eye(2, 3)
    matrix.flat[place] = bad
    out = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"finite|magnitudes"):
        kernels.warp_affine(noise(8, 8, 3), matrix, out)
    with pytest.raises(ValueError, match=r"finite|magnitude"):
        kernels.warp_affine(noise(8, 8, 3), np.eye(2, 3), out, window=(0, 0, bad, 8))
    with pytest.raises(ValueError, match=r"expected \[2, 3\]"):
        kernels.warp_affine(noise(8, 8, 3), np.eye(3), out)


def test_color_arguments() -> None:
    for matrix in (np.eye(3), np.full((3, 4), np.nan), np.full((3, 4), 1000.0)):
        with pytest.raises(ValueError, match="matrix"):
            kernels.color_matrix(noise(3, 8, 8), matrix)
    for h, s, v in ((np.nan, 1, 1), (0, -1, 1), (0, 1, np.inf)):
        with pytest.raises(ValueError, match="finite"):
            kernels.hsv_jitter(noise(8, 8, 3), h, s, v)
