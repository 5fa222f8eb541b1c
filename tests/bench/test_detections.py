"""What detection benchmarks run on, and how the results of two packages are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolofast.bench.detections.coco_set import CocoSet
from yolofast.bench.detections.nms_agreement import compare_detections, compare_kept
from yolofast.bench.detections.nms_inputs import CONF, detector_head
from yolofast.errors import DataError
from yolofast.evaluate import evaluate_coco
from yolofast.kernels import postprocess


@pytest.mark.parametrize("style", ["rounded", "full"])
def test_the_generated_set(style: Any, tmp_path: Path) -> None:
    """As many detections as asked for, most of them wrong, and the same again from the same seed."""
    generated = CocoSet(30, 900, style)
    gt, dt = generated.write(tmp_path)
    truth, results = generated.generate()
    assert json.loads(gt.read_text()) == truth
    assert json.loads(dt.read_text()) == results
    assert len(results) == 900
    assert 0.05 < evaluate_coco(gt, dt).map50 < 0.95


def found(head: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    images = postprocess(head, **options)
    return {
        "counts": np.array([len(image) for image in images]),
        "boxes": np.concatenate([image.boxes for image in images]),
        "scores": np.concatenate([image.scores for image in images]),
        "classes": np.concatenate([image.classes for image in images]),
    }


def test_detections_that_differ_are_counted_or_refused() -> None:
    head = detector_head(1, 8, 3000)
    limits = {"conf": CONF, "iou": 0.7, "max_det": 300}
    ours = found(head, **limits)
    few = found(head, **{**limits, "iou": 0.3})
    with pytest.raises(DataError, match="differs from greedy NMS of the offset boxes"):
        compare_detections(ours, few, "peer", head, **limits)
    with pytest.raises(DataError, match="returns 1 images, expected 2"):
        compare_detections(ours, ours, "peer", np.concatenate([head, head]), **limits)
    one_class = head[:, :5]  # nothing is offset
    same = found(one_class, **limits)
    counted = compare_detections(same, same, "peer", one_class, **limits)
    assert counted == {"equal": len(same["scores"]), "from moved boxes only": 0}


def test_kept_boxes_that_differ_are_refused() -> None:
    scores = np.array([0.9, 0.5, 0.5], np.float32)
    ours = {"kept": np.array([0, 1, 2])}
    assert compare_kept(ours, {"kept": np.array([0, 2, 1])}, "peer", scores) == {
        "equal": 1,
        "equal scores in another order": 2,
    }
    with pytest.raises(DataError, match="1 are kept by only one of them"):
        compare_kept(ours, {"kept": np.array([0, 1])}, "peer", scores)
    with pytest.raises(DataError, match="not in descending order of score"):
        compare_kept(ours, {"kept": np.array([1, 0, 2])}, "peer", scores)
