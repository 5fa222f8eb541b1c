"""Pictures of training data: every box in its place, in the colour of its class."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yolofast.errors import MissingExtraError
from yolofast.evaluate.drawing import _class_colour
from yolofast.evaluate.training_pictures import BATCH_IMAGES, CELL, GAP, plot_batch, plot_labels
from yolofast.images import read_image
from yolofast.types import Batch

NAMES = ("disc", "\u732b", "costs $5")


def batch(count: int, floating: bool) -> Batch:
    """Grey images of 32 x 64 pixels; the second one has a box over its right half."""
    images = torch.full((count, 3, 32, 64), 128, dtype=torch.uint8)
    targets = torch.tensor([[1, 2, 0.75, 0.5, 0.5, 1.0]] if count > 1 else []).reshape(-1, 6)
    return Batch(images.float() / 255 if floating else images, targets, ("x",) * count, torch.zeros(count, 2))


@pytest.mark.parametrize("floating", [False, True])
def test_boxes_lie_where_the_network_gets_them(tmp_path: Path, floating: bool) -> None:
    picture = read_image(plot_batch(batch(2, floating), NAMES, tmp_path / "b.png"))
    assert picture.shape == (CELL // 2, 2 * CELL + GAP, 3)
    first, second = picture[:, :CELL], picture[:, CELL + GAP :]
    assert (first == 128).all(), "an image without boxes is shown as it is"
    colour = np.array(_class_colour(2))
    assert (second[40:-2, CELL // 2] == colour).all(), "the left side of the box"
    assert (second[40:-2, : CELL // 2 - 4] == 128).all()
    assert (second[60:100, CELL // 2 + 8 : -8] == 128).all()


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_page_has_at_most_16_images(tmp_path: Path, count: int) -> None:
    height, width = read_image(plot_batch(batch(count, False), NAMES, tmp_path / "b.png")).shape[:2]
    cells = ((height + GAP) // (CELL // 2 + GAP)) * ((width + GAP) // (CELL + GAP))
    assert min(count, BATCH_IMAGES) <= cells <= BATCH_IMAGES


@pytest.mark.parametrize(("classes", "boxes"), [(3, 0), (3, 50), (100, 500)])
def test_labels_of_any_dataset_are_plotted(
    tmp_path: Path, classes: int, boxes: int, recwarn: pytest.WarningsRecorder
) -> None:
    numbers = np.random.default_rng(0)
    rows = np.column_stack((numbers.integers(0, classes, boxes), numbers.random((boxes, 4)))).astype(
        np.float32
    )
    offsets = np.array([0, boxes // 3, boxes // 3, boxes])
    names = [*NAMES, *(f"class {c}" for c in range(3, classes))]
    path = plot_labels(rows, offsets, names, tmp_path / "labels.png")
    picture = read_image(path)
    assert picture.std() > 5
    assert not recwarn.list, "no font lacks a character"


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"yolofast\[plots\]"):
        plot_labels(np.zeros((0, 5), np.float32), np.zeros(2, np.int64), NAMES, tmp_path / "labels.png")
