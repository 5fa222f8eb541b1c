"""nms and batched_nms: the indices of the greedy definition, exactly."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.property_tests import examples

from yolofast.kernels import batched_nms, box_iou, nms, reference

DTYPES = (np.float32, np.float64)


def crowded(count: int, seed: int, *, levels: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes that overlap a lot; with `levels`, many equal scores."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)
    scores = rng.integers(0, levels, count) / levels if levels else rng.random(count)
    return boxes, scores.astype(np.float32), rng.integers(0, 5, count)


@pytest.mark.parametrize("count", [0, 1, 2, 31, 32, 33, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("levels", [0, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_indices_as_the_definition(count: int, threshold: float, levels: int, dtype: type) -> None:
    boxes, scores, classes = crowded(count, count, levels=levels)
    boxes, scores = (boxes / 3).astype(dtype), (scores / 3).astype(dtype)
    np.testing.assert_array_equal(nms(boxes, scores, threshold), reference.nms(boxes, scores, threshold))
    np.testing.assert_array_equal(
        batched_nms(boxes, scores, classes, threshold),
        reference.batched_nms(boxes, scores, classes, threshold),
    )


def random_case(seed: int, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Few or many boxes, spread or crowded, huge or tiny, of one class or many, with ties or without."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(300, 1500)) if seed % 50 == 0 else int(rng.integers(0, 300))
    scale = float(rng.choice([1e-30, 1e-19, 1.0, 1.0, 1.0, 1.0, 640.0, 1e18]))
    corner = rng.uniform(-1, 1, (count, 2)) * rng.choice([0.0, 0.3, 2.0])
    boxes = np.concatenate([corner, corner + rng.uniform(0.05, rng.choice([0.1, 0.6]), (count, 2))], axis=1)
    if seed % 3 == 0:
        boxes = boxes.round(1)  # equal boxes, IoU equal to the threshold, sides of no length
    if seed % 5 == 0 and count:
        boxes[rng.integers(0, count, 3)] += rng.choice([1e6, -1e12])  # strays
    scores = rng.integers(0, 9, count) / 8 if seed % 2 else rng.normal(size=count)
    classes = rng.integers(0, rng.choice([1, 3, 80]), count) * int(rng.choice([1, -7, 2**56]))
    threshold = float(rng.choice([0.0, 0.05, 0.1, 1 / 3, 0.5, 0.7, 0.95, 1.0, rng.random()]))
    if dtype == np.float64 and seed % 7 == 0:
        scale *= float(rng.choice([1e-150, 1e-40, 1e30, 1e150]))  # float32 has no such numbers
    return (boxes * scale).astype(dtype), scores.astype(dtype), classes, threshold


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", range(0, 1000, 100))
def test_a_thousand_random_cases(start: int, dtype: type) -> None:
    for seed in range(start, start + 100):
        boxes, scores, classes, threshold = random_case(seed, dtype)
        with np.errstate(all="ignore"):
            expected = reference.batched_nms(boxes, scores, classes, threshold)
        found = batched_nms(boxes, scores, classes, threshold)
        assert found.tolist() == expected.tolist(), f"seed {seed}"


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.95])
@pytest.mark.parametrize(
    ("dtype", "stray"), [(np.float32, 0.0), (np.float32, 1e30), (np.float64, 0.0), (np.float64, 1e300)]
)
def test_many_boxes_of_one_class(threshold: float, stray: float, dtype: type) -> None:
    """So many that only those near by are compared, wherever most of them are."""
    rng = np.random.default_rng(3)
    centre = np.concatenate([rng.uniform(0, 640, (2500, 2)), rng.normal(300, 4, (1500, 2))])
    size = rng.uniform(1, 4, (4000, 2)) * rng.choice([4, 30], (4000, 1))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(dtype)
    boxes[::400] += dtype(stray)
    scores = rng.random(4000).astype(dtype)
    expected = reference.nms(boxes, scores, threshold)
    assert nms(boxes, scores, threshold).tolist() == expected.tolist()


def test_classes_of_any_size() -> None:
    boxes = np.tile(np.float32([[0, 0, 10, 10]]), (600, 1))
    ends = np.array([-(2**63), 2**63 - 1, -1, 0, 2**32, 2**31], np.int64)
    found = batched_nms(boxes, np.arange(600), ends[np.arange(600) % 6], 0.5)
    assert found.tolist() == [599, 598, 597, 596, 595, 594]


def test_nan_scores_are_dropped_and_minus_zero_equals_zero() -> None:
    boxes = np.array([[i * 10, 0, i * 10 + 5, 5] for i in range(4)], np.float32)
    assert nms(boxes, [-0.0, np.nan, 0.0, -np.inf], 0.5).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 9], [9, 9, 5, 5], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [-3e38, -3e38, 3e38, 3e38]]
)
def test_boxes_without_a_usable_area_are_kept_and_suppress_nothing(box: list[float]) -> None:
    boxes = np.array([[0, 0, 9, 9], box, box, [0, 0, 9, 9]], np.float32)
    assert nms(boxes, [0.9, 0.8, 0.7, 0.6], 0.0).tolist() == [0, 1, 2]


awkward = st.one_of(
    st.integers(0, 6).map(float), st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 1e30, 3e38, 1e-22, 1e-40])
)


@examples(150)
@given(
    hnp.arrays(np.float32, (12, 4), elements=awkward),
    hnp.arrays(np.float32, 12, elements=st.sampled_from([0.0, 0.5, 1.0, np.nan, np.inf])),
    hnp.arrays(np.int64, 12, elements=st.integers(-1, 1)),
    st.sampled_from([0.0, 1 / 3, 0.5, 1.0]),
)
def test_awkward_numbers(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float
) -> None:
    with np.errstate(all="ignore"):
        expected = reference.batched_nms(boxes, scores, classes, threshold)
    np.testing.assert_array_equal(batched_nms(boxes, scores, classes, threshold), expected)


def test_iou_equal_to_the_threshold_is_kept() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1]], np.float32)  # IoU exactly 0.5
    assert nms(boxes, [0.9, 0.8], 0.5).tolist() == [0, 1]
    assert nms(boxes, [0.9, 0.8], np.nextafter(0.5, 0)).tolist() == [0]


def test_threshold_is_compared_in_double() -> None:
    """An IoU of float32(1/3) is above 1/3 itself, which no float32 comparison can see."""
    boxes = np.array([[0, 0, 3, 1], [0, 0, 1, 1]], np.float32)
    iou = float(box_iou(boxes[:1], boxes[1:])[0, 0])
    assert iou > 1 / 3
    assert nms(boxes, [0.9, 0.8], 1 / 3).tolist() == [0]
    assert nms(boxes, [0.9, 0.8], iou).tolist() == [0, 1]


def test_float64_boxes_are_computed_in_float64() -> None:
    """As torchvision does: no decision depends on what float32 would have rounded away."""
    third = np.array([[0, 0, 3, 1], [0, 0, 1, 1]], np.float64)
    assert nms(third, [0.9, 0.8], 1 / 3).tolist() == [0, 1]  # float32(1 / 3) would be above
    far = (
        np.array([[0, 0, 1, 1], [0.5, 0, 1.5, 1]]) + 2.0**30
    )  # float32 makes both of them one box of no size
    assert nms(far, [0.9, 0.8], 0.3).tolist() == [0]
    assert nms(far.astype(np.float32), [0.9, 0.8], 0.3).tolist() == [0, 1]
    assert nms(far, [0.5, 0.5 + 1e-12], 0.3).tolist() == [1]  # so are scores
    assert batched_nms(far, [0.9, 0.8], [1, 1], 0.3).tolist() == [0]
    for alike in (far.tolist(), far.astype(">f8"), far.astype(np.longdouble)):
        assert nms(alike, [0.9, 0.8], 0.3).tolist() == [0]
    huge = np.array([[0, 0, 1e200, 1e100], [0, 0, 1e200, 1e100]])
    assert nms(huge, [0.9, 0.8], 0.5).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], np.float32)
    assert nms(boxes, [0.9, 0.8, 0.7], 0.4).tolist() == [0, 2]


def test_equal_scores_keep_their_order() -> None:
    boxes = np.array([[i * 10, 0, i * 10 + 5, 5] for i in range(6)], np.float32)
    assert nms(boxes, [0.5, 0.9, 0.5, 0.9, 0.5, 0.9], 0.5).tolist() == [1, 3, 5, 0, 2, 4]
    assert batched_nms(boxes, np.full(6, 0.5), [5, 4, 3, 2, 1, 0], 0.5).tolist() == [0, 1, 2, 3, 4, 5]


def test_classes_never_meet_wherever_the_boxes_are() -> None:
    """Far apart coordinates would lose small boxes to rounding if classes were told apart by offsets."""
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [1e7, 1e7, 1e7 + 8, 1e7 + 8]], np.float32)
    assert batched_nms(boxes, [0.7, 0.9, 0.8], [0, 99, 0], 0.5).tolist() == [1, 2, 0]


def test_nan_scores_are_dropped_and_nan_boxes_suppress_nothing() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    assert nms(boxes, [np.nan, 0.5, 0.9, 0.4], 0.5).tolist() == [2, 1]


def test_strided_inputs() -> None:
    boxes, scores, classes = crowded(80, 4)
    np.testing.assert_array_equal(
        batched_nms(boxes[::2], scores[::-2], classes[1::2], 0.5),
        batched_nms(boxes[::2].copy(), scores[::-2].copy(), classes[1::2].astype(np.int32), 0.5),
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 4)), [1.0], [0, 0], 0.5), ValueError, r"scores has shape \(1,\); expected \[2\]"),
        ((np.zeros((2, 4)), [1.0, 1.0], [0], 0.5), ValueError, r"classes has shape \(1,\); expected \[2\]"),
        ((np.zeros((2, 4)), [1.0, 1.0], [0.5, 1.0], 0.5), TypeError, "expected whole numbers"),
        ((np.zeros((2, 5)), [1.0, 1.0], [0, 0], 0.5), ValueError, r"expected \[N, 4\]"),
        ((np.zeros((2, 4)), [1.0, 1.0], [0, 0], 1.5), ValueError, "iou_threshold is 1.5; expected a number"),
        ((np.zeros((2, 4)), [1.0, 1.0], [0, 0], np.nan), ValueError, "iou_threshold is nan"),
    ],
)
def test_wrong_arguments(arguments: tuple[object, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batched_nms(*arguments)


def test_another_thread_writing_the_scores_cannot_crash_it() -> None:
    """The GIL is released, so the arrays may change under the kernel; what comes out is then undefined."""
    count = 3000
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 1000, (count, 4)).astype(np.float32)
    scores, classes = rng.random(count, dtype=np.float32), rng.integers(0, 9, count)
    values = [rng.random(count, dtype=np.float32) for _ in range(4)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in values:
                scores[:] = value
                classes[:] = (value * 9).astype(np.int64)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            assert len(nms(boxes, scores, 0.5)) <= count
            assert len(batched_nms(boxes, scores, classes, 0.5)) <= count
    finally:
        stop.set()
        writer.join()
