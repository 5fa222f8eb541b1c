"""bgr, cutmix and copy-paste: what is drawn, and that pixels and labels are of one mind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.loader_cases import dataset

from yolofast.config import AugmentConfig
from yolofast.errors import ConfigError
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan

PLAIN = AugmentConfig(mosaic_block=8)


def square_plan(augment: AugmentConfig, count: int, side: int = 64, **options: bool) -> BatchPlan:
    """Of `count` square images in file order."""
    order = np.arange(count)
    shapes = np.full((count, 2), side)
    return plan_batch(order, order, shapes, (side, side), augment, seed=0, epoch=0, **options)


@pytest.mark.parametrize("name", ["bgr"])
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
