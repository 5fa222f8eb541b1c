"""The statistics of a check, by hand on small datasets, and batches against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.dataset_files import write_image, write_yolo

from yolofast.analyze import box_batches, check_data_quality
from yolofast.analyze.box_batches import BoxBatch, BoxBatches, near_duplicates
from yolofast.analyze.report_plots import ranges
from yolofast.analyze.statistics import StatisticsCounter
from yolofast.kernels import box_iou
from yolofast.types import Histogram, ImageRecord

YAML = "train: train/images\nval: valid/images\nnames: [a, b]\n"


def used(histogram: Histogram) -> dict[float, int]:
    """Lower edge -> count of the bins in use."""
    rows = zip(histogram.edges[:-1].tolist(), histogram.counts.tolist(), strict=True)
    return {edge: count for edge, count in rows if count}


def test_numbers_of_a_small_dataset(tmp_path: Path) -> None:
    images = {
        "train/images/a.jpg": "0 .25 .75 .5 .5\n1 .5 .5 1 1\n",
        "train/images/b.jpg": "0 .5 .5 .01 .02\n",
        "valid/images/c.jpg": "",
    }
    root = write_yolo(tmp_path, images, YAML)
    write_image(root / "valid/images/c.jpg", 400, 800)
    numbers = check_data_quality(root).statistics
    assert (numbers.images, numbers.boxes, numbers.empty_images) == (3, 3, 1)
    assert (numbers.split_names, numbers.split_images) == (("train", "valid"), (2, 1))
    assert numbers.class_boxes.tolist() == [[2, 1], [0, 0]]
    assert used(numbers.boxes_per_image) == {0: 1, 1: 1, 2: 1}
    assert {tuple(cell) for cell in np.argwhere(numbers.box_centres).tolist()} == {(24, 8), (16, 16)}
    assert numbers.box_centres[16, 16] == 2
    assert numbers.box_sizes[31, 31] == 1
    assert numbers.box_sizes.sum() == 3
    column = int(np.searchsorted(numbers.box_size_edges, 0.01, "right")) - 1
    assert numbers.box_sizes[:, column].sum() == 1
    assert numbers.boxes_by_area == {"small": 1, "medium": 2, "large": 0}
    assert numbers.boxes_by_area_at_640 == {"small": 1, "medium": 0, "large": 2}
    assert used(numbers.box_aspects) == {2.0: 2, 1.0: 1}
    assert used(numbers.image_aspects) == {2.0: 2, 0.5: 1}
    assert numbers.image_sides == {"width": (100, 100, 400), "height": (50, 50, 800)}
    assert (numbers.image_sizes, numbers.distinct_image_sizes) == (((100, 50, 2), (400, 800, 1)), 2)


def record(boxes: NDArray[np.float64], classes: NDArray[np.int64]) -> ImageRecord:
    return ImageRecord(Path("x"), 100, 100, boxes, classes, np.arange(len(boxes)), None, None)


def test_batches_hold_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_batches, "MAX_IMAGES", 4)
    monkeypatch.setattr(box_batches, "MAX_BOXES", 7)
    got: list[BoxBatch] = []
    batches = BoxBatches(got.append)
    counts = [0, 3, 9, 0, 0, 0, 0, 2, 1]
    for count in counts:
        batches.add(record(np.zeros((count, 4)), np.zeros(count, np.int64)), np.zeros(count, np.int64), 0)
    batches.finish()
    batches.finish()
    assert [n for batch in got for n in batch.counts.tolist()] == counts
    assert [len(batch.records) for batch in got] == [3, 4, 2]
    for batch in got:
        assert batch.image.tolist() == np.repeat(np.arange(len(batch.records)), batch.counts).tolist()


def histogram(counts: list[int]) -> Histogram:
    """Of boxes per image."""
    counter = StatisticsCounter(["a"])
    batches = BoxBatches(counter.add)
    for count in counts:
        boxes = np.tile([0.0, 0.0, 9.0, 9.0], (count, 1))
        batches.add(record(boxes, np.zeros(count, np.int64)), np.zeros(count, np.int64), 0)
    batches.finish()
    return counter.result().boxes_per_image


@pytest.mark.parametrize("most", [0, 1, 5, 23, 24, 30, 99, 240, 1000])
def test_bins_of_boxes_per_image_have_one_width(most: int) -> None:
    counts = np.random.default_rng(most).integers(0, most + 1, 200).tolist()
    got = histogram(counts)
    assert len(set(np.diff(got.edges).tolist())) == 1
    assert len(got.counts) <= 24
    assert got.counts.tolist() == np.histogram(counts, got.edges)[0].tolist()
    assert got.counts.sum() == 200
    assert "+" not in ranges(got)[-1][0]


def test_a_few_crowded_images_do_not_flatten_the_bins() -> None:
    got = histogram([*range(10)] * 30 + [900, 1000])
    assert got.edges.tolist() == [*range(10), 10, 1001]
    assert got.counts.tolist() == [30] * 10 + [2]
    assert ranges(got)[-2:] == [("9", 30), ("10+", 2)]


@pytest.mark.parametrize("pixels", [0, 1])
@pytest.mark.parametrize("threshold", [0.5, 0.95])
def test_near_duplicates_are_those_of_all_pairs(threshold: float, pixels: float) -> None:
    numbers = np.random.default_rng(1)
    got: list[BoxBatch] = []
    batches = BoxBatches(got.append)
    for count in (40, 0, 1, 60):
        corner = numbers.uniform(0, 30, (count, 2))
        boxes = np.hstack([corner, corner + numbers.uniform(20, 40, (count, 2))])
        boxes = np.vstack([boxes, boxes[: count // 2] + numbers.normal(0, 0.2, (count // 2, 4))])
        classes = numbers.integers(0, 2, len(boxes))
        batches.add(record(boxes, classes), classes, 0)
    batches.finish()
    (batch,) = got
    wanted = {}
    iou = box_iou(batch.boxes, batch.boxes)
    for later in range(len(batch.boxes)):
        for first in range(later):
            same = (batch.image[first], batch.classes[first]) == (batch.image[later], batch.classes[later])
            far = np.abs(batch.boxes[first] - batch.boxes[later]).max()
            if same and (iou[first, later] >= threshold or (iou[first, later] > 0 and far <= pixels)):
                wanted.setdefault(later, (first, iou[first, later]))
    found = {later: (first, value) for first, later, value in near_duplicates(batch, threshold, pixels, 1000)}
    assert len(wanted) > 3
    assert found.keys() == wanted.keys()
    for later, (first, value) in wanted.items():
        assert found[later][0] == first
        assert found[later][1] == pytest.approx(value, abs=1e-5)


def test_boxes_whose_areas_are_below_the_smallest_number() -> None:
    got: list[BoxBatch] = []
    batches = BoxBatches(got.append)
    classes = np.zeros(2, np.int64)
    batches.add(record(np.array([[0, 0, 1e-170, 1e-170], [0, 0, 2e-170, 1e-170]]), classes), classes, 0)
    batches.finish()
    assert list(near_duplicates(got[0], 0.95, 3, 32)) == []


def test_thousands_of_boxes_that_share_an_edge_take_no_time() -> None:
    got: list[BoxBatch] = []
    batches = BoxBatches(got.append)
    low = np.arange(20_000) * 4
    boxes = np.stack([np.zeros_like(low), low, np.full_like(low, 10), low + 16], axis=1).astype(float)
    classes = np.zeros(len(low), np.int64)
    batches.add(record(boxes, classes), classes, 0)
    batches.finish()
    assert list(near_duplicates(got[0], 0.95, 3, 32)) == []
