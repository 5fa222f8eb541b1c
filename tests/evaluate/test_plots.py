"""Pictures: written whole, with every box's colour in place, labels that do not hide each other."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from yolofast.errors import DataError, MissingExtraError
from yolofast.evaluate import (
    CocoMetrics,
    drawing,
    plot_confidence_curves,
    plot_detections,
    plot_pr_curves,
    plot_prediction_grid,
    plot_training,
    plots,
)
from yolofast.images import read_image
from yolofast.types import ClassMetrics, ConfidenceCurves, Detections, Metrics

NAMES = ("disc", "猫", "costs $5")


def detections(boxes: list[list[float]], classes: list[int]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.3, len(boxes)).astype(np.float32),
        np.array(classes, np.int64),
    )


def metrics(classes: int) -> Metrics:
    recall = np.linspace(0, 1, 101)
    curves = np.stack([np.where(recall < 0.9 - c / 50, 1 - recall**2 / 3, 0.0) for c in range(classes)])
    rows = [
        ClassMetrics(NAMES[c] if c < len(NAMES) else f"c{c}", 3, 9, 0.8, 0.7, 0.75, curves[c].mean(), 0.5)
        for c in range(classes)
    ]
    if classes > 1:  # the last class has no ground truth
        curves[-1] = np.nan
        rows[-1] = ClassMetrics("absent", 0, 0, *[np.nan] * 5)
    rates = ConfidenceCurves(
        recall, curves, curves[:, ::-1], np.sqrt(np.maximum(curves * curves[:, ::-1], 0))
    )
    return Metrics(
        0.8, 0.5, 0.8, 0.7, 0.75, 0.4, tuple(rows), 10, 30, 90, recall, curves, np.full(12, 0.5), {}, rates
    )


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("size", [(480, 800), (30, 50)])
def test_boxes_are_drawn_where_they_are(size: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    height, width = size
    image = np.full((height, width, 3), 128, np.uint8)
    box = [width * 0.25, height * 0.25, width * 0.75, height * 0.75]
    path = plot_detections(image, detections([box], [0]), NAMES, tmp_path / "new" / f"drawn{suffix}")
    drawn = read_image(path).astype(int)
    scale = drawn.shape[1] / width
    assert max(drawn.shape) >= 640
    coloured = np.argwhere(np.abs(drawn - 128).max(axis=2) > 60)
    low, high = coloured.min(axis=0), coloured.max(axis=0)
    np.testing.assert_allclose(high / scale, [box[3], box[2]], atol=1.5 + 3 / scale)
    assert low[1] / scale == pytest.approx(box[0], abs=1.5 + 3 / scale)
    middle = drawn[
        drawn.shape[0] * 2 // 5 : drawn.shape[0] * 3 // 5, drawn.shape[1] * 3 // 8 : drawn.shape[1] // 2
    ]
    assert np.abs(middle - 128).max() < 30, "the object itself stays visible"


def test_labels_of_a_crowd_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    taken: list[tuple[int, int, int, int]] = []
    for x, y in rng.uniform(0, 500, (25, 2)):
        box = (int(x), int(y), int(x) + 80, int(y) + 80)
        taken.append(drawing._label_area(box, (60, 14), (640, 640), taken))
    assert all(0 <= a[0] < a[2] <= 640 and 0 <= a[1] < a[3] <= 640 for a in taken)
    hidden = sum(drawing._overlap(a, b) for a, b in itertools.combinations(taken, 2))
    assert hidden < 0.02 * 25 * 60 * 14


def test_prediction_grid_of_many_sizes(tmp_path: Path) -> None:
    found = []
    for i, shape in enumerate([(40, 60), (100, 50), (64, 64), (20, 90), (33, 47)] * 4):
        path = plot_detections(
            np.full((*shape, 3), 90, np.uint8), detections([], []), NAMES, tmp_path / f"{i}.png"
        )
        found.append((path, detections([[5, 5, 200, 200], [50, 50, 90, 90]], [i % 3, 1])))
    grid = plot_prediction_grid(found, NAMES, tmp_path / "grid.png")
    assert is_png(grid)
    height, width, _ = read_image(grid).shape
    assert 0.5 < width / height < 2, "16 pictures are laid out as a page"
    with pytest.raises(DataError, match="no images"):
        plot_prediction_grid([], NAMES, tmp_path / "grid.png")


@pytest.mark.parametrize("classes", [1, 3, 30])
def test_pr_curves(classes: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = plot_pr_curves(metrics(classes), tmp_path / "new" / "pr.png")
    assert is_png(path)
    assert [p.name for p in path.parent.iterdir()] == ["pr.png"]


@pytest.mark.parametrize("classes", [1, 3, 30])
def test_confidence_curves_show_each_class_the_mean_and_the_best(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn = []
    save = plots.save_figure
    monkeypatch.setattr(
        plots, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path))[1]
    )
    figures = metrics(classes)
    path = plot_confidence_curves(figures, tmp_path / "new" / "curves.png")
    assert is_png(path)
    with_boxes = max(1, classes - 1)
    curves = figures.confidence_curves
    rates = (curves.precision, curves.recall, curves.f1)
    for axes, rate in zip(drawn[0].axes, rates, strict=True):
        lines = [line.get_ydata() for line in axes.get_lines()]
        assert len(lines) == with_boxes + 3  # the threshold, the mean and the best beside the classes
        np.testing.assert_array_equal(lines[-2], rate[:with_boxes].mean(axis=0))
    assert drawn[0].axes[2].get_title() == "F1 0.750 at confidence 0.400"


def test_curves_without_ground_truth_say_so(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    nothing = CocoMetrics(2).compute()
    assert is_png(plot_confidence_curves(nothing, tmp_path / "curves.png"))
    assert is_png(plot_pr_curves(nothing, tmp_path / "pr.png"))


@pytest.mark.parametrize("rows", [1, 50])
def test_training_curves(rows: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history = [
        {"epoch": float(e), "train_box": 3 / (e + 1), "map50": e / 60, "map50_95": np.nan, "lr": 0.01}
        for e in range(rows)
    ]
    assert is_png(plot_training(history, tmp_path / "curves.png"))
    with pytest.raises(DataError, match="no epochs"):
        plot_training([], tmp_path / "curves.png")


def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    backend = matplotlib.rcParams._get_backend_or_none()
    plot_pr_curves(metrics(2), tmp_path / "pr.png")
    assert matplotlib.rcParams._get_backend_or_none() == backend
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"yolofast\[plots\]"):
        plot_pr_curves(metrics(2), tmp_path / "pr.png")


@pytest.mark.parametrize(
    ("name", "message"), [("picture.xyz", "expected .png"), ("file/picture.png", "cannot be written")]
)
def test_a_path_that_will_not_do_is_one_clear_error(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=message):
        plot_detections(np.zeros((9, 9, 3), np.uint8), detections([], []), NAMES, tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
