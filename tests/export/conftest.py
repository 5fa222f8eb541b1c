"""A small detector with lively outputs, and noise images, for the export tests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yolofast.models import Detector, build_model, fused_copy

IMGSZ = 64


@pytest.fixture(scope="package")
def images() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
    return coarse.repeat(IMGSZ // 8, axis=2).repeat(IMGSZ // 8, axis=3)


@pytest.fixture(scope="package")
def model(images: NDArray[np.uint8]) -> Detector:
    """A pico model whose scores and boxes vary over the image, as a trained one's do."""
    model = build_model("p", 3, class_names=("red cell", "Zelle_2", "猫"), seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.from_numpy(images).float() / 255)  # the norms take the images' statistics
        for branches in (model.head.box_branches, model.head.class_branches):
            for branch in branches:
                last = branch.get_submodule("2")
                last.weight.mul_(4)
                last.bias.zero_()
    return fused_copy(model)
