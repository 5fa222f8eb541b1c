"""Box formats there and back, clipping, boxes through matrices, and the rule of what stays visible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.property_tests import examples

from yolofast.kernels import (
    clip_boxes,
    ltwh_to_xyxy,
    reference,
    transform_boxes,
    visible_boxes,
    xywh_to_xyxy,
    xywhn_to_xyxy,
    xyxy_to_ltwh,
    xyxy_to_xywh,
    xyxy_to_xywhn,
)

DTYPES = (np.float32, np.float64)


def random_boxes(count: int, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(count)
    corner = rng.uniform(-20, 300, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 200, (count, 2))], axis=1).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalised_to_pixels(dtype: type) -> None:
    boxes = np.array([[0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 0.25]], dtype)
    pixels = xywhn_to_xyxy(boxes, 640, 480)
    assert pixels.dtype == dtype
    assert pixels.tolist() == [[0, 0, 640, 480], [0, 180, 320, 300]]
    np.testing.assert_array_equal(xyxy_to_xywhn(pixels, 640, 480), boxes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 50])
@pytest.mark.parametrize("size", [(640, 480), (333, 1), (7.5, 9.25)])
def test_conversions_equal_the_definition(dtype: type, count: int, size: tuple[float, float]) -> None:
    boxes = random_boxes(count, dtype)
    for ours, defined in (
        (xywhn_to_xyxy, reference.xywhn_to_xyxy),
        (xyxy_to_xywhn, reference.xyxy_to_xywhn),
    ):
        got = ours(boxes, *size)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, defined(boxes, *size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("ours", "back", "expected"),
    [
        (xyxy_to_xywh, xywh_to_xyxy, [[25, 50, 30, 60], [7, 6, 0, -4]]),
        (xyxy_to_ltwh, ltwh_to_xyxy, [[10, 20, 30, 60], [7, 8, 0, -4]]),
    ],
)
def test_pixel_formats(dtype: type, ours, back, expected: list[list[float]]) -> None:  # type: ignore[no-untyped-def]
    boxes = np.array([[10, 20, 40, 80], [7, 8, 7, 4]], dtype)  # the second is inverted
    got = ours(boxes)
    assert got.dtype == dtype
    assert got.tolist() == expected
    np.testing.assert_array_equal(back(got), boxes)
    assert ours([]).shape == (0, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping(dtype: type) -> None:
    nan, inf = np.nan, np.inf
    boxes = np.array([[-5, 3, 700, 20], [650, -9, 660, -1], [-inf, 2, inf, nan]], dtype)
    got = clip_boxes(boxes, 640, 480)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, [[0, 3, 640, 20], [640, 0, 640, 0], [0, 2, 640, nan]])


CONVERSIONS = {
    "xywhn_to_xyxy": lambda boxes, **out: xywhn_to_xyxy(boxes, 8, 4, **out),
    "xyxy_to_xywhn": lambda boxes, **out: xyxy_to_xywhn(boxes, 8, 4, **out),
    "xywh_to_xyxy": xywh_to_xyxy,
    "xyxy_to_xywh": xyxy_to_xywh,
    "ltwh_to_xyxy": ltwh_to_xyxy,
    "xyxy_to_ltwh": xyxy_to_ltwh,
    "clip_boxes": lambda boxes, **out: clip_boxes(boxes, 80, 40, **out),
    "transform_boxes": lambda boxes, **out: transform_boxes(boxes, [[0, -1, 10], [1, 0, 0]], **out),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", CONVERSIONS.values(), ids=CONVERSIONS.keys())
def test_out(function, dtype: type) -> None:  # type: ignore[no-untyped-def]
    boxes = random_boxes(20, dtype)
    expected = function(boxes)
    apart = np.empty_like(boxes)
    assert function(boxes, out=apart) is apart
    np.testing.assert_array_equal(apart, expected)

    shifted = np.zeros(84, dtype)  # one row on from the boxes: each row written is a row still to be read
    shifted[:80] = boxes.ravel()
    np.testing.assert_array_equal(
        function(shifted[:80].reshape(20, 4), out=shifted[4:].reshape(20, 4)), expected
    )

    function(boxes, out=boxes)
    np.testing.assert_array_equal(boxes, expected)

    fixed = boxes.copy()
    fixed.flags.writeable = False
    other = np.float32 if dtype == np.float64 else np.float64
    for bad in (boxes.astype(other), boxes[:5], np.empty((4, 20), dtype).T, fixed, boxes.tolist()):
        with pytest.raises(ValueError, match="out is"):
            function(boxes, out=bad)


@pytest.mark.parametrize("function", CONVERSIONS.values(), ids=CONVERSIONS.keys())
@pytest.mark.parametrize("values", [np.zeros((1, 4), complex), [["0", "0", "1", "1"]], [[None] * 4]])
def test_what_is_no_number_is_named(function, values: object) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match=r"boxes has dtype .*expected real numbers"):
        function(values)


HARD_NUMBERS = st.one_of(
    st.integers(-9, 9).map(float), st.sampled_from([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e308, 5e-324])
)


@examples(150)
@given(
    hnp.arrays(np.float64, (4, 4), elements=HARD_NUMBERS),
    hnp.arrays(np.float64, (3, 3), elements=HARD_NUMBERS),
    st.sampled_from(DTYPES),
)
def test_any_numbers_equal_the_definition(boxes: np.ndarray, matrix: np.ndarray, dtype: type) -> None:
    with np.errstate(all="ignore"):
        boxes = boxes.astype(dtype)
        for transform, clip in itertools.product((matrix, matrix[:2]), (None, (7.0, 3.0))):
            np.testing.assert_array_equal(
                transform_boxes(boxes, transform, clip), reference.transform_boxes(boxes, transform, clip)
            )
        np.testing.assert_array_equal(xywhn_to_xyxy(boxes, 7, 3), reference.xywhn_to_xyxy(boxes, 7, 3))
        np.testing.assert_array_equal(xyxy_to_xywhn(boxes, 7, 3), reference.xyxy_to_xywhn(boxes, 7, 3))
        np.testing.assert_array_equal(
            visible_boxes(boxes, boxes[::-1]), reference.visible_boxes(boxes, boxes[::-1])
        )


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 30], [s, c, -10], [0, 0, 1]])


MATRICES = {
    "identity": np.eye(3),
    "affine": rotation(30)[:2] * 1.7,
    "flip": np.array([[-1.0, 0, 640], [0, 1, 0]]),
    "perspective": np.array([[1.0, 0.1, 5], [-0.05, 0.9, 3], [2e-4, -3e-4, 1]]),
    "horizon": np.array([[1.0, 0, 0], [0, 1, 0], [-0.005, 0, 1]]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
@pytest.mark.parametrize("clip", [None, (320, 256)])
@pytest.mark.parametrize("count", [0, 60])
def test_transform_equals_the_definition(
    dtype: type, matrix: np.ndarray, clip: tuple[float, float] | None, count: int
) -> None:
    boxes = random_boxes(count, dtype)
    got = transform_boxes(boxes, matrix, clip)
    expected = reference.transform_boxes(boxes, matrix, clip)
    assert got.dtype == dtype
    assert got.shape == (count, 4)
    np.testing.assert_array_equal(got, expected)
    with np.errstate(invalid="ignore"):
        full = transform_boxes(boxes, matrix)
    np.testing.assert_array_equal(transform_boxes(boxes, matrix, (320, 256)), clip_boxes(full, 320, 256))


def test_a_quarter_turn_swaps_the_sides() -> None:
    turned = transform_boxes(np.array([[0.0, 0, 4, 2]]), [[0, -1, 10], [1, 0, 0]])
    assert turned.tolist() == [[8, 0, 10, 4]]


def test_a_box_across_the_horizon_is_nan_and_not_visible() -> None:
    boxes = np.array([[150.0, 0, 250, 50], [0, 0, 100, 50]])
    full = transform_boxes(boxes, MATRICES["horizon"])
    assert np.isnan(full[0]).all()
    clipped = transform_boxes(boxes, MATRICES["horizon"], (640, 640))
    np.testing.assert_array_equal(clipped, clip_boxes(full, 640, 640))
    assert visible_boxes(full, clipped).tolist() == [False, True]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_a_box_that_is_not_finite_is_nan_and_harms_no_other(
    matrix: np.ndarray, column: int, value: float
) -> None:
    boxes = np.array([[10.0, 10, 20, 20], [10, 10, 20, 20]])
    boxes[0, column] = value
    got = transform_boxes(boxes, matrix)
    assert np.isnan(got[0]).all()
    np.testing.assert_array_equal(got[1:], transform_boxes(boxes[1:], matrix))
    assert not visible_boxes(got, got)[0]


@pytest.mark.parametrize(
    ("before", "after", "visible"),
    [
        ([0, 0, 50, 50], [0, 0, 50, 50], True),
        ([0, 0, 2, 50], [0, 0, 2, 50], False),  # a side must be longer than 2
        ([0, 0, 2.5, 50], [0, 0, 2.5, 50], True),
        ([-90, 0, 10, 50], [0, 0, 10, 50], False),  # exactly a tenth is left
        ([-89, 0, 11, 50], [0, 0, 11, 50], True),
        ([0, 0, 400, 4], [0, 0, 400, 4], False),  # 100 times as long as high
        ([0, 0, 399, 4], [0, 0, 399, 4], True),
        ([0, 0, 4, 400], [0, 0, 4, 400], False),
        ([9, 9, 3, 3], [9, 9, 3, 3], False),
    ],
)
def test_visibility_rule(before: list[float], after: list[float], visible: bool) -> None:
    assert visible_boxes(np.array([before], float), np.array([after], float)).tolist() == [visible]


def test_visibility_equals_the_definition_with_other_limits() -> None:
    full = random_boxes(200, np.float32)
    after = full.clip(0, 256)
    limits = {"min_side": 6.0, "min_area": 0.4, "max_aspect": 3.0}
    got = visible_boxes(full, after, **limits)
    assert 0 < got.sum() < 200
    np.testing.assert_array_equal(got, reference.visible_boxes(full, after, **limits))


def test_inputs_stay_unchanged() -> None:
    boxes = random_boxes(5, np.float64)
    before = boxes.copy()
    xywhn_to_xyxy(boxes, 10, 10)
    transform_boxes(boxes, np.eye(3), (1, 1))
    np.testing.assert_array_equal(boxes, before)


def test_strided_boxes() -> None:
    table = np.arange(30.0).reshape(5, 6)
    np.testing.assert_array_equal(
        xywhn_to_xyxy(table[::2, 1:5], 8, 4), reference.xywhn_to_xyxy(table[::2, 1:5], 8, 4)
    )


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"boxes has shape \(2, 5\); expected \[N, 4\]"):
        xywhn_to_xyxy(np.zeros((2, 5)), 10, 10)
    with pytest.raises(ValueError, match="image size is 0 x 10"):
        xyxy_to_xywhn(np.zeros((2, 4)), 0, 10)
    with pytest.raises(ValueError, match=r"matrix has shape \(2, 2\); expected \[3, 3\] or \[2, 3\]"):
        transform_boxes(np.zeros((2, 4)), np.eye(2))
    with pytest.raises(ValueError, match="before has 2 boxes and after has 1"):
        visible_boxes(np.zeros((2, 4)), np.zeros((1, 4)))
    with pytest.raises(ValueError, match="image size is 640 x nan"):
        clip_boxes(np.zeros((2, 4)), 640, np.nan)
    with pytest.raises(ValueError, match="image size is -1 x 10"):
        transform_boxes(np.zeros((2, 4)), np.eye(3), (-1, 10))
