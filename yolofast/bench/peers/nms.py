"""NMS and postprocessing, ours or a peer's, as `yolofast bench nms` measures them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from .serve import Answer, Requests, versions

NO_LIMIT_SECONDS = 1e9
MAX_CANDIDATES = 30_000
"""Max candidates per image that go into NMS: Ultralytics' own default, given to both."""


class Call(NamedTuple):
    """A function to time: `run` calls it, `arrays` turns its result into numpy arrays, and `restore`, which
    is not timed, resets inputs that `run` changes."""

    run: Callable[[], Any]
    arrays: Callable[[Any], dict[str, Any]]
    restore: Callable[[], object] = lambda: None


def _kept(indices: Any) -> dict[str, Any]:
    import numpy as np

    return {"kept": np.asarray(indices)}


def _our_call(case: Mapping[str, Any], given: Mapping[str, Any]) -> Call:
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
        limits |= {"multi_label": True, "max_candidates": MAX_CANDIDATES}
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
    import torchvision  # noqa: F401 - its NMS uses torchvision, many times faster, once that is imported
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
            max_nms=MAX_CANDIDATES,
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


CALLS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Call]] = {
    "yolofast": _our_call,
    "torchvision": _torchvision_call,
    "ultralytics": _ultralytics_call,
}
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "yolofast": ("yolofast", "numpy"),
    "torchvision": ("torchvision", "torch"),
    "ultralytics": ("ultralytics", "torchvision", "torch"),
}


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Serve `prepare` (run a case once and save its result) and `run` (time so many calls of it).

    The job: `participant`, a key of `CALLS`.
    """
    import numpy as np

    participant = job["participant"]
    import_module(PACKAGES[participant][0])
    calls: dict[str, Call] = {}

    def prepare(name: str, case: Mapping[str, Any], inputs: Mapping[str, str], to: str) -> Answer:
        """`inputs`: argument -> path of its array (npy); `to`: where the result is saved (npz)."""
        call = CALLS[participant](case, {key: np.load(path) for key, path in inputs.items()})
        found = call.arrays(call.run())
        np.savez(to, **found)
        calls[name] = call
        return {"found": len(next(iter(found.values())))}

    def run(name: str, count: int) -> Answer:
        call, seconds = calls[name], 0.0
        for _ in range(count):
            call.restore()
            started = time.perf_counter()
            call.run()
            seconds += time.perf_counter() - started
        return {"seconds": seconds}

    return {"versions": versions(PACKAGES[participant])}, {"prepare": prepare, "run": run}
