"""The rules for bad boxes: what is kept, clipped or dropped, and why."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolofast.formats.boxes import apply_box_rules, xywh_to_xyxy, xyxy_to_xywhn
from yolofast.types import Finding

NAN, INF = float("nan"), float("inf")
SIZE = [200, 100]


class Ruled(NamedTuple):
    """What the rules gave for one image."""

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    dropped: list[Finding]
    notes: list[Finding]


def rule_images(images: list[list[tuple[int, list[float]]]]) -> list[Ruled]:
    """Images as lists of (class, box), ruled on together."""
    rows = [row for image in images for row in image]
    got = apply_box_rules(
        np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4),
        np.array([label for label, _ in rows], dtype=np.int64),
        np.array([i for image in images for i in range(1, len(image) + 1)], dtype=np.int64),
        [len(image) for image in images],
        np.array([SIZE] * len(images), dtype=np.int64).reshape(-1, 2),
        ["labels.txt"] * len(images),
        num_classes=3,
    )
    assert got.offsets[0] == 0
    assert got.offsets[-1] == len(got.boxes) == len(got.classes) == len(got.lines)
    cuts = [slice(begin, end) for begin, end in zip(got.offsets, got.offsets[1:], strict=False)]
    return [
        Ruled(got.boxes[c], got.classes[c], got.lines[c], got.dropped.get(i, []), got.notes.get(i, []))
        for i, c in enumerate(cuts)
    ]


def rule(boxes: list[list[float]], classes: list[int] | None = None) -> Ruled:
    labels = classes if classes is not None else [0] * len(boxes)
    (result,) = rule_images([list(zip(labels, boxes, strict=True))])
    return result


@pytest.mark.parametrize(
    ("box", "label", "code"),
    [
        ([NAN, 0, 10, 10], 0, "box-nan"),
        ([0, 0, INF, 10], 0, "box-nan"),
        ([0, 0, 10, 10], 3, "box-class"),
        ([0, 0, 10, 10], -1, "box-class"),
        ([-2.1, 0, 10, 10], 0, "box-outside"),
        ([0, 0, 10, 101.1], 0, "box-outside"),
        ([1e300, 0, 1e308, 10], 0, "box-outside"),
        ([10, 10, 10, 20], 0, "box-empty"),
        ([20, 10, 20, 10], 0, "box-empty"),
        ([-1.5, 10, -0.5, 20], 0, "box-empty"),
    ],
)
def test_bad_row_is_dropped_and_the_others_stay(box: list[float], label: int, code: str) -> None:
    result = rule([[0, 0, 5, 5], box, [1, 1, 7, 7]], [1, label, 2])
    assert result.lines.tolist() == [1, 3]
    assert result.classes.tolist() == [1, 2]
    assert [(f.code, f.line, f.file) for f in result.dropped] == [(code, 2, "labels.txt")]


@pytest.mark.parametrize(
    ("box", "clipped", "noted"),
    [
        ([-1.9, 0, 10, 10], [0, 0, 10, 10], True),
        ([0, 0, 200.5, 100.9], [0, 0, 200, 100], True),
        ([-0.01, 0, 200.01, 100], [0, 0, 200, 100], False),
        ([0, 0, 200, 100], [0, 0, 200, 100], False),
    ],
)
def test_small_overshoot_is_clipped(box: list[float], clipped: list[float], noted: bool) -> None:
    result = rule([box])
    assert result.boxes.tolist() == [clipped]
    assert result.dropped == []
    assert [f.code for f in result.notes] == ["box-clipped"] * noted


@pytest.mark.parametrize("box", [[20, 10, 10, 30], [10, 30, 20, 10], [20, 30, 10, 10]])
def test_swapped_corners_are_put_right_and_said(box: list[float]) -> None:
    result = rule([box, [10, 10, 20, 30]])
    assert result.boxes.tolist() == [[10, 10, 20, 30]]  # the second is an exact repeat of the mended first
    assert [f.code for f in (*result.dropped, *result.notes)] == ["box-duplicate", "box-swapped"]


def test_repeats_keep_the_first_and_the_order() -> None:
    a, b = [0, 0, 5, 5], [1, 1, 6, 6]
    result = rule([a, b, a, a, b], [0, 0, 0, 1, 0])
    assert result.lines.tolist() == [1, 2, 4]
    assert [(f.code, f.line) for f in result.dropped] == [("box-duplicate", 3), ("box-duplicate", 5)]


def test_no_boxes() -> None:
    result = rule([])
    assert result.boxes.shape == (0, 4)
    assert result.dropped == result.notes == []


@given(
    st.lists(
        st.tuples(st.integers(-1, 3), *[st.floats(width=64) | st.floats(-3, 203) for _ in range(4)]),
        max_size=12,
    )
)
def test_every_row_is_kept_or_listed(rows: list[tuple[int, float, float, float, float]]) -> None:
    result = rule([list(r[1:]) for r in rows], [r[0] for r in rows])
    assert len(rows) == len(result.boxes) + len(result.dropped)
    assert (result.boxes >= 0).all()
    assert (result.boxes <= [200, 100, 200, 100]).all()
    assert (result.boxes[:, 2:] > result.boxes[:, :2]).all()


def test_normalised_boxes_round_trip() -> None:
    boxes = np.array([[0.5, 0.5, 1.0, 1.0], [0.25, 0.125, 0.1, 0.2]])
    pixels = xywh_to_xyxy(boxes) * [640, 480, 640, 480]
    np.testing.assert_allclose(pixels[0], [0, 0, 640, 480])
    np.testing.assert_allclose(xyxy_to_xywhn(pixels, (640, 480)), boxes, rtol=0, atol=1e-15)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(-1, 2), st.sampled_from([0.0, -0.0, 3.0, 7.5, 250.0, NAN]), st.just(5.0)),
            max_size=4,
        ),
        max_size=6,
    )
)
def test_images_are_ruled_together_as_they_are_alone(images: list[list[tuple[int, float, float]]]) -> None:
    rows = [[(label, [x, 0.0, x + side, side]) for label, x, side in image] for image in images]
    for image, got in zip(rows, rule_images(rows), strict=True):
        (alone,) = rule_images([image])
        assert (got.boxes.tolist(), got.classes.tolist()) == (alone.boxes.tolist(), alone.classes.tolist())
        assert (got.lines.tolist(), got.dropped) == (alone.lines.tolist(), alone.dropped)
