"""One side of `yolofast bench nms` or `bench map`, ours or a peer's, in a process of its own.

This file is run as a script, also by the interpreter of the peers' own environment, which has no yolofast:
it needs numpy and the package that it measures, nothing else. The argument is a job in JSON; the first line
it writes says what was built; then each line of JSON that it reads has one line of answer. The end of the
input ends the process. Imports are late, because the start of a process is measured too.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

BATCH = 64
"""Images an update, when metrics are gathered as a validation gathers them."""
NO_LIMIT_SECONDS = 1e9
MOST_CANDIDATES = 30_000
"""Most candidates of an image that go into suppression: Ultralytics' own default, given to both."""

Answer = dict[str, Any]
Serves = Mapping[str, Callable[..., Answer]]


# ---------------------------------------------------------------- suppression


class Call(NamedTuple):
    """Something to time: `run` does it, `arrays` makes numpy arrays of what it gave, and `restore`, which
    is not timed, gives back inputs that `run` changes."""

    run: Callable[[], Any]
    arrays: Callable[[Any], dict[str, Any]]
    restore: Callable[[], object] = lambda: None


def _kept(indices: Any) -> dict[str, Any]:
    import numpy as np

    return {"kept": np.asarray(indices)}


def _own_call(case: Mapping[str, Any], given: Mapping[str, Any]) -> Call:
    import numpy as np

    from yolofast import kernels

    iou = case["iou"]
    if case["work"] == "postprocess":
        limits = {"conf": case["conf"], "iou": iou, "max_det": case["max_det"]}

        def arrays(found: Any) -> dict[str, Any]:
            return {
                "counts": np.array([len(image) for image in found]),
                "boxes": np.concatenate([image.boxes for image in found]),
                "scores": np.concatenate([image.scores for image in found]),
                "classes": np.concatenate([image.classes for image in found]),
            }

        head = given["head"]
        limits |= {"multi_label": True, "max_candidates": MOST_CANDIDATES}
        return Call(lambda: kernels.postprocess(head, **limits), arrays)
    boxes, scores, classes = given["boxes"], given["scores"], given["classes"]
    if case["work"] == "nms":
        return Call(lambda: kernels.nms(boxes, scores, iou), _kept)
    if case["work"] == "soft_nms":
        return Call(lambda: kernels.soft_nms(boxes, scores, classes), lambda found: _kept(found[0]))
    return Call(lambda: kernels.batched_nms(boxes, scores, classes, iou), _kept)


def _torchvision_call(case: Mapping[str, Any], given: Mapping[str, Any]) -> Call:
    import torch
    import torchvision

    torch.set_num_threads(1)
    boxes, scores, classes = (torch.from_numpy(given[name]) for name in ("boxes", "scores", "classes"))
    if case["work"] == "nms":
        return Call(lambda: torchvision.ops.nms(boxes, scores, case["iou"]), _kept)
    return Call(lambda: torchvision.ops.batched_nms(boxes, scores, classes, case["iou"]), _kept)


def _ultralytics_call(case: Mapping[str, Any], given: Mapping[str, Any]) -> Call:
    import numpy as np
    import torch
    import torchvision  # noqa: F401 - it suppresses with torchvision, and many times faster, when that is there
    from ultralytics.utils.nms import non_max_suppression

    torch.set_num_threads(1)
    original = torch.from_numpy(given["head"])
    head = original.clone()

    def run() -> Any:
        return non_max_suppression(
            head,
            case["conf"],
            case["iou"],
            multi_label=True,
            max_det=case["max_det"],
            max_nms=MOST_CANDIDATES,
            max_time_img=NO_LIMIT_SECONDS,
        )

    def arrays(found: Any) -> dict[str, Any]:
        rows = torch.cat(list(found)).numpy()
        return {
            "counts": np.array([len(image) for image in found]),
            "boxes": rows[:, :4],
            "scores": rows[:, 4],
            "classes": rows[:, 5].astype(np.int64),
        }

    # The boxes may be converted in place.
    return Call(run, arrays, lambda: head[:, :4].copy_(original[:, :4]))


NMS_CALLS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Call]] = {
    "yolofast": _own_call,
    "torchvision": _torchvision_call,
    "ultralytics": _ultralytics_call,
}
NMS_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "yolofast": ("yolofast", "numpy"),
    "torchvision": ("torchvision", "torch"),
    "ultralytics": ("ultralytics", "torchvision", "torch"),
}


def suppression(side: str) -> Serves:
    """Answers `prepare` (do a case once and save what came of it) and `run` (time so many calls)."""
    import numpy as np

    __import__(NMS_PACKAGES[side][0])
    calls: dict[str, Call] = {}

    def prepare(name: str, case: Mapping[str, Any], inputs: Mapping[str, str], to: str) -> Answer:
        made = NMS_CALLS[side](case, {key: np.load(path) for key, path in inputs.items()})
        found = made.arrays(made.run())
        np.savez(to, **found)
        calls[name] = made
        return {"found": len(next(iter(found.values())))}

    def run(name: str, count: int) -> Answer:
        made, seconds = calls[name], 0.0
        for _ in range(count):
            made.restore()
            started = time.perf_counter()
            made.run()
            seconds += time.perf_counter() - started
        return {"seconds": seconds}

    return {"prepare": prepare, "run": run}


# ---------------------------------------------------------------- metrics

Evaluated = tuple[Any, Mapping[str, Any]]
"""The figures [12], and the arrays `precision`, `recall` and `scores`."""


def _as_pycocotools(coco: Any, evaluation: Any, results: str, gt: str, dt: str) -> Evaluated:
    truth = coco(gt)
    found = evaluation(truth, getattr(truth, results)(dt), "bbox")
    found.evaluate()
    found.accumulate()
    found.summarize()
    return found.stats, found.eval


def _evaluate_json(side: str, gt: str, dt: str, threads: int) -> Evaluated:
    """Load both files and evaluate."""
    if side == "yolofast":
        from yolofast.evaluate import evaluate_coco

        metrics = evaluate_coco(gt, dt, threads=threads)
        return metrics.stats, metrics.eval
    if side == "hotcoco":
        import hotcoco

        return _as_pycocotools(hotcoco.COCO, hotcoco.COCOeval, "load_res", gt, dt)
    if side == "faster-coco-eval":
        import faster_coco_eval

        return _as_pycocotools(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, "loadRes", gt, dt)
    if side == "ultrafast-pycocotools":
        from ultrafast_pycocotools.coco import COCO
        from ultrafast_pycocotools.cocoeval import COCOeval
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    return _as_pycocotools(COCO, COCOeval, "loadRes", gt, dt)


class FromArrays:
    """A detector's output in memory, as `CocoMetrics.update` takes it, in batches of 64 images and as one."""

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
            """Image, class, xyxy boxes, and the rows themselves: what is listed, by image."""
            places = np.searchsorted(images, [row["image_id"] for row in rows])
            listed = np.isin([row["image_id"] for row in rows], images)
            listed &= np.isin([row["category_id"] for row in rows], categories)
            order = np.flatnonzero(listed)
            order = order[np.argsort(places[order], kind="stable")]
            rows = [rows[i] for i in order]
            boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            return places[order], np.searchsorted(categories, [r["category_id"] for r in rows]), boxes, rows

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
            made = []
            for first in range(0, len(images), size):
                last = min(first + size, len(images))
                low, high = np.searchsorted(gt_image, [first, last])
                truths = (gt_box[low:high], gt_class[low:high], crowd[low:high])
                places = {"gt_images": gt_image[low:high] - first, "gt_areas": areas[low:high]}
                made.append((each[first:last], *truths, {**places, "image_ids": images[first:last]}))
            return made

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


def metrics(side: str, gt: str, dt: str, threads: int) -> Serves:
    """Answers `run` (evaluate once and time it) and `save` (the figures of the latest run)."""
    import numpy as np

    arrays: list[FromArrays] = []
    latest: list[Evaluated] = []
    __import__(MAP_PACKAGES[side].replace("-", "_"))

    def run(way: str) -> Answer:
        if way != "json" and not arrays:
            arrays.append(FromArrays(gt, dt, threads))
        latest.clear()
        if way == "json":
            started = time.perf_counter()
            latest.append(_evaluate_json(side, gt, dt, threads))
            return {"seconds": time.perf_counter() - started}
        found, answer = arrays[0].run(way)
        latest.append(found)
        return answer

    def save(to: str) -> Answer:
        stats, evaluated = latest[0]
        np.savez(to, stats=stats, **{k: evaluated[k] for k in ("precision", "recall", "scores")})
        return {}

    return {"run": run, "save": save}


MAP_PACKAGES: Mapping[str, str] = {
    name: name for name in ("yolofast", "hotcoco", "ultrafast-pycocotools", "faster-coco-eval", "pycocotools")
}


def peak_memory() -> int:
    """Bytes that this process has held at most.

    Not `ru_maxrss`: that begins with what the parent held when it started us.
    """
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - as above
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# ---------------------------------------------------------------- protocol


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    from importlib import metadata

    return {package: metadata.version(package) for package in packages}


def _built(job: Mapping[str, Any]) -> tuple[Answer, Serves]:
    side = job["side"]
    if job["bench"] == "nms":
        return {"versions": _versions(NMS_PACKAGES[side])}, suppression(side)
    if job["once"]:
        stats, _ = _evaluate_json(side, job["gt"], job["dt"], job["threads"])
        return {"stats": [float(figure) for figure in stats], "peak_bytes": peak_memory()}, {}
    serves = metrics(side, job["gt"], job["dt"], job["threads"])
    return {"versions": _versions((MAP_PACKAGES[side], "numpy"))}, serves


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        hello, serves = _built(json.loads(sys.argv[1]))
    except ImportError as problem:
        hello, serves = {"left_out": str(problem)}, {}
    print(json.dumps(hello), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = serves[request.pop("ask")](**request)
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
