"""Plans and pixels of settings that exist are those of earlier versions, to the bit: runs can be repeated.

The settings need nothing but IEEE arithmetic (no rotation, hue or shear), so the digests hold on any machine.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from yolofast.config import AugmentConfig
from yolofast.kernels import render, render_labels
from yolofast.load.plan import draws
from yolofast.load.plan.plan import plan_batch
from yolofast.types import BatchPlan, Ycc

SHAPES = np.array([(48, 64), (33, 50), (64, 64), (1, 90), (70, 31), (42, 64)] * 4, dtype=np.int32)
COLUMNS = ("images", "tile_sample", "tile_layer", "tile_image", "tile_matrix", "tile_forward", "tile_window")
STRAIGHT = AugmentConfig(hsv_h=0.0, flipud=0.5, mosaic=0.7, mosaic_block=8)
AUGMENTS = {
    "letterbox": None,
    "mosaic": STRAIGHT,
    "mixup": dataclasses.replace(STRAIGHT, mixup=0.6),
    "perspective": dataclasses.replace(STRAIGHT, mixup=0.3, perspective=0.001),
}
DIGESTS = {
    "letterbox 64 x 64": ("c45c40be505610e2", "b8db24a5df5e08a3", "e29e49ca00a94903"),
    "mosaic 64 x 64": ("0a16325be4f3ee22", "f59d70e7562ab2fc", "d9b175cc181aef13"),
    "mixup 64 x 64": ("a876ba1698afd2c5", "fb8963acfe730efd", "f14ffbe126589c21"),
    "perspective 64 x 64": ("393c3044140d86bf", "b4020a65867441d5", "346a84a2961fa54e"),
    "letterbox 40 x 72": ("0fb147b1bd9abce9", "0914305aba4fb0a6", "448a584fbccb796c"),
    "mosaic 40 x 72": ("80e4f2123e75351d", "47246ed1cdfcfbf1", "e91c193cb7219640"),
    "mixup 40 x 72": ("80e4f2123e75351d", "47246ed1cdfcfbf1", "e91c193cb7219640"),
    "perspective 40 x 72": ("bd9df6d644618793", "96dd6939deaee721", "c9229467d79437fb"),
}
"""Of each setting and size: plan, pixels, labels. Never changed: a change here changes runs in progress."""


def planes(height: int, width: int, seed: int) -> Ycc:
    rng = np.random.default_rng(seed)
    chroma = rng.integers(0, 256, (2, -(-height // 2), -(-width // 2)), dtype=np.uint8)
    return Ycc(rng.integers(0, 256, (height, width), dtype=np.uint8), chroma[0], chroma[1], "420")


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def plan(augment: AugmentConfig | None, size: tuple[int, int], *, mosaic: bool = True) -> BatchPlan:
    order = draws.permutation(5, 3, len(SHAPES))
    return plan_batch(order, np.arange(len(SHAPES)), SHAPES, size, augment, seed=5, epoch=3, mosaic=mosaic)


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("size", [(64, 64), (40, 72)], ids=["square", "rectangle"])
def test_digests(name: str, size: tuple[int, int]) -> None:
    made = plan(AUGMENTS[name], size, mosaic=size[0] == size[1])
    pictures = [planes(int(h), int(w), seed) for seed, (h, w) in enumerate(SHAPES)]
    rows = np.random.default_rng(0).uniform(0, 1, (3 * len(SHAPES), 5)).astype(np.float32)
    offsets = 3 * np.arange(len(SHAPES) + 1)
    labels = render_labels(made, rows, offsets, SHAPES, filtered=True)
    found = (
        digest(*(getattr(made, column) for column in (*COLUMNS, "mix", "colour"))),
        digest(render(made, pictures)),
        digest(labels),
    )
    assert found == DIGESTS[f"{name} {size[0]} x {size[1]}"]
