"""box_iou: hand-made values, the numpy definition, and boxes that are no boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.property_tests import examples

from yolofast.kernels import box_iou, reference

KINDS = ("iou", "giou", "diou", "ciou")
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}


def random_boxes(count: int, dtype: type, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-50, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 40, (count, 2))], axis=1).astype(dtype)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("iou", 1 / 7),
        ("giou", 1 / 7 - 2 / 9),
        ("diou", 1 / 7 - 2 / 18),
        ("ciou", 1 / 7 - 2 / 18),  # same shape: no aspect term
    ],
)
def test_value_worked_out_by_hand(kind: str, expected: float) -> None:
    value = box_iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 3, 3]]), kind=kind)
    assert value == pytest.approx(np.array([[expected]]), abs=1e-15)


def test_ciou_penalises_another_aspect_ratio() -> None:
    a, b = np.array([[0.0, 0, 4, 2]]), np.array([[1.0, -1, 3, 3]])  # same centre, IoU 1/3
    v = 4 / np.pi**2 * (np.arctan(1 / 2) - np.arctan(2)) ** 2
    alpha = v / (1 - 1 / 3 + v)
    assert box_iou(a, b, kind="ciou")[0, 0] == pytest.approx(1 / 3 - alpha * v, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (1, 1), (7, 33), (40, 129)])
def test_equals_the_definition(kind: str, dtype: type, n: int, m: int) -> None:
    a, b = random_boxes(n, dtype, 1), random_boxes(m, dtype, 2)
    value = box_iou(a, b, kind=kind)
    expected = reference.box_iou(a, b, kind=kind)
    assert value.shape == (n, m)
    assert value.dtype == dtype
    if kind == "iou":
        np.testing.assert_array_equal(value, expected)
    else:
        np.testing.assert_allclose(value, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 37])
def test_elementwise_is_the_diagonal(kind: str, dtype: type, count: int) -> None:
    a, b = random_boxes(count, dtype, 1), random_boxes(count, dtype, 2)
    value = box_iou(a, b, kind=kind, elementwise=True)
    assert value.shape == (count,)
    assert value.dtype == dtype
    np.testing.assert_array_equal(value, np.diagonal(box_iou(a, b, kind=kind)))
    np.testing.assert_allclose(
        value, reference.box_iou(a, b, kind=kind, elementwise=True), rtol=0, atol=TOLERANCE[dtype]
    )


def test_elementwise_wants_as_many_boxes() -> None:
    with pytest.raises(ValueError, match="a has 2 boxes and b has 3"):
        box_iou(np.zeros((2, 4)), np.zeros((3, 4)), elementwise=True)


coordinates = st.one_of(
    st.integers(-4, 4).map(float), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-30])
)


@examples(150)
@given(
    hnp.arrays(np.float64, (3, 4), elements=coordinates), hnp.arrays(np.float64, (2, 4), elements=coordinates)
)
def test_any_numbers_give_bounded_values(a: np.ndarray, b: np.ndarray) -> None:
    for kind, low in (("iou", 0.0), ("giou", -1.0), ("diou", -1.0), ("ciou", -2.0)):
        value = box_iou(a, b, kind=kind)
        assert np.isfinite(value).all()
        assert (value >= low - 1e-9).all()
        assert (value <= 1.0 + 1e-9).all()
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(value, reference.box_iou(a, b, kind=kind), rtol=0, atol=1e-9)
        pairs = box_iou(a[:2], b, kind=kind, elementwise=True)
        np.testing.assert_array_equal(pairs, np.diagonal(value[:2]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("swap", [False, True])
def test_nan_gives_zero(kind: str, column: int, swap: bool) -> None:
    bad = np.array([[0.0, 0, 2, 2]])
    bad[0, column] = np.nan
    good = np.array([[0.0, 0, 2, 2]])
    assert box_iou(*((good, bad) if swap else (bad, good)), kind=kind)[0, 0] == 0


@pytest.mark.parametrize("box", [[1.0, 1, 1, 1], [0.0, 0, 0, 2], [2.0, 2, 0, 0], [2.0, 0, 0, 2]])
def test_boxes_without_area_overlap_nothing(box: list[float]) -> None:
    boxes = np.array([box, [0.0, 0, 2, 2]])
    np.testing.assert_array_equal(box_iou(boxes[:1], boxes), [[0, 0]])


def test_views_and_other_dtypes_are_accepted() -> None:
    wide = random_boxes(9, np.float64, 3)
    np.testing.assert_array_equal(
        box_iou(wide[::2], wide[::-1]), box_iou(wide[::2].copy(), wide[::-1].copy())
    )
    assert box_iou([[0, 0, 2, 2]], [[0, 0, 2, 1]]).tolist() == [[0.5]]
    assert box_iou(wide.astype(np.float32), wide).dtype == np.float64


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 1), (3, 5)])
def test_wrong_shape_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"b has shape .*expected \[N, 4\]"):
        box_iou(np.zeros((1, 4)), np.zeros(shape))


def test_unknown_kind_lists_the_known() -> None:
    with pytest.raises(ValueError, match="'eiou'; expected one of iou, giou, diou, ciou"):
        box_iou(np.zeros((1, 4)), np.zeros((1, 4)), kind="eiou")


@pytest.mark.parametrize(
    "values", [np.zeros((1, 4), complex), np.array([["0", "0", "1", "1"]]), [[None] * 4]]
)
def test_what_is_no_number_is_named(values: object) -> None:
    with pytest.raises(TypeError, match=r"b has dtype .*expected real numbers"):
        box_iou(np.zeros((1, 4)), values)
