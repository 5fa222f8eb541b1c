"""Pictures of training data: batches as the network gets them, and the labels of a dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yolofast.evaluate.drawing import draw_boxes, write_image
from yolofast.evaluate.plots import class_label
from yolofast.kernels import xywhn_to_xyxy
from yolofast.result_pictures import new_figure, save_figure
from yolofast.types import Batch, Detections

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH_IMAGES = 16
CELL = 320
"""Long side of an image of a batch, in pixels."""
GAP = 4
MAX_CLASSES = 30
"""Bars of classes; the others make one bar."""
BINS = 50


def plot_batch(batch: Batch, class_names: Sequence[str], path: str | Path) -> Path:
    """Plot up to 16 images of a batch, after augmentation, with the boxes that they are trained on.

    `batch` is of torch tensors, uint8 or floating point in 0..1. The suffix of `path` selects the format.
    Raises `DataError` when `path` cannot be written.
    """
    images = batch.images[:BATCH_IMAGES].detach().cpu()
    pixels = images.float().mul(255).round().byte() if images.is_floating_point() else images
    targets: NDArray[np.float32] = batch.targets.detach().cpu().float().numpy()
    height, width = pixels.shape[2:]
    scale = CELL / max(height, width)
    pictures = []
    for i, image in enumerate(pixels.numpy()):
        own = targets[targets[:, 0] == i]
        boxes = Detections(
            xywhn_to_xyxy(own[:, 2:6], width, height),
            np.ones(len(own), np.float32),
            own[:, 1].astype(np.int64),
        )
        upright = np.ascontiguousarray(image.transpose(1, 2, 0))
        pictures.append(draw_boxes(upright, scale, boxes, class_names, with_scores=False))
    return write_image(_page(pictures), path)


def _page(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size uint8 [H, W, 3] on a white page, row by row."""
    height, width = pictures[0].shape[:2]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    page = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + GAP), i % columns * (width + GAP)
        page[y : y + height, x : x + width] = picture
    return page


def plot_labels(
    rows: NDArray[np.float32], offsets: NDArray[np.int64], class_names: Sequence[str], path: str | Path
) -> Path:
    """Plot the labels of a dataset: boxes per class and per image, box centres and box sizes.

    rows     float32 [R, 5] class, xywhn
    offsets  int64 [images + 1]: image i has rows offsets[i] to offsets[i + 1]

    Raises `MissingExtraError` without matplotlib and `DataError` when `path` cannot be written.
    """
    figure = new_figure(12.0, 9.0, "Plotting labels", dpi=100)
    from matplotlib.ticker import MaxNLocator

    classes, images, centres, sizes = figure.subplots(2, 2).flat
    _plot_classes(classes, np.bincount(rows[:, 0].astype(np.int64), minlength=len(class_names)), class_names)
    counts = np.diff(offsets)
    top = int(counts.max(initial=1))
    edges = np.arange(-0.5, top + 1) if top < BINS else np.linspace(-0.5, top + 0.5, BINS + 1)
    images.hist(counts, bins=edges, color="#0072b2", rwidth=0.9)
    empty = int(np.count_nonzero(counts == 0))
    images.set(title=f"boxes per image ({len(counts)} images, {empty} without a box)", ylabel="images")
    images.xaxis.set_major_locator(MaxNLocator(integer=True))
    images.yaxis.set_major_locator(MaxNLocator(integer=True))
    _plot_density(centres, rows[:, 1], rows[:, 2], "box centres", ("x", "y"))
    centres.invert_yaxis()
    _plot_density(sizes, rows[:, 3], rows[:, 4], "box sizes", ("width", "height"))
    return save_figure(figure, path)


def _plot_classes(axes: Axes, counts: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Horizontal bars, the most frequent class on top; all beyond `MAX_CLASSES` are one bar."""
    order = np.argsort(-counts, kind="stable")
    shown, rest = order[:MAX_CLASSES], order[MAX_CLASSES:]
    names = [class_label(class_names[c], c) for c in shown.tolist()]
    values = counts[shown].tolist()
    if len(rest):
        names.append(f"{len(rest)} more classes")
        values.append(int(counts[rest].sum()))
    bars: Any = axes.barh(range(len(names)), values, color="#0072b2")
    axes.bar_label(bars, padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8 if len(names) > 12 else 10)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(title=f"boxes per class ({counts.sum()} boxes, {len(counts)} classes)", xlabel="boxes")


def _plot_density(
    axes: Axes, x: NDArray[np.float32], y: NDArray[np.float32], title: str, names: tuple[str, str]
) -> None:
    """A heat map over shares of the image; darker means more boxes, white none."""
    counts, _, _ = np.histogram2d(x, y, bins=BINS, range=((0, 1), (0, 1)))
    shown = np.where(counts > 0, np.sqrt(counts), np.nan).T
    axes.imshow(shown, origin="lower", extent=(0, 1, 0, 1), cmap="Blues", vmin=0, aspect="equal")
    axes.set(title=f"{title} (shares of the image)", xlabel=names[0], ylabel=names[1])
