"""soft_nms: the greedy definition, and what happens to odd input."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.property_tests import examples

from yolofast.kernels import reference, soft_nms

Method = Literal["linear", "gaussian"]
METHODS: list[Method] = ["linear", "gaussian"]


def assert_same(
    found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray], rtol: float = 1e-6
) -> None:
    assert found[0].tolist() == expected[0].tolist()
    np.testing.assert_allclose(found[1], expected[1], rtol=rtol)
    assert (found[0].dtype, found[1].dtype) == (np.int64, expected[1].dtype)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 200])
@pytest.mark.parametrize("numbers", [{}, {"iou_threshold": 0.0, "sigma": 0.1}, {"score_threshold": 0.2}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_as_the_definition(method: Method, count: int, numbers: dict[str, float], dtype: type) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        corner = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(dtype)
        scores, classes = rng.random(count).astype(dtype), rng.integers(-1, 2, count)
        for labels in (None, classes):
            expected = reference.soft_nms(boxes, scores, labels, method=method, **numbers)
            rtol = 1e-6 if dtype == np.float32 else 1e-14
            assert_same(soft_nms(boxes, scores, labels, method=method, **numbers), expected, rtol)


awkward = st.one_of(st.integers(0, 6).map(float), st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 3e38]))


@examples(150)
@given(
    hnp.arrays(np.float32, (9, 4), elements=awkward),
    hnp.arrays(np.float32, 9, elements=st.sampled_from([0.0, -1.0, 0.5, 1.0, np.nan, np.inf])),
    hnp.arrays(np.int64, 9, elements=st.sampled_from([-(2**63), 0, 2**63 - 1])),
    st.sampled_from([0.0, 1 / 3, 1.0]),
    st.sampled_from(METHODS),
)
def test_awkward_numbers(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float, method: Method
) -> None:
    with np.errstate(all="ignore"):
        expected = reference.soft_nms(boxes, scores, classes, method=method, iou_threshold=threshold)
    found = soft_nms(boxes, scores, classes, method=method, iou_threshold=threshold)
    # math.exp and numpy's differ in the last bit, which may reorder scores that are nearly equal.
    assert sorted(found[0].tolist()) == sorted(expected[0].tolist())
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)


def test_overlap_lowers_the_score() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10]], np.float32)
    kept, scores = soft_nms(boxes, [0.9, 0.8, 0.5])
    assert kept.tolist() == [0, 2, 1]
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.4], rtol=1e-6)
    kept, scores = soft_nms(boxes, [0.9, 0.8, 0.5], method="gaussian", sigma=0.25)
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.8 * np.exp(-1.0)], rtol=1e-6)


def test_threshold_itself_lowers_nothing_and_a_low_score_is_dropped() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert soft_nms(boxes, [0.9, 0.8], iou_threshold=0.5)[1].tolist() == [np.float32(0.9), np.float32(0.8)]
    assert soft_nms(boxes, [0.9, 0.8], score_threshold=0.5)[0].tolist() == [0]
    assert soft_nms(boxes, [0.25, 0.125], score_threshold=0.25)[0].tolist() == [0]


def test_equal_boxes_and_equal_scores() -> None:
    """The first of equals is taken; with IoU 1 the linear weight is 0, which a threshold of 0 lets stay."""
    boxes = np.tile(np.float32([[0, 0, 10, 10]]), (3, 1))
    assert soft_nms(boxes, [0.5, 0.5, 0.5])[0].tolist() == [0]
    kept, scores = soft_nms(boxes, [0.5, 0.5, 0.5], score_threshold=0)
    assert (kept.tolist(), scores.tolist()) == ([0, 1, 2], [0.5, 0, 0])


def test_the_arguments_stay_as_they_are() -> None:
    boxes = np.tile(np.float32([[0, 0, 10, 10]]), (3, 1))
    scores = np.full(3, 0.5, np.float32)
    soft_nms(boxes, scores)
    assert scores.tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "hard"}, ValueError, "method is 'hard'; expected one of linear, gaussian"),
        ({"sigma": 0}, ValueError, "sigma is 0; expected a number above 0"),
        ({"sigma": np.nan}, ValueError, "sigma is nan"),
        ({"iou_threshold": -0.1}, ValueError, "iou_threshold is -0.1"),
        ({"score_threshold": -1}, ValueError, "score_threshold is -1; expected a number of at least 0"),
        ({"scores": [1.0]}, ValueError, r"scores has shape \(1,\); expected \[2\]"),
        ({"classes": [1.0, 2.5]}, TypeError, "expected whole numbers"),
        ({"boxes": np.zeros((2, 3))}, ValueError, r"expected \[N, 4\]"),
    ],
)
def test_wrong_arguments(options: dict[str, object], error: type[Exception], message: str) -> None:
    arguments: dict[str, object] = {"boxes": np.zeros((2, 4)), "scores": [1.0, 1.0], **options}
    with pytest.raises(error, match=message):
        soft_nms(**arguments)  # type: ignore[arg-type]
