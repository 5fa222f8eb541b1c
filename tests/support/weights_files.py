"""Weights files for tests of prediction."""

from __future__ import annotations

from pathlib import Path

import torch

from yolofast.models import build_model, save_weights


def write_unsure_weights(path: Path, class_names: tuple[str, ...]) -> Path:
    """A model of size p at 64 px whose scores are all about one half."""
    model = build_model("p", len(class_names), class_names=class_names, seed=0)
    for branch in model.head.class_branches:
        torch.nn.init.zeros_(branch.get_submodule("2").get_parameter("bias"))
    save_weights(model, path, {"imgsz": "64"})
    return path
