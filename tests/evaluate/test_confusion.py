"""ConfusionMatrix: cases worked out by hand, and the definition as a loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.evaluate import ConfusionMatrix, plots
from yolofast.types import Detections

NAMES = ("cat", "dog")
LEFT, RIGHT, AWAY = [0.0, 0, 10, 10], [100.0, 0, 110, 10], [500.0, 500, 510, 510]


def found(boxes: object, scores: object, classes: object) -> Detections:
    return Detections(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        np.asarray(classes, np.int64),
    )


NOTHING = found([], [], [])


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(sides.clip(0)))
    both = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / both if both > 0 else 0.0


def by_definition(
    detections: Detections,
    boxes: NDArray[np.float64],
    classes: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    settings: tuple[int, float, float],
) -> NDArray[np.int64]:
    """One image: every pair by falling IoU, one at a time."""
    count, conf, threshold = settings
    matrix = np.zeros((count + 1, count + 1), np.int64)
    shown = [d for d in range(len(detections)) if detections.scores[d] > conf]
    found_boxes = detections.boxes.astype(np.float64)
    pairs = [
        (-overlap, detections.classes[d] != classes[g], -detections.scores[d], d, g)
        for d in shown
        for g in range(len(boxes))
        if not crowd[g] and (overlap := iou(found_boxes[d], boxes[g])) > threshold
    ]
    paired_dt: set[int] = set()
    paired_gt: set[int] = set()
    for *_, d, g in sorted(pairs):
        if d not in paired_dt and g not in paired_gt:
            paired_dt.add(d)
            paired_gt.add(g)
            matrix[detections.classes[d], classes[g]] += 1
    for d in set(shown) - paired_dt:
        box = found_boxes[d]
        shares = [
            np.prod((np.minimum(box[2:], r[2:]) - np.maximum(box[:2], r[:2])).clip(0))
            / np.prod(box[2:] - box[:2])
            for r in boxes[crowd]
        ]
        if not any(share > threshold for share in shares):
            matrix[detections.classes[d], count] += 1
    for g in np.flatnonzero(~crowd):
        if g not in paired_gt:
            matrix[count, classes[g]] += 1
    return matrix


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("step", [1.0, 5.0])
def test_equals_the_definition(seed: int, step: float) -> None:
    """Boxes on a coarse grid: many overlaps and scores are equal."""
    rng = np.random.default_rng(seed)
    settings = (3, 0.25, float(rng.choice([0.0, 0.3, 0.45])))
    matrix = ConfusionMatrix("abc", settings[1], settings[2])
    expected = np.zeros((4, 4), np.int64)
    batch, boxes, classes, crowds, images = [], [], [], [], []
    for image in range(5):
        objects, detections = rng.integers(0, 9), rng.integers(0, 20)
        corner = rng.integers(0, 8, (objects + detections, 2)) * step
        box = np.concatenate([corner, corner + rng.integers(1, 6, corner.shape) * step], axis=1)
        batch.append(found(box[objects:], rng.integers(0, 5, detections) / 4, rng.integers(0, 3, detections)))
        boxes.append(box[:objects])
        classes.append(rng.integers(0, 3, objects))
        crowds.append(rng.random(objects) < 0.2)
        images += [image] * objects
        expected += by_definition(batch[-1], boxes[-1], classes[-1], crowds[-1], settings)
    order = rng.permutation(len(images))
    matrix.update(
        batch,
        np.concatenate(boxes)[order],
        np.concatenate(classes)[order],
        np.concatenate(crowds)[order],
        gt_images=np.array(images, np.int64)[order],
    )
    assert expected.sum() > 20
    np.testing.assert_array_equal(matrix.matrix, expected)


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "expected"),
    [
        pytest.param([LEFT, RIGHT], [0.9, 0.8], [0, 1], [[1, 0, 0], [0, 1, 0], [0, 0, 0]], id="right"),
        pytest.param([LEFT, RIGHT], [0.9, 0.8], [1, 1], [[0, 0, 0], [1, 1, 0], [0, 0, 0]], id="cat for dog"),
        pytest.param([LEFT, AWAY], [0.9, 0.8], [0, 1], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], id="away"),
        pytest.param([LEFT, RIGHT], [0.9, 0.25], [0, 1], [[1, 0, 0], [0, 0, 0], [0, 1, 0]], id="not above"),
        pytest.param([LEFT, LEFT], [0.9, 0.8], [0, 0], [[1, 0, 1], [0, 0, 0], [0, 1, 0]], id="twice"),
        pytest.param(
            [LEFT, LEFT], [0.9, 0.8], [1, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0]], id="same class first"
        ),
        pytest.param([], [], [], [[0, 0, 0], [0, 0, 0], [1, 1, 0]], id="nothing found"),
        pytest.param([[0, 0, 10, 5]], [0.9], [0], [[1, 0, 0], [0, 0, 0], [0, 1, 0]], id="IoU 0.5"),
        pytest.param([[0, 0, 10, 4]], [0.9], [0], [[0, 0, 1], [0, 0, 0], [1, 1, 0]], id="IoU 0.4"),
        pytest.param([[0, 0, 0, 9]], [0.9], [0], [[0, 0, 1], [0, 0, 0], [1, 1, 0]], id="no area"),
        pytest.param([[np.nan, 0, 9, 9]], [0.9], [0], [[0, 0, 1], [0, 0, 0], [1, 1, 0]], id="NaN"),
        pytest.param([[0, 0, np.inf, 9]], [0.9], [0], [[0, 0, 1], [0, 0, 0], [1, 1, 0]], id="infinite"),
        pytest.param([[10, 10, 0, 0]], [0.9], [0], [[0, 0, 1], [0, 0, 0], [1, 1, 0]], id="inverted"),
    ],
)
def test_a_cat_at_the_left_and_a_dog_at_the_right(
    boxes: object, scores: object, classes: object, expected: object
) -> None:
    matrix = ConfusionMatrix(NAMES).update(found(boxes, scores, classes), [LEFT, RIGHT], [0, 1])
    assert matrix.matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix.matrix, expected)


def test_the_largest_overlap_is_taken_first_whatever_the_scores() -> None:
    near, nearer = [0, 0, 10, 6], [0, 0, 10, 9]
    matrix = ConfusionMatrix(NAMES).update(found([near, nearer], [0.9, 0.3], [0, 1]), [LEFT], [0])
    np.testing.assert_array_equal(matrix.matrix, [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_crowds_are_not_missed_and_what_is_in_them_does_not_count() -> None:
    crowd = [0, 0, 100, 100]
    detections = found([[1, 1, 9, 9], AWAY, [90, 0, 120, 10]], [0.9, 0.8, 0.7], [0, 1, 0])
    matrix = ConfusionMatrix(NAMES).update(detections, [crowd, crowd], [0, 1], [True, True])
    np.testing.assert_array_equal(matrix.matrix, [[0, 0, 1], [0, 0, 1], [0, 0, 0]])


def test_merged_matrices_are_that_of_all_images() -> None:
    batch = [found([LEFT], [0.9], [1]), NOTHING, found([AWAY], [0.5], [0])]
    whole = ConfusionMatrix(NAMES).update(batch, [LEFT, RIGHT], [0, 1], gt_images=[0, 1])
    first = ConfusionMatrix(NAMES).update(batch[0], [LEFT], [0])
    second = ConfusionMatrix(NAMES).update(batch[1:], [RIGHT], [1], gt_images=[0])
    assert first.merge(second) is first
    np.testing.assert_array_equal(first.matrix, whole.matrix)
    np.testing.assert_array_equal(whole.matrix, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    "other", [ConfusionMatrix("abc"), ConfusionMatrix(NAMES, 0.3), ConfusionMatrix(NAMES, 0.25, 0.5)]
)
def test_only_the_same_settings_are_merged(other: ConfusionMatrix) -> None:
    with pytest.raises(ValueError, match="cannot merge"):
        ConfusionMatrix(NAMES).merge(other)


@pytest.mark.parametrize(("conf", "iou"), [(-0.1, 0.5), (0.5, 1.1), (np.nan, 0.5)])
def test_settings_outside_their_range(conf: float, iou: float) -> None:
    with pytest.raises(ValueError, match=r"expected both in 0\.\.1"):
        ConfusionMatrix(NAMES, conf, iou)


def test_input_that_does_not_fit_is_named_and_leaves_nothing() -> None:
    matrix = ConfusionMatrix(NAMES)
    with pytest.raises(ValueError, match="at least one class"):
        ConfusionMatrix([])
    with pytest.raises(DataError, match="a label has class 2; expected 0 to 1"):
        matrix.update(NOTHING, [LEFT], [2])
    with pytest.raises(DataError, match="a detection has class -1"):
        matrix.update(found([LEFT], [0.9], [-1]), [LEFT], [0])
    with pytest.raises(TypeError, match="gt_classes has dtype float64"):
        matrix.update(NOTHING, [LEFT], [0.0])
    with pytest.raises(ValueError, match="NaN"):
        matrix.update(found([LEFT, AWAY], [0.9, np.nan], [0, 0]), [LEFT], [0])
    with pytest.raises(ValueError, match="2 images without gt_images"):
        matrix.update([NOTHING, NOTHING], [LEFT], [0])
    assert matrix.matrix.sum() == 0
    matrix.update([], np.empty((0, 4)), [], gt_images=[])
    matrix.update(NOTHING, [], [])
    assert matrix.matrix.sum() == 0


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("classes", [1, 2, 25, 150])
def test_picture(classes: int, normalize: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    drawn = []
    save = plots.save_figure
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path))[1]
    )
    names = ["猫", "a very long name of a class, and $5"][:classes] + [f"c{i}" for i in range(2, classes)]
    matrix = ConfusionMatrix(names)
    matrix.matrix[0, 0], matrix.matrix[classes, 0] = 3, 1
    path = matrix.plot(tmp_path / "new" / "matrix.png", normalize)
    assert path.read_bytes().startswith(b"\x89PNG")
    axes = drawn[0].axes[0]
    numbers = ["0.75", "0.25"] if normalize else ["3", "1"]
    assert [text.get_text() for text in axes.texts] == (numbers if classes < plots.MAX_NUMBERED_ROWS else [])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == "class 0"
    assert len(labels) == classes + 1 or classes == 150
    shown = axes.images[0].get_array()
    assert (shown.mask.sum(), shown[0, 0]) == ((classes + 1) ** 2 - 2, 0.75 if normalize else 3)


@pytest.mark.parametrize("normalize", [True, False])
def test_picture_of_nothing(normalize: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = ConfusionMatrix(NAMES).plot(tmp_path / "empty.png", normalize)
    assert path.read_bytes().startswith(b"\x89PNG")
