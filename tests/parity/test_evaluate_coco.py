"""evaluate_coco against pycocotools: twelve figures and whole arrays, to the last bit."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.property_tests import examples

from yolofast.evaluate import CocoMetrics, evaluate_coco
from yolofast.types import Detections, Metrics

pytest.importorskip("pycocotools")
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Entries = list[dict[str, Any]]


def pycocotools_eval(
    truth: dict[str, Any], results: Entries, max_dets: tuple[int, ...] = (1, 10, 100)
) -> Any:
    api = COCO()
    api.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
        found = api.loadRes(copy.deepcopy(results)) if results else COCO()
        evaluation = COCOeval(api, found, "bbox")
        evaluation.params.maxDets = list(max_dets)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(metrics: Metrics, expected: Any) -> None:
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(metrics.eval[name], expected.eval[name], err_msg=name)
    np.testing.assert_array_equal(metrics.stats, expected.stats)


def compare(truth: dict[str, Any], results: Entries, threads: int = 1) -> None:
    assert_equal(evaluate_coco(truth, results, threads=threads), pycocotools_eval(truth, results))


@st.composite
def datasets(draw: st.DrawFn) -> tuple[dict[str, Any], Entries]:
    """Small pictures with many overlaps: steps of a pixel or less make equal overlaps and equal scores."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = rng.choice(1000, draw(st.sampled_from([1, 2, 5, 20])), replace=False).tolist()
    categories = rng.choice(90, draw(st.sampled_from([1, 2, 6])), replace=False).tolist()
    step = draw(st.sampled_from([1.0, 0.25, 1e-3]))
    side = draw(st.sampled_from([12, 60, 300]))
    crowd = draw(st.sampled_from([0.0, 0.3]))
    levels = draw(st.sampled_from([2, 10, 10**6]))
    objects, found = draw(st.sampled_from([(0, 8), (6, 0), (6, 12), (30, 60), (4, 200)]))
    odd = draw(st.booleans())  # boxes without area, sides that run backwards, areas of their own

    def box() -> list[float]:
        size = (rng.integers(0 if odd else 1, side, 2) * step).tolist()
        if odd and rng.random() < 0.1:
            size[0] = -size[0]
        return [*(rng.integers(0, side, 2) * step).tolist(), *size]

    annotations: Entries = []
    results: Entries = []
    for image in images:
        boxes = [box() for _ in range(rng.integers(0, objects + 1))]
        for bbox in boxes:
            annotations.append(
                {
                    "id": len(annotations) + (0 if odd and draw(st.booleans()) else 1),
                    "image_id": image,
                    "category_id": int(rng.choice(categories)),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3] * (rng.choice([1.0, 40.0, 1000.0]) if odd else 1.0),
                    "iscrowd": int(rng.random() < crowd),
                }
            )
        for _ in range(rng.integers(0, found + 1)):
            near = boxes and rng.random() < 0.7
            start = boxes[rng.integers(len(boxes))] if near else box()
            results.append(
                {
                    "image_id": image,
                    "category_id": int(rng.choice([*categories, 91])),
                    "bbox": (np.array(start) + rng.integers(-2, 3, 4) * step).tolist(),
                    "score": int(rng.integers(0, levels + 1)) / levels,
                }
            )
    rng.shuffle(annotations)  # type: ignore[arg-type]
    rng.shuffle(results)  # type: ignore[arg-type]
    truth = {
        "images": [{"id": i} for i in images],
        "categories": [{"id": c, "name": f"c{c}"} for c in categories],
        "annotations": annotations,
    }
    return truth, results


@examples(200)
@given(datasets(), st.sampled_from([1, 2]))
def test_random_datasets(data: tuple[dict[str, Any], Entries], threads: int) -> None:
    compare(*data, threads)


def dataset(images: int, objects: int, found: int, seed: int = 0) -> tuple[dict[str, Any], Entries]:
    """A larger set: `objects` and `found` in each image."""
    rng = np.random.default_rng(seed)
    annotations: Entries = []
    results: Entries = []
    for image in range(1, images + 1):
        corner, size = rng.uniform(0, 500, (objects, 2)), np.exp(rng.normal(4, 1, (objects, 2)))
        boxes = np.concatenate([corner, size], axis=1)
        classes = rng.integers(1, 6, objects)
        for bbox, label in zip(boxes.tolist(), classes.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3] * 0.7,
                    "iscrowd": int(rng.random() < 0.05),
                }
            )
        source = rng.integers(0, objects, found)
        near = boxes[source] + rng.normal(0, 4, (found, 4))
        scores = rng.random(found).round(2)  # many are equal
        for bbox, label, score in zip(near.tolist(), classes[source].tolist(), scores.tolist(), strict=True):
            results.append({"image_id": image, "category_id": label, "bbox": bbox, "score": score})
    truth = {
        "images": [{"id": i} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": str(c)} for c in range(1, 7)],
        "annotations": annotations,
    }
    return truth, results


@pytest.mark.parametrize(("images", "objects", "found"), [(1, 40, 6000), (150, 8, 60)])
def test_larger_sets(images: int, objects: int, found: int) -> None:
    compare(*dataset(images, objects, found), threads=2)


@pytest.mark.parametrize("max_dets", [(1, 2, 3), (1, 10, 300), (5, 50, 5000)])
def test_other_limits(max_dets: tuple[int, ...]) -> None:
    """pycocotools' first figure is then -1: it looks for 100."""
    truth, results = dataset(10, 10, 900)
    metrics = evaluate_coco(truth, results, max_dets=max_dets)
    expected = pycocotools_eval(truth, results, max_dets)
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(metrics.eval[name], expected.eval[name], err_msg=name)
    np.testing.assert_array_equal(metrics.stats[1:], expected.stats[1:])
    assert expected.stats[0] == -1 < metrics.stats[0]


def test_files_in_parts_equal_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when entries hold objects, so that many places look like the beginning of one."""
    truth, results = dataset(40, 6, 60)
    for entry in results[::3]:
        entry["segments"] = [{"a": 1}, {"b": "}, {"}, {"c": [2]}]
    expected = evaluate_coco(truth, results)
    (tmp_path / "gt.json").write_text(json.dumps(truth, indent=1))
    for part in (1000, 5000, 1 << 22):
        monkeypatch.setattr("yolofast.evaluate.coco_files._PART_BYTES", part)
        for indent in (None, 2):
            (tmp_path / "dt.json").write_text(json.dumps(results, indent=indent))
            for threads in (1, 3):
                metrics = evaluate_coco(tmp_path / "gt.json", tmp_path / "dt.json", threads=threads)
                np.testing.assert_array_equal(metrics.eval["precision"], expected.eval["precision"])


def test_perturbed_real_annotations(shared_data: Path) -> None:
    """Every box of tiny COCO a few times, moved by up to a quarter of its size."""
    for path in sorted((shared_data / "tiny_coco_json" / "annotations").glob("*.json")):
        truth = json.loads(path.read_text())
        rng = np.random.default_rng(7)
        results: Entries = []
        for annotation in truth["annotations"]:
            size = np.array([*annotation["bbox"][2:], *annotation["bbox"][2:]])
            for _ in range(3):
                moved = np.array(annotation["bbox"]) + rng.uniform(-0.25, 0.25, 4) * size * rng.random()
                results.append(
                    {
                        "image_id": annotation["image_id"],
                        "category_id": annotation["category_id"],
                        "bbox": moved.round(2).tolist(),
                        "score": float(rng.random().__round__(3)),
                    }
                )
        expected = pycocotools_eval(truth, results)
        (metrics,) = [evaluate_coco(path, results)]
        assert_equal(metrics, expected)
        assert 0.2 < metrics.map50 < 1


def test_batches_in_any_order_equal_the_file() -> None:
    """Streamed with image ids, in parts and merged: ties are broken by image id as in pycocotools."""
    truth, results = dataset(30, 6, 40, seed=3)
    boxes = {i: ([a for a in truth["annotations"] if a["image_id"] == i]) for i in range(1, 31)}
    found = {i: [r for r in results if r["image_id"] == i] for i in range(1, 31)}

    def gathered(images: list[int]) -> CocoMetrics:
        metrics = CocoMetrics(6)
        for batch in (images[i : i + 4] for i in range(0, len(images), 4)):
            gt = [(a, place) for place, i in enumerate(batch) for a in boxes[i]]
            metrics.update(
                [
                    Detections(
                        np.array([[x, y, x + w, y + h] for x, y, w, h in (r["bbox"] for r in found[i])]),
                        np.array([r["score"] for r in found[i]]),
                        np.array([r["category_id"] - 1 for r in found[i]]),
                    )
                    for i in batch
                ],
                [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a, _ in gt)],
                [a["category_id"] - 1 for a, _ in gt],
                [bool(a["iscrowd"]) for a, _ in gt],
                gt_images=[place for _, place in gt],
                gt_areas=[a["area"] for a, _ in gt],
                image_ids=batch,
            )
        return metrics

    order = np.random.default_rng(0).permutation(np.arange(1, 31)).tolist()
    merged = gathered(order[:17]).merge(gathered(order[17:])).compute()
    straight = gathered(list(range(1, 31))).compute()
    for name in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(merged.eval[name], straight.eval[name])
    # xyxy and back rounds boxes, so only to within that against the file.
    np.testing.assert_allclose(merged.stats, evaluate_coco(truth, results).stats, atol=1e-12)


def annotation(number: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    area = bbox[2] * bbox[3]
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": bbox, "area": area, "iscrowd": 0} | more


ONE = {"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}
BOX = [10.0, 10.0, 20.0, 20.0]


@pytest.mark.parametrize(
    "annotations",
    [
        [annotation(0, BOX)],
        [annotation(0, BOX), annotation(1, BOX)],
        [annotation(5, BOX), annotation(5, [40.0, 40.0, 9.0, 9.0])],
        [annotation(1, BOX, category_id=7)],
        [annotation(1, BOX, image_id=9), annotation(2, BOX)],
        [annotation(1, BOX, iscrowd=1)],
        [annotation(1, BOX, area=0), annotation(2, BOX, area=1e11)],
        [annotation(1, BOX, area=float("nan")), annotation(2, BOX, area=10000)],
        [],
    ],
    ids=[
        "id 0",
        "id 0 and 1",
        "id twice",
        "unlisted category",
        "unlisted image",
        "crowd",
        "areas",
        "NaN area",
        "none",
    ],
)
def test_odd_annotations(annotations: Entries) -> None:
    results = [
        {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 19.5], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [40, 40, 9, 9], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [12, 12, 0, 0], "score": 0.5},
    ]
    compare({**ONE, "annotations": annotations}, results)


def test_an_annotation_twice_by_id_stands_where_pycocotools_puts_it() -> None:
    truth = {
        "images": [{"id": 2}, {"id": 1}],
        "categories": [{"id": 1}, {"id": 3}],
        "annotations": [
            annotation(4, BOX),
            annotation(5, BOX, image_id=2),
            annotation(4, [40.0, 40.0, 9.0, 9.0], image_id=2, category_id=3),
        ],
    }
    results = [
        {"image_id": i, "category_id": c, "bbox": b, "score": 0.5}
        for i in (1, 2)
        for c in (1, 3)
        for b in (BOX, [40.0, 40.0, 9.0, 9.0])
    ]
    compare(truth, results)
