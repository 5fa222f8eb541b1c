"""postprocess: which anchors become detections, in which order."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.property_tests import examples

from yolofast.kernels import postprocess, reference
from yolofast.types import Detections


def output(*anchors: list[float]) -> np.ndarray:
    """One image from rows of centre x, centre y, width, height, class scores."""
    return np.array(anchors, np.float32).T[None]


def noise(images: int, classes: int, anchors: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = rng.random((images, 4 + classes, anchors)).astype(np.float32)
    raw[:, :2] *= 100
    raw[:, 2:4] = raw[:, 2:4] * 40 + 5
    return raw


def defined(raw: np.ndarray, conf: float, iou: float, multi_label: bool) -> list[tuple[int, int]]:
    """(anchor, class) of the detections of one image, in plain loops."""
    rows = []
    for anchor in range(raw.shape[1]):
        scores = raw[4:, anchor]
        labels = range(len(scores)) if multi_label else [int(scores.argmax())]
        rows += [(anchor, label) for label in labels if scores[label] > np.float32(conf)]
    if not rows:
        return []
    anchors, labels = np.array(rows).T
    x, y, w, h = raw[:4, anchors]
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    return [rows[k] for k in reference.batched_nms(boxes, raw[4 + labels, anchors], labels, iou)]


def assert_same(found: list[Detections], expected: list[Detections]) -> None:
    """To the bit."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.classes, b.classes)
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.boxes, b.boxes)


def head(seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A head of some shape, sparse or dense, with equal scores or without, and options for it."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 4)), int(rng.choice([1, 2, 7, 80]))
    raw = noise(images, classes, int(rng.choice([1, 63, 64, 65, 700])), seed)
    raw[:, 4:] **= float(rng.choice([1, 8, 60]))
    if seed % 3 == 0:
        raw[:, 4:] = (raw[:, 4:] * 16).round() / 16
    if seed % 4 == 0:
        raw[rng.random(raw.shape) < 0.01] = rng.choice([np.nan, np.inf, -np.inf, -1])
    options = {
        "conf": float(rng.choice([0.0, 0.001, 0.25, 0.5])),
        "iou": float(rng.choice([0.0, 0.45, 0.7, 1.0])),
        "max_det": int(rng.choice([1, 7, 300, 3000])),
        "max_candidates": int(rng.choice([1, 20, 500, 30000])),
        "classes": rng.choice([None, "some"]) and rng.integers(0, classes, 3).tolist(),
        "agnostic": bool(rng.random() < 0.3),
        "multi_label": bool(rng.random() < 0.7),
    }
    return raw, options


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_definition(seed: int) -> None:
    raw, options = head(seed)
    assert_same(postprocess(raw, **options), reference.postprocess(raw, **options))


def test_equals_the_definition_on_a_full_head() -> None:
    """More candidates than are looked at first: an image with too few detections among those, one with
    enough."""
    raw = noise(2, 20, 1000)
    raw[0, :2] = raw[0, :2] / 10 + 50  # all in one place
    raw[0, 2:4] = 30
    raw[1, :2] *= 6
    assert_same(postprocess(raw, max_det=20), reference.postprocess(raw, max_det=20))


awkward = st.one_of(
    st.integers(0, 4).map(float), st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.5, 3e38, 1e-40])
)


@examples(150)
@given(
    hnp.arrays(np.float32, (2, 6, 7), elements=awkward),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
)
def test_awkward_numbers(raw: np.ndarray, conf: float, multi_label: bool, agnostic: bool, most: int) -> None:
    options: dict[str, Any] = {
        "conf": conf,
        "iou": 0.5,
        "multi_label": multi_label,
        "agnostic": agnostic,
        "max_candidates": most * 3,
    }
    with np.errstate(all="ignore"):
        expected = reference.postprocess(raw, **options)
    assert_same(postprocess(raw, **options), expected)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize(("conf", "iou"), [(0.3, 0.5), (0.9, 0.7), (1.0, 0.5)])
def test_equals_plain_loops(multi_label: bool, conf: float, iou: float) -> None:
    raw = noise(3, 3, 60)
    raw[2, 4:] = (raw[2, 4:] * 8).round() / 8  # equal scores
    results = postprocess(raw, conf=conf, iou=iou, multi_label=multi_label)
    assert len(results) == 3
    for image, found in zip(raw, results, strict=True):
        expected = defined(image, conf, iou, multi_label)
        assert found.classes.tolist() == [label for _, label in expected]
        assert found.scores.tolist() == [image[4 + label, anchor] for anchor, label in expected]
        centres = [image[:2, anchor] for anchor, _ in expected]
        np.testing.assert_allclose(
            (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, np.reshape(centres, (-1, 2)), atol=1e-4
        )


def test_boxes_become_corners() -> None:
    (found,) = postprocess(output([50, 40, 20, 10, 0.2, 0.9]), conf=0.5)
    assert found.boxes.tolist() == [[40, 35, 60, 45]]
    assert found.scores.tolist() == [np.float32(0.9)]
    assert found.classes.tolist() == [1]
    assert (found.boxes.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)


def test_multi_label_gives_a_candidate_for_every_class() -> None:
    raw = output([50, 40, 20, 10, 0.6, 0.9])
    assert postprocess(raw, conf=0.5)[0].classes.tolist() == [1, 0]
    assert postprocess(raw, conf=0.5, multi_label=False)[0].classes.tolist() == [1]
    assert postprocess(raw, conf=0.5, agnostic=True)[0].classes.tolist() == [1]


def test_conf_itself_is_not_enough() -> None:
    assert len(postprocess(output([5, 5, 2, 2, 0.5]), conf=0.5)[0]) == 0


def test_max_det_keeps_the_best() -> None:
    raw = noise(1, 2, 80)
    (everything,) = postprocess(raw, conf=0.1)
    (some,) = postprocess(raw, conf=0.1, max_det=7)
    np.testing.assert_array_equal(some.scores, everything.scores[:7])
    np.testing.assert_array_equal(some.boxes, everything.boxes[:7])


def test_max_candidates_keeps_the_best_and_the_first_of_equals() -> None:
    far = [[100.0 * i, 0, 10, 10, score] for i, score in enumerate([0.5, 0.9, 0.5, 0.5, 0.7])]
    (found,) = postprocess(output(*far), max_candidates=3)
    assert found.boxes[:, 0].tolist() == [95, 395, -5]


def test_broken_anchors_give_nothing() -> None:
    raw = output([np.nan, 5, 2, 2, 0.9], [5, 5, np.inf, 2, 0.9], [5, 5, 2, 2, np.nan], [50, 50, 4, 4, 0.4])
    (found,) = postprocess(raw)
    assert found.boxes.tolist() == [[48, 48, 52, 52]]


@pytest.mark.parametrize("shape", [(0, 6, 10), (2, 6, 0)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    found = postprocess(np.zeros(shape, np.float32))
    assert [d.boxes.shape for d in found] == [(0, 4)] * shape[0]


def test_input_that_is_not_contiguous() -> None:
    raw = noise(2, 3, 40)
    apart = np.ascontiguousarray(raw.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert_same(postprocess(apart), postprocess(raw))
    assert_same(postprocess(raw[::-1, :, ::2]), postprocess(raw[::-1, :, ::2].copy()))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_dtypes_are_converted(dtype: type) -> None:
    raw = noise(2, 3, 40).astype(dtype)
    assert_same(postprocess(raw), postprocess(raw.astype(np.float32)))


def test_values_beyond_float32_are_infinite() -> None:
    raw = output([5, 5, 2, 2, 0.9], [50, 50, 4, 4, 0.4]).astype(np.float64)
    raw[0, 0, 0] = 1e300
    assert postprocess(raw)[0].boxes.tolist() == [[48, 48, 52, 52]]


def test_only_the_classes_asked_for() -> None:
    raw = noise(2, 5, 60)
    everything, some = postprocess(raw), postprocess(raw, classes=[3, 1, 3])
    for a, b in zip(everything, some, strict=True):
        mask = np.isin(a.classes, [1, 3])
        assert b.scores.tolist() == a.scores[mask].tolist()
        assert set(b.classes.tolist()) == {1, 3}
    assert [len(found) for found in postprocess(raw, classes=[])] == [0, 0]
    # An anchor's best class is its best of all: if that one is not wanted, the anchor gives nothing.
    one = output([50, 40, 20, 10, 0.6, 0.9])
    assert len(postprocess(one, classes=[0], multi_label=False)[0]) == 0
    assert postprocess(one, classes=[0])[0].classes.tolist() == [0]


def test_equal_scores_by_anchor_then_class() -> None:
    raw = output([50, 10, 4, 4, 0.5, 0.5], [10, 10, 4, 4, 0.5, 0.5])
    (found,) = postprocess(raw)
    assert found.boxes[:, 0].tolist() == [48, 48, 8, 8]
    assert found.classes.tolist() == [0, 1, 0, 1]
    assert postprocess(raw, max_candidates=3)[0].classes.tolist() == [0, 1, 0]


def test_very_many_equal_scores() -> None:
    """Far more than are kept in memory: the first anchors still win, with all their classes."""
    raw = noise(1, 20, 1000)
    raw[:, 4:] = 0.5
    raw[0, 4:, 7] = 0.75
    options: dict[str, Any] = {"max_det": 2, "max_candidates": 50, "iou": 1.0}
    assert postprocess(raw, **options)[0].classes.tolist() == [0, 1]
    options["max_det"] = 50
    (found,) = postprocess(raw, **options)
    assert found.classes.tolist() == [*range(20), *range(20), *range(10)]
    assert_same([found], reference.postprocess(raw, **options))


def test_another_thread_writing_the_head_cannot_crash_it() -> None:
    raw = noise(1, 8, 2000)
    values = [noise(1, 8, 2000, seed) for seed in range(3)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for value in values:
                raw[:] = value

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(60):
            (found,) = postprocess(raw, multi_label=i % 2 == 0, max_candidates=1000)
            assert len(found) <= 300
            assert found.classes.max() < 8
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("raw", "options", "error", "message"),
    [
        (np.zeros((6, 10), np.float32), {}, ValueError, r"shape \(6, 10\); expected \[B, 4 \+ C, A\]"),
        (np.zeros((1, 4, 10), np.float32), {}, ValueError, "at least one class"),
        (np.zeros((1, 6, 10), np.int64), {}, TypeError, "dtype int64; expected float32"),
        (np.zeros((1, 6, 10), np.float32), {"max_det": 0}, ValueError, "max_det is 0"),
        (np.zeros((1, 6, 10), np.float32), {"iou": 2.0}, ValueError, "iou is 2.0"),
        (np.zeros((1, 6, 10), np.float32), {"conf": np.nan}, ValueError, "conf is nan"),
        (np.zeros((1, 6, 10), np.float32), {"classes": [2]}, ValueError, "from 2 to 2; expected 0 to 1"),
        (np.zeros((1, 6, 10), np.float32), {"classes": [-1]}, ValueError, "from -1 to -1"),
        (np.zeros((1, 6, 10), np.float32), {"classes": [0.5]}, TypeError, "classes has dtype float64"),
        (np.zeros((1, 6, 10), np.float32), {"classes": 1}, ValueError, r"expected \[K\]"),
        (np.zeros((1, 6, 10), np.float32), {"max_det": 1.5}, TypeError, "integer"),
    ],
)
def test_wrong_input_is_named(
    raw: np.ndarray, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        postprocess(raw, **options)
