"""Inputs for NMS and postprocessing: random boxes and raw detector heads, from a fixed seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 80
STRIDES = (8, 16, 32)
SIZE = 640
CONF = 0.001


def random_boxes(count: int, classes: int) -> dict[str, NDArray[Any]]:
    """boxes float32 [N, 4] xyxy, scores float32 [N], classes int64 [N]: uniform positions and sizes."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 600, (count, 2))
    boxes = np.hstack([low, low + rng.uniform(4, 120, (count, 2))]).astype(np.float32)
    return {
        "boxes": boxes,
        "scores": rng.random(count, dtype=np.float32),
        "classes": rng.integers(0, classes, count),
    }


def anchor_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres [A, 2] and strides [A] of the three grids of a 640 x 640 image; A = 8400."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (np.arange(SIZE // stride) + 0.5) * stride
        centres.append(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(centres[-1]), float(stride)))
    return np.concatenate(centres), np.concatenate(strides)


def detector_head(images: int, objects: int, candidates: int) -> NDArray[np.float32]:
    """float32 [B, 84, 8400]: what a detector returns for images with about `objects` objects each.

    Anchors near an object have boxes close to its own and high scores for its class, lower ones for a few
    similar classes; the others have boxes of their grid's size and scores near 0. All scores of an image are
    shifted (as logits) until `candidates` of them are above 0.001.
    """
    rng = np.random.default_rng(0)
    centres, strides = anchor_points()
    return np.stack([_one_head(rng, centres, strides, objects, candidates) for _ in range(images)])


def _one_head(
    rng: np.random.Generator,
    centres: NDArray[np.float64],
    strides: NDArray[np.float64],
    objects: int,
    candidates: int,
) -> NDArray[np.float32]:
    count = len(centres)
    sizes = strides[:, None] * np.exp(rng.normal(1.0, 0.5, (count, 2)))
    middles = centres + rng.normal(0, 0.5, (count, 2)) * strides[:, None]
    logits = rng.normal(-13.0, 1.0, (CLASSES, count))
    closest = np.zeros(count)
    for _ in range(max(1, rng.poisson(objects))):
        size = np.exp(rng.normal(4.2, 0.8, 2)).clip(10, 500)
        middle = rng.uniform(0, SIZE, 2)
        similar = rng.choice(CLASSES, 4, replace=False)
        # How well an anchor responds: near the box's centre, on the grid that fits its size.
        distance = (((centres - middle) / (0.35 * size)) ** 2).sum(axis=1)
        distance += np.log2(np.sqrt(size.prod()) / (6 * strides)) ** 2
        response = np.exp(-0.5 * distance)
        logits[similar] += np.array([[12.0], [7.0], [6.0], [5.0]]) * response
        nearer = response > np.maximum(closest, 0.1)
        closest = np.maximum(closest, response)
        loose = (0.04 + 0.15 * (1 - response[nearer]))[:, None]
        middles[nearer] = middle + rng.normal(0, 1, (nearer.sum(), 2)) * loose * size
        sizes[nearer] = size * np.exp(rng.normal(0, 1, (nearer.sum(), 2)) * loose)
    lowest = np.partition(logits, logits.size - candidates, axis=None)[logits.size - candidates]
    logits += np.log(CONF / (1 - CONF)) - lowest + 1e-6
    return np.concatenate([middles.T, sizes.T, 1 / (1 + np.exp(-logits))]).astype(np.float32)
