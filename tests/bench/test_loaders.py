"""Loader comparisons: the copy they work on, who is left out and why, the figures, and the chart."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolofast.bench.chart import plot_bars
from yolofast.bench.loaders.comparison import (
    MAX_PIXEL_DIFFERENCE,
    LoaderComparison,
    compare_loaders,
    compare_samples,
)
from yolofast.bench.loaders.dataset import copy_for_bench
from yolofast.bench.loaders.ours import measure_loader
from yolofast.bench.loaders.report import AXIS, panel, text_table
from yolofast.bench.peers.loaders import PEERS, LoaderJob, save
from yolofast.cli import main
from yolofast.errors import ConfigError, DataError


def test_the_copy_holds_all_images_often_enough(sample_yolo: Path, tmp_path: Path) -> None:
    copied = copy_for_bench(sample_yolo, "train", tmp_path / "copy", min_files=50)
    files = sorted((copied.folder / "images").iterdir())
    assert copied.files == len(files) >= 50
    assert copied.files % copied.images == 0
    assert files[0].read_bytes() == files[copied.images].read_bytes()
    assert not files[0].is_symlink()
    job = LoaderJob("opencv", str(copied.folder), copied.classes, 64, augment=False, cache="none")
    assert sum(len(job.labels(path)) for path in files) > 0


@pytest.mark.parametrize(("augment", "cache"), [(False, "none"), (True, "none"), (True, "ram")])
def test_opencv_by_hand_makes_samples(augment: bool, cache: str, sample_yolo: Path, tmp_path: Path) -> None:
    copied = copy_for_bench(sample_yolo, "train", tmp_path / "copy", min_files=1)
    job = LoaderJob("opencv", str(copied.folder), copied.classes, 96, augment=augment, cache=cache)
    samples = PEERS["opencv"][1](job)
    for _ in range(2 * copied.files):
        image, labels = next(samples)
        assert image.shape == (3, 96, 96)
        assert image.dtype == np.uint8
        assert ((labels[:, 1:] >= 0) & (labels[:, 1:] <= 1)).all()
    assert save(samples, 5, 2, str(tmp_path / "s.npz")) == {"samples": 5}
    with np.load(tmp_path / "s.npz") as saved:
        assert saved["images"].shape == (2, 3, 96, 96)
        assert saved["boxes"].shape == (5,)


def test_other_samples_are_noticed() -> None:
    image = np.full((2, 3, 8, 8), 100, dtype=np.uint8)
    boxes = np.array([3, 4])
    assert compare_samples((image, boxes), (image + 1, boxes), same_pixels=True)["pixel_difference"] == 1
    compare_samples((image, boxes), (image + 9, boxes + 1), same_pixels=False)
    for pixels, counts, same in [
        (image + 5, boxes, True),
        (image, boxes + 1, True),
        (image + 50, boxes, False),
        (image, boxes * 5, False),
        (image[..., :4], boxes, False),
        (image.astype(np.float32), boxes, False),
    ]:
        with pytest.raises(DataError):
            compare_samples((image, boxes), (pixels, counts), same_pixels=same)


@pytest.fixture(scope="module")
def out(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes for a peer that is here, one that may not be, and one that cannot."""
    before = {p: p.read_bytes() for p in sample_yolo.parent.rglob("*") if p.is_file()}
    out = tmp_path_factory.mktemp("bench") / "new"
    job = ["--data", str(sample_yolo), "--imgsz", "64", "--augment", "none", "--cache", "ram"]
    short = ["--rounds", "2", "--seconds", "0.05", "--out", str(out)]
    assert main(["bench", "loader", *job, *short, "--peers", "opencv", "ultralytics", "dali"]) == 0
    assert {p: p.read_bytes() for p in sample_yolo.parent.rglob("*") if p.is_file()} == before
    return out


@pytest.fixture(scope="module")
def figures(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "loader.json").read_text(encoding="utf-8"))
    return read


def test_figures_say_what_was_measured(figures: dict[str, Any]) -> None:
    assert figures["images_per_s"] == figures["sides"]["yolofast"]["images_per_s"]["median"] > 0
    assert {"yolofast", "opencv"} <= figures["sides"].keys()
    for side in (*figures["sides"].values(), *figures["floor"].values()):
        rate = side["images_per_s"]
        assert 0 < rate["p20"] <= rate["median"] <= rate["p80"]
        assert side["versions"]
    assert figures["floor"].keys() == {"decode to planes", "libjpeg-turbo to planes"}
    ratio = figures["ratio"]["opencv"]
    assert ratio["p20"] <= ratio["median"] <= ratio["p80"]
    assert figures["checks"]["opencv"]["pixel_difference"] <= MAX_PIXEL_DIFFERENCE
    assert figures["machine"]["cores"] == os.cpu_count()


def test_who_is_left_out_is_told_in_one_line(figures: dict[str, Any]) -> None:
    text = text_table(figures)
    assert "dali: left out: DALI's CPU operators have no cache" in text
    assert "x (" in text
    left_out = figures["left_out"]
    if importlib.util.find_spec("ultralytics") is None:
        assert left_out["ultralytics"].startswith("No module named 'ultralytics' for")
    assert all("\n" not in why for why in left_out.values())


def test_the_chart_is_a_picture_of_all_comparisons(out: Path, figures: dict[str, Any]) -> None:
    from PIL import Image

    two = plot_bars([panel(figures)] * 2, "Loaders", AXIS, out / "two" / "loader.png")
    with Image.open(out / "loader.png") as one_panel, Image.open(two) as two_panels:
        assert one_panel.format == two_panels.format == "PNG"
        assert two_panels.height > one_panel.height > 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peers": ("tensorflow",)}, "peers: got 'tensorflow'"),
        ({"peers_python": Path("nowhere/python")}, "nowhere/python: no such file"),
        ({"threads": 10_000}, "threads: got 10000"),
    ],
)
def test_wrong_settings_cost_one_line(changes: dict[str, object], message: str, sample_yolo: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_loaders(LoaderComparison(sample_yolo, "train", **changes))  # type: ignore[arg-type]


def test_measuring_ours_alone_counts_whole_batches(sample_yolo: Path) -> None:
    found = measure_loader(sample_yolo, "train", imgsz=64, threads=1, augment=None, seconds=0.1, cache="ram")
    assert found["images"] > 0
    assert found["images_per_s"] == pytest.approx(found["images"] / found["seconds"])
    assert found["seconds"] >= 0.1
