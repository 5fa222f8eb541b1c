"""Plots of a run: grids of predictions (OpenCV), and curves and matrices (matplotlib, extra `plots`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.evaluate.drawing import draw_boxes, put_text, text_size, write_image
from yolofast.images import read_image
from yolofast.result_pictures import chart_label, new_figure, save_figure
from yolofast.types import Detections, Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GRID_IMAGES = 16
GRID_CELL = 480
"""Long side of an image in a grid, in pixels."""
GRID_GAP = 8
TITLE_HEIGHT = 26

MAX_LEGEND_CLASSES = 20
"""Up to this many classes have a colour and a legend entry each; with more, only the mean has."""

MAX_NUMBERED_ROWS = 25
"""Up to this many rows the cells of a confusion matrix show their numbers."""

MAX_NAME_LENGTH = 24
"""Characters of a class name in a chart."""

PURPOSE = "Plotting curves"

TRAINING_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "training loss",
        (("train_box", "box"), ("train_cls", "class"), ("train_dfl", "distribution")),
    ),
    (
        "validation loss",
        (("val_box", "box"), ("val_cls", "class"), ("val_dfl", "distribution")),
    ),
    (
        "mean average precision",
        (("map50", "mAP50"), ("map50_95", "mAP50-95")),
    ),
    ("learning rate", (("lr", "lr"),)),
)


@dataclass(frozen=True, slots=True)
class GridImage:
    """One image of a grid; `image` uint8 [H, W, 3] RGB, boxes are xyxy in its pixels."""

    title: str
    image: NDArray[np.uint8]
    detections: Detections


def plot_prediction_grid(
    found: Sequence[tuple[str | Path, Detections]], class_names: Sequence[str], path: str | Path
) -> Path:
    """Plot up to 16 image files with their detections (in pixels of the files) into one image.

        found = list(predict_images(model, paths, imgsz=640))
        plot_prediction_grid(found, model.class_names, "grid.png")

    Raises `DataError` for no images or a `path` that cannot be written, `ImageError` for a file that
    cannot be read.
    """
    panels = [GridImage(Path(file).name, read_image(Path(file)), seen) for file, seen in found[:GRID_IMAGES]]
    return plot_panels(panels, class_names, path)


def plot_panels(panels: Sequence[GridImage], class_names: Sequence[str], path: str | Path) -> Path:
    """Plot up to 16 panels into one image.

    The suffix of `path` selects the format. Raises `DataError` for no panels or a path that cannot be
    written.
    """
    if not panels:
        raise DataError("prediction grid: got no images, expected at least one.")
    return write_image(tiled([_panel_picture(panel, class_names) for panel in panels[:GRID_IMAGES]]), path)


def tiled(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """At least one picture uint8 [H, W, 3] RGB, of any sizes, on a white page that is about square."""
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    _, columns = _page(len(pictures), height, width)
    rows = [pictures[begin : begin + columns] for begin in range(0, len(pictures), columns)]
    heights = [max(p.shape[0] for p in row) for row in rows]
    shape = (sum(heights) + GRID_GAP * (len(rows) + 1), columns * (width + GRID_GAP) + GRID_GAP, 3)
    page = np.full(shape, 255, np.uint8)
    y = GRID_GAP
    for row, row_height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            x = GRID_GAP + column * (width + GRID_GAP)
            page[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        y += row_height + GRID_GAP
    return page


def _page(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a page of `count` images: about square, with few empty cells."""
    ideal = math.sqrt(count * height / width)
    columns = min(range(1, count + 1), key=lambda c: abs(c - ideal) + 0.2 * (-count % c))
    return -(-count // columns), columns


def _panel_picture(panel: GridImage, class_names: Sequence[str]) -> NDArray[np.uint8]:
    scale = GRID_CELL / max(panel.image.shape[:2])
    return titled(draw_boxes(panel.image, scale, panel.detections, class_names), panel.title)


def titled(picture: NDArray[np.uint8], title: str) -> NDArray[np.uint8]:
    """`picture` uint8 [H, W, 3] below a white strip with `title`, whose end is kept where room is short."""
    strip = np.full((TITLE_HEIGHT, picture.shape[1], 3), 255, np.uint8)
    shown = title
    while len(shown) > 4 and text_size(shown, 0.5)[0] > picture.shape[1] - 8:
        shown = "..." + shown[4:]
    put_text(strip, shown, (4, 18), 0.5, (0, 0, 0))
    return np.concatenate((strip, picture))


def plot_pr_curves(metrics: Metrics, path: str | Path) -> Path:
    """Plot precision over recall at IoU 0.5: a line per class with its AP50, and one for the mean.

    Classes without ground truth have no curve. Raises `MissingExtraError` without matplotlib and
    `DataError` when `path` cannot be written.
    """
    figure = new_figure(8.0, 6.0, PURPOSE)
    axes = figure.subplots()
    with_boxes = [i for i, c in enumerate(metrics.classes) if not math.isnan(c.ap50)]
    named = len(with_boxes) <= MAX_LEGEND_CLASSES
    for rank, index in enumerate(with_boxes):
        entry = metrics.classes[index]
        axes.plot(
            metrics.pr_recall,
            metrics.pr_precision[index],
            color=_class_colour(rank, len(with_boxes)) if named else "0.75",
            linewidth=1.5 if named else 0.8,
            label=f"{class_label(entry.name, index)}  {entry.ap50:.3f}" if named else "_",
        )
    if with_boxes:
        axes.plot(
            metrics.pr_recall,
            metrics.pr_precision[with_boxes].mean(axis=0),
            color="black",
            linewidth=2.5,
            linestyle="--",
            label=f"all classes  {metrics.map50:.3f} mAP50",
        )
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=9)
    else:
        axes.text(0.5, 0.5, "no ground truth", ha="center", va="center")
    axes.set(
        xlabel="recall",
        ylabel="precision",
        xlim=(0, 1),
        ylim=(0, 1.02),
        title=f"Precision and recall at IoU 0.5 ({metrics.images} images, {metrics.boxes} boxes)",
    )
    axes.grid(alpha=0.3)
    return save_figure(figure, path)


def plot_confidence_curves(metrics: Metrics, path: str | Path) -> Path:
    """Plot precision, recall and F1 at IoU 0.5 over the confidence threshold, per class and (bold) the mean.

    The threshold of the best mean F1, at which `metrics` gives its P, R and F1, is marked in each panel.
    Classes without ground truth have no curve. Raises `MissingExtraError` without matplotlib and
    `DataError` when `path` cannot be written.
    """
    figure = new_figure(15.0, 5.4, PURPOSE)
    with_boxes = [i for i, c in enumerate(metrics.classes) if c.boxes]
    curves = metrics.confidence_curves
    panels = (
        ("precision", curves.precision, metrics.precision),
        ("recall", curves.recall, metrics.recall),
        ("F1", curves.f1, metrics.f1),
    )
    for axes, (name, rates, at_best) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.set(xlabel="confidence", ylabel=name, xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        if not with_boxes:
            axes.set_title(name)
            axes.text(0.5, 0.5, "no ground truth", ha="center", va="center")
            continue
        axes.set_title(f"{name} {at_best:.3f} at confidence {metrics.confidence:.3f}")
        axes.axvline(metrics.confidence, color="0.4", linewidth=1.0, linestyle=":")
        _plot_rates(axes, metrics, rates, with_boxes)
        axes.plot(
            [metrics.confidence],
            [at_best],
            "o",
            color="black",
            markersize=8,
            clip_on=False,
            label="best mean F1",
        )
    if with_boxes:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    return save_figure(figure, path)


def _plot_rates(axes: Axes, metrics: Metrics, rates: NDArray[np.float64], with_boxes: Sequence[int]) -> None:
    named = len(with_boxes) <= MAX_LEGEND_CLASSES
    confidence = metrics.confidence_curves.confidence
    for rank, index in enumerate(with_boxes):
        axes.plot(
            confidence,
            rates[index],
            color=_class_colour(rank, len(with_boxes)) if named else "0.82",
            linewidth=1.0 if named else 0.5,
            label=class_label(metrics.classes[index].name, index) if named else "_",
        )
    axes.plot(confidence, rates[with_boxes].mean(axis=0), color="black", linewidth=2.5, label="all classes")


def plot_confusion(
    matrix: NDArray[np.int64],
    class_names: Sequence[str],
    path: str | Path,
    *,
    normalize: bool = True,
    title: str = "Confusion matrix",
) -> Path:
    """Plot a matrix of counts [C + 1, C + 1]: rows predicted classes, columns true classes, background last.

    `normalize` shows each column's shares: the diagonal is then the recall of each class, and the background
    column shows which classes the false positives have. Zeros are white; the other cells show their
    number when there is room. Raises `MissingExtraError`
    without matplotlib and `DataError` when `path` cannot be written.
    """
    size = len(matrix)
    numbered = size <= MAX_NUMBERED_ROWS
    side = max(3.0, 0.55 * size) if numbered else min(0.16 * size, 22.0)
    figure = new_figure(side + 3.0, side + 2.2, PURPOSE)
    from matplotlib.colors import PowerNorm

    axes = figure.subplots()
    values = matrix / np.maximum(matrix.sum(axis=0), 1) if normalize else matrix.astype(np.float64)
    top = 1.0 if normalize else max(1.0, float(values.max()))
    # Without numbers, the few confusions must stay visible next to the many correct predictions.
    scale = PowerNorm(1.0 if numbered else 0.5, vmin=0.0, vmax=top)
    picture = axes.imshow(np.where(matrix > 0, values, np.nan), cmap="Blues", norm=scale)
    figure.colorbar(
        picture, ax=axes, shrink=0.8, aspect=30, label="share of the column" if normalize else "count"
    )
    axes.set(xlabel="true class", ylabel="predicted class", title=title)
    _label_classes(axes, class_names, max(1, math.ceil(0.16 * size / side)), 10 if numbered else 7)
    if numbered:
        for row, column in np.argwhere(matrix > 0).tolist():
            value = values[row, column]
            text = f"{value:.2f}" if normalize else f"{value:.0f}"
            colour = "white" if value > 0.55 * top else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    return save_figure(figure, path)


def _label_classes(axes: Axes, class_names: Sequence[str], step: int, fontsize: int) -> None:
    """Put every `step`-th class name, shortened, along both axes, and lines between the cells."""
    names = [*(class_label(name, index) for index, name in enumerate(class_names)), "background"]
    ticks = range(0, len(names), step)
    upright = len(names) <= 4 and max(map(len, names)) <= 12
    axes.set_xticks(ticks, names[::step], rotation=0 if upright else 90, fontsize=fontsize)
    axes.set_yticks(ticks, names[::step], fontsize=fontsize)
    between, end = np.arange(1, len(names)) - 0.5, len(names) - 0.5
    axes.hlines(between, -0.5, end, color="0.9", linewidth=0.5)
    axes.vlines(between, -0.5, end, color="0.9", linewidth=0.5)


def plot_training(history: Sequence[Mapping[str, float]], path: str | Path) -> Path:
    """Plot losses, mAP and learning rate over the epochs of a training run.

    `history` has a row per epoch with `epoch` (from 1) and the columns of results.csv; a column that
    no row has is omitted. Raises `DataError` for an empty history or when `path` cannot be
    written, and `MissingExtraError` without matplotlib.
    """
    if not history:
        raise DataError("training history: got no epochs, expected at least one. Train before plotting.")
    figure = new_figure(12.0, 7.0, PURPOSE)
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    for axes, (title, columns) in zip(figure.subplots(2, 2).flat, TRAINING_PANELS, strict=True):
        for column, label in columns:
            values = np.array([row.get(column, math.nan) for row in history], dtype=np.float64)
            if not np.isnan(values).all():
                axes.plot(epochs, values, label=label, marker="o" if len(history) < 30 else "", markersize=3)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_ylim(bottom=0)
        if len(columns) > 1:
            axes.set_ylim(top=1.25 * axes.get_ylim()[1])  # room for the legend
        if title == "mean average precision":
            axes.set_ylim(0, 1)
        if not axes.lines:
            axes.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axes.transAxes)
        elif len(columns) > 1:
            axes.legend(fontsize=9, loc="upper right", ncols=len(columns))
        axes.grid(alpha=0.3)
    return save_figure(figure, path)


def _class_colour(rank: int, count: int) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    return colormaps["tab10"](rank) if count <= 10 else colormaps["tab20"](rank)


def class_label(name: str, index: int) -> str:
    """The class name for a chart, or the class number when the font lacks a character."""
    return chart_label(name, f"class {index}", MAX_NAME_LENGTH)
