"""postprocess: which anchors become detections, in which order."""

from __future__ import annotations

import numpy as np
import pytest

from yolofast.kernels import postprocess, reference


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
    for a, b in zip(postprocess(raw), postprocess(apart), strict=True):
        np.testing.assert_array_equal(a.boxes, b.boxes)


@pytest.mark.parametrize(
    ("raw", "options", "error", "message"),
    [
        (np.zeros((6, 10), np.float32), {}, ValueError, r"shape \(6, 10\); expected \[B, 4 \+ C, A\]"),
        (np.zeros((1, 4, 10), np.float32), {}, ValueError, "at least one class"),
        (np.zeros((1, 6, 10), np.int64), {}, TypeError, "dtype int64; expected float32"),
        (np.zeros((1, 6, 10), np.float32), {"max_det": 0}, ValueError, "max_det is 0"),
        (np.zeros((1, 6, 10), np.float32), {"iou": 2.0}, ValueError, "iou is 2.0"),
    ],
)
def test_wrong_input_is_named(
    raw: np.ndarray, options: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        postprocess(raw, **options)
