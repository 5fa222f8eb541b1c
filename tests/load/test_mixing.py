"""bgr and cutmix: what is drawn, and that pixels and labels are of one mind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.coloured_dataset import plain_samples
from support.loader_cases import dataset, one_by_one, through_json

from yolofast.config import AugmentConfig
from yolofast.errors import ConfigError
from yolofast.kernels import render, render_labels
from yolofast.load import Loader
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Ycc

PLAIN = AugmentConfig(mosaic_block=8)


def square_plan(augment: AugmentConfig, count: int, side: int = 64, **options: bool) -> BatchPlan:
    """Of `count` square images in file order."""
    order = np.arange(count)
    shapes = np.full((count, 2), side)
    return plan_batch(order, order, shapes, (side, side), augment, seed=0, epoch=0, **options)


@pytest.mark.parametrize("name", ["bgr", "cutmix"])
def test_a_probability_out_of_range_is_refused(name: str) -> None:
    for value in (-0.1, 1.5, float("nan")):
        with pytest.raises(
            ConfigError, match=f"{name}: got .*, expected a value at least 0.0 and at most 1.0"
        ):
            AugmentConfig(**{name: value})


def test_bgr_swaps_channels_of_its_share_of_samples() -> None:
    plain = square_plan(PLAIN, 5000)
    swapped = square_plan(dataclasses.replace(PLAIN, bgr=0.3), 5000)
    reversed_ = (swapped.colour != plain.colour).any(axis=(1, 2))
    assert reversed_.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(swapped.colour[reversed_], plain.colour[reversed_, ::-1])
    for field in dataclasses.fields(BatchPlan):
        if field.name != "colour":
            np.testing.assert_array_equal(getattr(swapped, field.name), getattr(plain, field.name))


def test_bgr_reaches_the_pixels(data: Path) -> None:
    plain, swapped = dataset(data), dataset(data, augment=AugmentConfig(mosaic_block=8, mixup=0.3, bgr=1))
    for position in range(6):
        one, other = plain[0, position], swapped[0, position]
        np.testing.assert_array_equal(one.image[::-1], other.image)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_cutmix_draws_its_holes_as_the_paper_does() -> None:
    made = square_plan(AugmentConfig(mosaic=0, cutmix=0.4), 20000, side=640)
    sides = made.holes[:, 2:] - made.holes[:, :2]
    cut = (sides > 0).all(axis=1)
    assert cut.mean() == pytest.approx(0.4, abs=0.015)
    assert not made.holes[~cut].any()
    assert (made.holes >= 0).all()
    assert (made.holes <= 640).all()
    inner = cut & (made.holes[:, :2] > 0).all(axis=1) & (made.holes[:, 2:] < 640).all(axis=1)
    assert np.abs(sides[inner, 0] - sides[inner, 1]).max() <= 1, "the output's shape"
    # Area a is uniform and the centre, too: along an axis, clipped, sqrt(a) - a / 4 remains on average.
    assert sides[cut].mean() / 640 == pytest.approx(2 / 3 - 1 / 8, abs=0.01)
    assert (made.holes[cut, :2] + made.holes[cut, 2:]).mean() / 2 == pytest.approx(320, abs=5)


def test_cutmix_shows_its_second_picture_in_the_hole_alone() -> None:
    made = square_plan(AugmentConfig(mosaic=0.5, mosaic_block=16, mixup=0.3, cutmix=0.5), 160)
    second = made.tile_layer == 2
    assert made.hole is not None
    assert set(made.tile_sample[second]) <= set(np.flatnonzero(made.hole.any(axis=1)))
    assert len(set(made.tile_sample[second])) > 50
    assert (made.tile_image // 16 == made.tile_sample // 16).all(), "partners of the sample's block"
    whole = square_plan(AugmentConfig(mosaic=0.5, mosaic_block=16, mixup=0.3), 160)
    for name in ("tile_matrix", "tile_image", "tile_sample", "tile_layer"):
        np.testing.assert_array_equal(getattr(made, name)[~second], getattr(whole, name))
    assert square_plan(AugmentConfig(cutmix=1), 30, mosaic=False).hole is None


def white_boxes(count: int, only: int) -> list[Ycc]:
    """Black pictures of 90 x 90, of which one has a white box of 45 x 30 at (30, 20)."""
    planes = np.zeros((count, 90, 90), np.uint8)
    planes[only, 20:50, 30:75] = 255
    return [Ycc(plane, None, None, "gray") for plane in planes]


def around(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The xyxy box around what is true."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize("mosaic", [0, 1])
def test_cutmix_labels_lie_where_the_pixels_are(mosaic: int) -> None:
    """Every label is the box around what is seen of its object; what has none is hardly seen."""
    count, side = 24, 90
    augment = AugmentConfig(hsv_s=0, hsv_v=0, flipud=0.5, mosaic=mosaic, cutmix=0.8)
    made = square_plan(augment, count, side)
    box = np.array([0, 52.5 / 90, 35 / 90, 45 / 90, 30 / 90], np.float32)
    rows = np.tile(box, (count, 1))
    rows[:, 0] = np.arange(count)  # the class says which image
    shapes = np.full((count, 2), side, np.int32)
    targets = render_labels(made, rows, np.arange(count + 1), shapes, filtered=True)
    gains = np.abs(made.tile_forward[:, 0, 0])
    checked = lost = 0
    for image in range(count):
        seen = render(made, white_boxes(count, image))[:, 0] > 150
        for sample in range(count):
            tiles = np.flatnonzero((made.tile_sample == sample) & (made.tile_image == image))
            if len(tiles) > 1:
                continue  # twice in one sample: the boxes cannot be told apart
            mine = targets[(targets[:, 0] == sample) & (targets[:, 1] == image), 2:]
            if not len(tiles):
                assert not len(mine)
                assert not seen[sample].any()
            elif len(mine):
                x, y, w, h = mine[0] * side
                wanted = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                np.testing.assert_allclose(around(seen[sample]), wanted, atol=1.5)
                checked += 1
            elif seen[sample].any():
                x0, y0, x1, y1 = around(seen[sample])
                small = min(x1 - x0, y1 - y0) <= 3
                assert small or seen[sample].sum() < 0.13 * 45 * 30 * gains[tiles[0]] ** 2
                lost += 1
    assert checked > 25
    assert lost > 0 or mosaic


@pytest.mark.parametrize(
    "options",
    [{}, {"multi_scale": 0.5}, {"rect": True, "shuffle": False}, {"cache": "ram"}],
    ids=["fixed", "multi-scale", "rect", "cached"],
)
def test_a_loader_gives_the_samples_of_its_dataset(data: Path, options: dict[str, Any]) -> None:
    augment = AugmentConfig(mosaic_block=8, mosaic=0.5, mixup=0.3, cutmix=0.7, bgr=0.3, degrees=3)
    mixed = dataset(data, augment=augment, **options)
    whole = plain_samples(Loader(mixed, 4, threads=2))
    assert whole == one_by_one(mixed, batch=4)
    plan = mixed.plan(0, np.arange(8), mixed.sizes(4).at(0, 0))
    assert (plan.hole is None) == ("rect" in options)

    loader = Loader(mixed, 4, threads=0)
    first = [batch for _, batch in zip(range(2), loader, strict=False)]
    resumed = Loader(dataset(data, augment=augment, **options), 4, threads=2)
    resumed.load_state_dict(through_json(loader.state_dict()))
    assert plain_samples(first) + plain_samples(resumed) == whole


def test_cutmix_ends_with_mosaic(data: Path) -> None:
    closing = dataset(data, augment=AugmentConfig(cutmix=1, close_mosaic=2), epochs=5)
    positions = np.arange(8)
    assert [closing.plan(epoch, positions).hole is None for epoch in range(5)] == [False] * 3 + [True] * 2
