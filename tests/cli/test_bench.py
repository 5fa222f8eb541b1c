"""`yolofast bench nms` and `bench map`: small runs, alone and beside pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolofast.bench.nms_checks import compare_detections, compare_kept
from yolofast.bench.work import CONF, CocoSet, detector_head
from yolofast.cli import main
from yolofast.errors import DataError
from yolofast.evaluate import evaluate_coco
from yolofast.kernels import postprocess

SMALL_MAP = [
    "bench",
    "map",
    "--images",
    "12",
    "--detections",
    "300",
    "--rounds",
    "2",
    "--fresh",
    "1",
    "--json",
]


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


def test_bench_nms_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--boxes", "200", "--images", "1", "--rounds", "2", "--seconds", "0.001", "--json"]
    assert main(["bench", "nms", *arguments, "--out", str(tmp_path)]) == 0
    figures = printed(capsys)
    assert all(entry["ms"]["yolofast"]["median"] > 0 for entry in figures["entries"].values())
    assert figures["entries"]["postprocess realistic"]["found"] == 300
    assert json.loads((tmp_path / "nms.json").read_text()) == figures


def test_bench_map_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL_MAP) == 0
    figures = printed(capsys)
    assert set(figures["seconds"]) == {"json", "batches", "one update"}
    assert 0 < figures["compute_share"]["of update and compute"]["median"] < 1
    assert figures["peak_mib"]["yolofast"]["median"] > 10


def test_bench_map_checks_a_peer_before_it_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycocotools")
    assert main([*SMALL_MAP, "--peers", "pycocotools", "hotcoco", "--out", str(tmp_path)]) == 0
    figures = printed(capsys)
    assert figures["checks"]["pycocotools"] == dict.fromkeys(("stats", "precision", "recall", "scores"), True)
    assert figures["ratio"]["json"]["pycocotools"]["median"] > 0
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "map", "--gt", "gt.json"], "got only one of gt and dt"),
        (["bench", "nms", "--peers-python", "nowhere/python"], "nowhere/python: no such file"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("style", ["rounded", "full"])
def test_the_generated_set(style: Any, tmp_path: Path) -> None:
    """As many detections as asked for, most of them wrong, and the same again from the same seed."""
    made = CocoSet(30, 900, style)
    gt, dt = made.write(tmp_path)
    truth, results = made.made()
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
    with pytest.raises(DataError, match="not what greedy suppression of the moved boxes gives"):
        compare_detections(ours, few, "peer", head, **limits)
    with pytest.raises(DataError, match="gives 1 images, expected 2"):
        compare_detections(ours, ours, "peer", np.concatenate([head, head]), **limits)
    one_class = head[:, :5]  # nothing is moved
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
    with pytest.raises(DataError, match="1 are kept by one alone"):
        compare_kept(ours, {"kept": np.array([0, 1])}, "peer", scores)
    with pytest.raises(DataError, match="not by falling score"):
        compare_kept(ours, {"kept": np.array([1, 0, 2])}, "peer", scores)
