"""`yolofast bench nms` and `bench map`: small runs, alone and compared with pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolofast.cli import main

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
        (["bench", "map", "--gt", "gt.json"], "gt and dt: got only one"),
        (["bench", "map", "--gt", "gt.json", "--dt", "dt.json"], "gt: gt.json: no such file"),
        (["bench", "map", "--detections", "-1"], "detections: got -1"),
        (["bench", "map", "--fresh", "0"], "fresh: got 0"),
        (["bench", "map", "--threads", "0"], "threads: got 0"),
        (["bench", "nms", "--boxes"], "boxes: got no number"),
        (["bench", "nms", "--boxes", "5", "0"], "boxes: got 5 0"),
        (["bench", "nms", "--rounds", "0"], "rounds: got 0"),
        (["bench", "nms", "--images", "0"], "images: got 0"),
        (["bench", "nms", "--peers", "dali"], "(each item one of all, torchvision, ultralytics)"),
        (["bench", "nms", "--peers-python", "nowhere/python"], "nowhere/python: no such file"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
