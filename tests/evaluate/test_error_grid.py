"""predictions.jpg: the worst images of an evaluation, their errors marked, in a file of bounded size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yolofast.errors import DataError
from yolofast.evaluate import JudgedImage, plot_errors
from yolofast.evaluate.error_grid import COLOURS, MAX_BYTES, WorstImages
from yolofast.images import read_image
from yolofast.types import Detections


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.full(count, 0.5, np.float32), np.zeros(count, np.int64)
    )


def image(title: str, pixels: np.ndarray) -> JudgedImage:
    height, width = pixels.shape[:2]
    boxes = [(0.1 + i * 0.3, 0.3, 0.3 + i * 0.3, 0.8) for i in range(3)]
    right, wrong, missed = (found((a * width, b * height, c * width, d * height)) for a, b, c, d in boxes)
    return JudgedImage(title, pixels, right, wrong, missed)


def test_right_wrong_and_missed_have_colours_of_their_own(tmp_path: Path) -> None:
    grey = np.full((320, 480, 3), 128, np.uint8)
    path = plot_errors([image("a.jpg", grey)], ("cat",), tmp_path / "new" / "p.jpg", thresholds="x")
    picture = read_image(path).astype(int)
    for tag, share in (("TP", 0.2), ("FP", 0.5), ("FN", 0.8)):
        near = np.abs(picture[60:] - COLOURS[tag]).max(axis=2) < 40  # below the legend
        assert near.sum() > 200, tag
        columns = np.flatnonzero(near.sum(axis=0) > 20)
        assert columns.mean() / picture.shape[1] == pytest.approx(share, abs=0.08), tag


def test_sixteen_noisy_images_stay_below_a_megabyte(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    path = plot_errors(
        [image(f"{i}.jpg", noise) for i in range(16)], ("cat",), tmp_path / "p.jpg", thresholds="x"
    )
    assert path.stat().st_size < MAX_BYTES == 1_000_000
    assert min(read_image(path).shape[:2]) > 1900, "not made smaller"
    with pytest.raises(DataError, match="no images"):
        plot_errors([], ("cat",), tmp_path / "q.jpg", thresholds="x")


def test_the_worst_are_kept_and_others_never_made() -> None:
    worst, made = WorstImages(3), []
    counts = [(5, 0, 0), (0, 1, 0), (9, 2, 2), (1, 2, 2), (3, 0, 1), (0, 0, 0), (2, 3, 0)]

    def make(number: int) -> JudgedImage:
        made.append(number)
        return image(str(number), np.zeros((9, 9, 3), np.uint8))

    for number, each in enumerate(counts):
        worst.add(*each, lambda number=number: make(number))
    assert [each.title for each in worst.images()] == ["3", "2", "6"]
    assert made == [0, 1, 2, 3, 6]
