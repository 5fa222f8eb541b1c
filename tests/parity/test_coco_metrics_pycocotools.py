"""CocoMetrics against pycocotools: the same float64, bit for bit."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.types import Detections

pytest.importorskip("pycocotools")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


@dataclass(frozen=True)
class Scene:
    """One image: what was found and what is there."""

    detections: Detections
    gt_boxes: np.ndarray
    gt_classes: np.ndarray
    gt_crowd: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """How a random set of scenes is drawn."""

    seed: int
    images: int
    classes: int
    max_gt: int
    max_dt: int
    crowd: float = 0.0
    integer: bool = False
    """Whole pixels: many equal overlaps."""
    score_levels: int = 0
    """Scores from a few levels: many equal scores."""
    degenerate: bool = False
    """Some boxes without area or with a side that runs backwards."""


RECIPES = [
    Recipe(0, 12, 3, 8, 20),
    Recipe(1, 12, 3, 8, 20, crowd=0.3),
    Recipe(2, 12, 2, 12, 40, crowd=0.2, integer=True),
    Recipe(3, 12, 3, 8, 30, score_levels=4),
    Recipe(4, 12, 2, 10, 40, crowd=0.3, integer=True, score_levels=3),
    Recipe(5, 4, 2, 10, 400, crowd=0.1),
    Recipe(6, 15, 6, 3, 4, crowd=0.3),
    Recipe(7, 6, 2, 6, 20, degenerate=True, crowd=0.3),
    Recipe(8, 3, 4, 5, 0),
    Recipe(9, 3, 4, 0, 10),
    Recipe(10, 30, 20, 15, 60, crowd=0.05),
]


def draw(recipe: Recipe) -> list[Scene]:
    rng = np.random.default_rng(recipe.seed)
    scenes = []
    for _ in range(recipe.images):
        gt_count = int(rng.integers(0, recipe.max_gt + 1))
        dt_count = int(rng.integers(0, recipe.max_dt + 1))
        corner = rng.uniform(0, 60, (gt_count, 2))
        gt = np.concatenate([corner, corner + rng.uniform(5, 40, (gt_count, 2))], axis=1)
        gt_classes = rng.integers(0, recipe.classes, gt_count)
        corner = rng.uniform(0, 60, (dt_count, 2))
        dt = np.concatenate([corner, corner + rng.uniform(5, 40, (dt_count, 2))], axis=1)
        dt_classes = rng.integers(0, recipe.classes, dt_count)
        if gt_count and dt_count:  # most detections are near an object
            near = rng.random(dt_count) < 0.8
            source = rng.integers(0, gt_count, dt_count)
            dt[near] = gt[source[near]] + rng.normal(0, 2, (int(near.sum()), 4))
            dt_classes[near] = gt_classes[source[near]]
        if recipe.integer:
            gt, dt = gt.round(), dt.round()
        if recipe.degenerate:
            for boxes in (gt, dt):
                boxes[::5, 2] = boxes[::5, 0]
                boxes[1::5, 3] = boxes[1::5, 1] - 3
        scores = rng.random(dt_count)
        if recipe.score_levels:
            scores = rng.integers(1, recipe.score_levels + 1, dt_count) / recipe.score_levels
        scenes.append(
            Scene(
                Detections(dt.astype(np.float32), scores.astype(np.float32), dt_classes.astype(np.int64)),
                gt,
                gt_classes,
                rng.random(gt_count) < recipe.crowd,
            )
        )
    return scenes


def ltwh(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(v) for v in box)
    return [left, top, right - left, bottom - top]


def pycocotools_eval(scenes: list[Scene], classes: int, max_det: int = 100) -> Any:
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, scene in enumerate(scenes):
        for box, label, crowd in zip(scene.gt_boxes, scene.gt_classes, scene.gt_crowd, strict=True):
            bbox = ltwh(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": int(crowd),
                }
            )
        found = scene.detections
        for box, score, label in zip(found.boxes, found.scores, found.classes, strict=True):
            results.append(
                {"image_id": image, "category_id": int(label), "bbox": ltwh(box), "score": float(score)}
            )
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i, "width": 100, "height": 100} for i in range(len(scenes))],
        "categories": [{"id": k, "name": str(k)} for k in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found_api = truth.loadRes(results) if results else COCO()
        evaluation = COCOeval(truth, found_api, "bbox")
        evaluation.params.maxDets = [1, 2, max_det]
        evaluation.evaluate()
        evaluation.accumulate()
        if max_det == 100:
            evaluation.summarize()
    return evaluation


def ours(scenes: list[Scene], classes: int, max_det: int = 100) -> CocoMetrics:
    metrics = CocoMetrics(classes, max_dets=(1, 2, max_det))
    for scene in scenes:
        metrics.update(scene.detections, scene.gt_boxes, scene.gt_classes, scene.gt_crowd)
    return metrics


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"seed{r.seed}")
def test_precision_and_means_equal_to_the_last_bit(recipe: Recipe) -> None:
    scenes = draw(recipe)
    reference = pycocotools_eval(scenes, recipe.classes)
    metrics = ours(scenes, recipe.classes)
    expected = reference.eval["precision"][:, :, :, 0, -1]
    result = metrics.compute()
    np.testing.assert_array_equal(result.eval["precision"][:, :, :, 0, -1], expected)
    if (expected > -1).any():
        assert result.map50_95 == reference.stats[0]
        assert result.map50 == reference.stats[1]
    else:
        assert np.isnan(result.map50_95)
        assert np.isnan(result.map50)


@pytest.mark.parametrize("max_det", [3, 100, 500])
def test_max_det_counts_per_class_and_image(max_det: int) -> None:
    scenes = draw(Recipe(20, 4, 2, 10, 400, score_levels=50))
    expected = pycocotools_eval(scenes, 2, max_det).eval["precision"][:, :, :, 0, -1]
    actual = ours(scenes, 2, max_det).compute().eval["precision"][:, :, :, 0, -1]
    np.testing.assert_array_equal(actual, expected)


def test_merged_parts_equal_the_whole() -> None:
    scenes = draw(RECIPES[4])
    whole = ours(scenes, 2)
    merged = ours(scenes[:5], 2)
    merged.merge(ours(scenes[5:], 2))
    np.testing.assert_array_equal(merged.compute().eval["precision"], whole.compute().eval["precision"])
    assert merged.compute().f1 == whole.compute().f1
    assert merged.compute().images == len(scenes)
