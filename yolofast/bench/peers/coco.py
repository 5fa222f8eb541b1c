"""COCO evaluation, ours or a peer's, as `yolofast bench map` measures it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .serve import Answer, Requests, versions

BATCH = 64
"""Images per update, when metrics are gathered as a validation gathers them."""

Evaluated = tuple[Any, Mapping[str, Any]]
"""The metrics float64 [12], and the arrays `precision`, `recall` and `scores`."""


def _as_pycocotools(coco: Any, evaluation: Any, results: str, gt: str, dt: str) -> Evaluated:
    truth = coco(gt)
    found = evaluation(truth, getattr(truth, results)(dt), "bbox")
    found.evaluate()
    found.accumulate()
    found.summarize()
    return found.stats, found.eval


def _evaluate_files(participant: str, gt: str, dt: str, threads: int) -> Evaluated:
    """Load both files and evaluate."""
    if participant == "yolofast":
        from yolofast.evaluate import evaluate_coco

        metrics = evaluate_coco(gt, dt, threads=threads)
        return metrics.stats, metrics.eval
    if participant == "hotcoco":
        import hotcoco

        return _as_pycocotools(hotcoco.COCO, hotcoco.COCOeval, "load_res", gt, dt)
    if participant == "faster-coco-eval":
        import faster_coco_eval

        return _as_pycocotools(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, "loadRes", gt, dt)
    if participant == "ultrafast-pycocotools":
        from ultrafast_pycocotools.coco import COCO
        from ultrafast_pycocotools.cocoeval import COCOeval
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    return _as_pycocotools(COCO, COCOeval, "loadRes", gt, dt)


class FromArrays:
    """The same detections in memory for `CocoMetrics.update`, in batches of 64 images and at once."""

    def __init__(self, gt: str, dt: str, threads: int) -> None:
        import numpy as np

        with open(gt, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be imported for this alone
            truth = json.load(file)
        with open(dt, encoding="utf-8") as file:  # noqa: PTH123
            results = json.load(file)
        images = np.unique([image["id"] for image in truth["images"]])
        categories = np.unique([category["id"] for category in truth["categories"]])
        self.threads, self.classes = threads, len(categories)

        def columns(rows: list[Any]) -> tuple[Any, Any, Any, list[Any]]:
            """Image, class, xyxy boxes, and rows of the listed images and categories, sorted by image."""
            positions = np.searchsorted(images, [row["image_id"] for row in rows])
            listed = np.isin([row["image_id"] for row in rows], images)
            listed &= np.isin([row["category_id"] for row in rows], categories)
            order = np.flatnonzero(listed)
            order = order[np.argsort(positions[order], kind="stable")]
            rows = [rows[i] for i in order]
            boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            return (
                positions[order],
                np.searchsorted(categories, [r["category_id"] for r in rows]),
                boxes,
                rows,
            )

        dt_image, dt_class, dt_box, dt_rows = columns(results)
        gt_image, gt_class, gt_box, gt_rows = columns(truth["annotations"])
        areas = np.array([row.get("area", row["bbox"][2] * row["bbox"][3]) for row in gt_rows], np.float64)
        crowd = np.array([row.get("iscrowd", 0) for row in gt_rows], bool)
        score = np.array([row["score"] for row in dt_rows], np.float64)

        from yolofast.types import Detections

        edges = np.searchsorted(dt_image, np.arange(len(images) + 1))
        each = [
            Detections(dt_box[a:b], score[a:b], dt_class[a:b].astype(np.int64))  # type: ignore[arg-type]
            for a, b in itertools.pairwise(edges)
        ]

        def batches(size: int) -> list[tuple[Any, ...]]:
            updates = []
            for first in range(0, len(images), size):
                last = min(first + size, len(images))
                low, high = np.searchsorted(gt_image, [first, last])
                truths = (gt_box[low:high], gt_class[low:high], crowd[low:high])
                options = {"gt_images": gt_image[low:high] - first, "gt_areas": areas[low:high]}
                updates.append((each[first:last], *truths, {**options, "image_ids": images[first:last]}))
            return updates

        self.batches = {"batches": batches(BATCH), "one update": batches(max(1, len(images)))}

    def run(self, way: str) -> tuple[Evaluated, dict[str, float]]:
        from yolofast.evaluate import CocoMetrics

        started = time.perf_counter()
        gathered = CocoMetrics(self.classes, threads=self.threads)
        for found, boxes, classes, crowd, more in self.batches[way]:
            gathered.update(found, boxes, classes, crowd, **more)
        updated = time.perf_counter()
        metrics = gathered.compute()
        seconds = time.perf_counter() - started
        return (metrics.stats, metrics.eval), {
            "seconds": seconds,
            "compute_seconds": seconds - (updated - started),
        }


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Serve `run` (evaluate once and time it) and `save` (the metrics of the latest run).

    The job: `participant`, a distribution; `gt` and `dt`, the two files; `threads`; with `once`, both
    files are evaluated before the first answer, which has the `stats`, and nothing is served.
    """
    participant, gt, dt, threads = job["participant"], job["gt"], job["dt"], job["threads"]
    if job["once"]:
        stats, _ = _evaluate_files(participant, gt, dt, threads)
        return {"stats": [float(each) for each in stats]}, {}

    import numpy as np

    import_module(participant.replace("-", "_"))
    arrays: list[FromArrays] = []
    latest: list[Evaluated] = []

    def run(way: str) -> Answer:
        """`way`: "json", both files, or a key of `FromArrays.batches`."""
        if way != "json" and not arrays:
            arrays.append(FromArrays(gt, dt, threads))
        latest.clear()
        if way == "json":
            started = time.perf_counter()
            latest.append(_evaluate_files(participant, gt, dt, threads))
            return {"seconds": time.perf_counter() - started}
        evaluated, answer = arrays[0].run(way)
        latest.append(evaluated)
        return answer

    def save(to: str) -> Answer:
        stats, evaluated = latest[0]
        np.savez(to, stats=stats, **{k: evaluated[k] for k in ("precision", "recall", "scores")})
        return {}

    return {"versions": versions((participant, "numpy"))}, {"run": run, "save": save}
