"""LVIS's federated rules, against a plain evaluation written from the rules (which equals lvis-api's)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.property_tests import examples

from yolofast.errors import DataError
from yolofast.evaluate import evaluate_coco
from yolofast.types import Metrics

THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"]
NAMES += ["AR@300", "ARs@300", "ARm@300", "ARl@300"]


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def judge(
    found: list[dict[str, Any]],
    truth: list[dict[str, Any]],
    area: tuple[float, float],
    threshold: float,
    lax: bool,
) -> tuple[list[tuple[float, bool]], int]:
    """(score, right) of each detection of one image and class that counts, and how many objects count."""

    def outside(size: float) -> bool:
        return not area[0] <= size <= area[1]

    objects = sorted(truth, key=lambda t: outside(t["area"]))
    taken: set[int] = set()
    judged = []
    for detection in sorted(found, key=lambda d: -d["score"]):
        best, least = None, threshold
        for index, each in enumerate(objects):
            if best is not None and outside(each["area"]) and not outside(objects[best]["area"]):
                break
            if index not in taken and overlap(detection["bbox"], each["bbox"]) >= least:
                best, least = index, overlap(detection["bbox"], each["bbox"])
        if best is not None:
            taken.add(best)
        size = detection["bbox"][2] * detection["bbox"][3]
        skipped = outside(objects[best]["area"]) if best is not None else outside(size) or lax
        if not skipped:
            judged.append((detection["score"], best is not None))
    return judged, sum(not outside(t["area"]) for t in truth)


def plain_evaluation(truth: dict[str, Any], results: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Interpolated precision [T, R, K, A] by the rules; -1 without objects."""
    objects, found = defaultdict(list), defaultdict(list)
    for each in truth["annotations"]:
        if each["area"] > 0:
            objects[each["image_id"], each["category_id"]].append(each)
    for image in truth["images"]:
        own = [r for r in results if r["image_id"] == image["id"]]
        for each in sorted(own, key=lambda r: -r["score"])[:300]:
            key = image["id"], each["category_id"]
            known = each["category_id"] in image["neg_category_ids"] or key in objects
            if known and each["bbox"][2] * each["bbox"][3] > 0:
                found[key].append(each)
    categories = sorted(c["id"] for c in truth["categories"])
    precision = np.full((10, 101, len(categories), 4), -1.0)
    for k, category in enumerate(categories):
        for a, area in enumerate(AREAS):
            for t, threshold in enumerate(THRESHOLDS):
                judged, count = [], 0
                for image in sorted(truth["images"], key=lambda i: i["id"]):
                    key = image["id"], category
                    lax = category in image["not_exhaustive_category_ids"]
                    more, number = judge(found[key], objects[key], area, threshold, lax)
                    judged += more
                    count += number
                if not count:
                    continue
                right = np.cumsum([r for _, r in sorted(judged, key=lambda j: -j[0])])
                rates = right / np.arange(1, len(right) + 1)
                for r, recall in enumerate(np.linspace(0, 1, 101)):
                    reached = rates[right / count >= recall]
                    precision[t, r, k, a] = reached.max(initial=0.0)
    return precision


def random_set(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    categories = [int(c) for c in rng.choice(40, 4, replace=False) + 1]
    images, annotations, results = [], [], []
    for number in rng.permutation(int(rng.integers(1, 6))):
        order = [int(c) for c in rng.permutation(categories)]
        image = int(number) + 5
        lists = {
            "neg_category_ids": order[:1],
            "not_exhaustive_category_ids": order[int(rng.integers(0, 4)) :],
        }
        images.append({"id": image, **lists})
        for _ in range(rng.integers(0, 6)):
            box = [*rng.uniform(0, 300, 2), *np.exp(rng.uniform(1, 5.3, 2))]
            label = int(rng.choice(order[1:]))
            share = float(rng.uniform(0.3, 1) * (rng.random() > 0.1))
            entry = {"image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3] * share}
            annotations.append({"id": len(annotations) + 1, **entry})
            for _ in range(rng.integers(0, 3)):
                moved = [*(box[:2] + rng.normal(0, 4, 2)), *(box[2:] * rng.uniform(0.8, 1.2, 2))]
                results.append({**entry, "bbox": moved, "score": round(float(rng.random()), 1)})
        for _ in range(rng.integers(0, 8)):
            box = [*rng.uniform(0, 300, 2), *(rng.uniform(0, 150, 2) * (rng.random() > 0.1))]
            label, score = int(rng.choice(categories)), round(float(rng.random()), 1)
            results.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    names = [{"id": c, "name": f"c{c}", "frequency": "rcf"[i % 3]} for i, c in enumerate(categories)]
    results = [{**r, "bbox": [float(v) for v in r["bbox"]]} for r in results]
    annotations = [{**a, "bbox": [float(v) for v in a["bbox"]]} for a in annotations]
    return {"images": images, "annotations": annotations, "categories": names}, results


@examples(40)
@given(st.integers(0, 10**6))
def test_precision_is_that_of_the_rules(seed: int) -> None:
    truth, results = random_set(seed)
    metrics = evaluate_coco(truth, results, threads=1)
    np.testing.assert_allclose(
        metrics.eval["precision"][..., -1], plain_evaluation(truth, results), atol=1e-12, rtol=0
    )


def one_image(**lists: list[int]) -> dict[str, Any]:
    """An object of category 1 in an image whose lists are given; 2 is rare, 3 common."""
    box = [10.0, 10.0, 50.0, 50.0]
    return {
        "images": [{"id": 1, "neg_category_ids": [], "not_exhaustive_category_ids": [], **lists}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 2500.0}],
        "categories": [{"id": i, "name": str(i), "frequency": "frc"[i - 1]} for i in (1, 2, 3)],
    }


def result(category: int, score: float, left: float = 10.0) -> dict[str, Any]:
    return {"image_id": 1, "category_id": category, "bbox": [left, 10.0, 50.0, 50.0], "score": score}


def test_a_false_positive_counts_only_where_the_image_says_so() -> None:
    right, far = result(1, 0.5), result(1, 0.9, left=300)
    assert evaluate_coco(one_image(), [right, far]).map50 == pytest.approx(0.5)
    lax = evaluate_coco(one_image(not_exhaustive_category_ids=[1]), [right, far])
    assert lax.map50 == pytest.approx(1.0), "not every object of the category is annotated"
    assert evaluate_coco(one_image(), [right, result(2, 0.9)]).detections == 1, "nobody looked for it"
    assert evaluate_coco(one_image(neg_category_ids=[2]), [right, result(2, 0.9)]).detections == 2


def test_the_thirteen_results_have_the_names_of_lvis() -> None:
    lvis = evaluate_coco(one_image(), [result(1, 0.5)]).lvis
    assert lvis is not None
    assert list(lvis) == NAMES
    assert [lvis[name] for name in ("AP", "APf", "APm", "ARm@300")] == pytest.approx([1.0] * 4)
    assert lvis["APr"] == lvis["APc"] == lvis["APs"] == lvis["ARl@300"] == -1, "nothing to find"


def test_the_best_300_of_an_image_count_whatever_their_category() -> None:
    """COCO would take 100 of each class."""
    truth = one_image(neg_category_ids=[2])
    wrong = [result(2, 0.9, left=70.0 + i) for i in range(300)]
    right = result(1, 0.1)
    assert evaluate_coco(truth, [right, *wrong[:299]]).map50 == pytest.approx(1)
    assert evaluate_coco(truth, [right, *wrong]).map50 == 0
    assert evaluate_coco(truth, [right, *wrong], max_dets=(1, 10, 301)).map50 == pytest.approx(1)


def test_ground_truth_of_coco_is_judged_as_before() -> None:
    truth = one_image()
    for image in truth["images"]:
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    metrics: Metrics = evaluate_coco(truth, [result(1, 0.5), result(2, 0.9)])
    assert metrics.lvis is None
    assert metrics.detections == 2


def test_lists_in_some_images_only_are_refused(tmp_path: Path) -> None:
    truth = one_image()
    truth["images"].append({"id": 2, "neg_category_ids": []})
    file = tmp_path / "gt.json"
    file.write_text(json.dumps(truth))
    with pytest.raises(DataError, match=r"gt.json: 1 of 2 images have not_exhaustive_category_ids"):
        evaluate_coco(file, [result(1, 0.5)])
    truth["images"][1] = {"id": 2, "neg_category_ids": ["cat"], "not_exhaustive_category_ids": []}
    with pytest.raises(DataError, match="expected a number"):
        evaluate_coco(truth, [result(1, 0.5)])
