"""Sizes must be those of the published YOLOv8 models, or comparisons with them are not fair."""

from __future__ import annotations

import pytest
import torch

from yolofast.config import MODEL_SIZES
from yolofast.models import MODEL_SPECS, build_model, model_profile


@pytest.mark.parametrize(
    ("name", "params", "flops"), [("n", 3.2e6, 8.7e9), ("s", 11.2e6, 28.6e9), ("m", 25.9e6, 78.9e9)]
)
def test_parameters_and_flops_match_yolov8(name: str, params: float, flops: float) -> None:
    with torch.device("meta"):
        profile = model_profile(build_model(name, 80))
    assert profile.params == pytest.approx(params, rel=0.05)
    assert profile.flops == pytest.approx(flops, rel=0.05)


def test_pico_is_small() -> None:
    with torch.device("meta"):
        profile = model_profile(build_model("p", 5))
    assert 0.5e6 < profile.params < 0.9e6
    assert f"{profile.params / 1e6:.2f} M" in str(profile)


def test_flops_count_a_convolution_twice_its_multiply_adds() -> None:
    small, large = (model_profile(build_model("p", 5), size) for size in (64, 128))
    assert large.flops == 4 * small.flops


def test_profile_leaves_the_model_as_it_was() -> None:
    model = build_model("p", 5, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model_profile(model, 64)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_configurable_size_has_a_spec() -> None:
    assert tuple(MODEL_SPECS) == MODEL_SIZES
