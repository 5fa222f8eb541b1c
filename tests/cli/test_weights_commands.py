"""val, predict and export of a weights file: its own settings, folders of their own, and what went wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from support.dataset_files import write_image

from yolofast.cli import main
from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, ConfigError
from yolofast.models import build_model, save_weights
from yolofast.output_folder import output_folder
from yolofast.pipeline import evaluate_run, train_run
from yolofast.trained_settings import trained_config


@pytest.fixture(scope="module")
def rect_run(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """Weights that were trained and validated on rectangular batches of 5, and the metrics of the epoch."""
    project = tmp_path_factory.mktemp("rect")
    settings = {"data": sample_yolo, "imgsz": 96, "epochs": 1, "model": "p", "workers": 0, "plots": False}
    config = YOLOConfig().replace(**settings, project=project, device="cpu", batch=5, rect=True, pad=0.25)
    folder, result = train_run(config)
    return folder / "weights" / "last.safetensors", result["training_history"][-1]


@pytest.fixture(scope="module")
def plain_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the sample's classes whose header has nothing about a training."""
    path = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    names = ("circle", "square", "triangle", "star", "ring")
    save_weights(build_model("p", 5, class_names=names, seed=0), path)
    return path


def test_val_of_a_rectangular_run_gives_the_figures_of_its_training(
    rect_run: tuple[Path, dict[str, float]], sample_yolo: Path
) -> None:
    weights, row = rect_run
    settings = {"data": sample_yolo, "workers": 0, "device": "cpu"}
    overall = evaluate_run(weights, trained_config(weights, **settings), split="val").overall_metrics
    for name in ("box", "cls", "dfl", "loss"):
        assert overall[name] == pytest.approx(row[f"val_{name}"], rel=1e-6), name
    assert overall["map50"] == row["map50"]
    square = evaluate_run(weights, trained_config(weights, rect=False, **settings)).overall_metrics
    assert abs(square["box"] - row["val_box"]) > 1e-4 * row["val_box"], "other pixels"


def test_settings_come_from_the_weights_then_from_the_flags(
    rect_run: tuple[Path, dict[str, float]],
    plain_weights: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = trained_config(rect_run[0], batch=None, device="cpu")
    settings = config.dataset
    assert (settings.imgsz, settings.rect, settings.pad, config.training.batch) == (96, True, 0.25, 5)
    assert config.training.epochs == YOLOConfig().training.epochs, "only what validation sees is kept"
    flags = trained_config(rect_run[0], rect=False, imgsz=32)
    assert (flags.dataset.imgsz, flags.dataset.rect, flags.training.batch) == (32, False, 16)
    assert trained_config(rect_run[0], batch=2).training.batch == 2
    assert not caplog.records

    assert trained_config(plain_weights).dataset.imgsz == 640
    assert "plain.safetensors does not say at which image size it was trained: using 640" in caplog.text
    caplog.clear()
    assert trained_config(plain_weights, imgsz=64).dataset.imgsz == 64
    assert not caplog.records
    model = build_model("p", 1)
    for settings in ('{"dataset": {"rect": "yes"}}', "[1]", "{"):
        save_weights(model, tmp_path / "w.safetensors", {"imgsz": "64", "settings": settings})
        with pytest.raises(CheckpointError, match=r"settings that make no sense.*Give --imgsz"):
            trained_config(tmp_path / "w.safetensors")
        assert trained_config(tmp_path / "w.safetensors", imgsz=32).dataset.imgsz == 32


def test_val_takes_the_usual_flags(
    plain_weights: Path, sample_yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "val",
        "--weights",
        str(plain_weights),
        "--data",
        str(sample_yolo),
        "--project",
        str(tmp_path),
    ]
    arguments += ["--imgsz", "64", "--device", "cpu", "--workers", "0", "--json"]
    more = [
        "--split",
        "val",
        "--no-rect",
        "--conf",
        "1e-6",
        "--iou",
        "0.6",
        "--max-det",
        "7",
        "--classes",
        "star",
        "1",
        "--half",
        "--augment",
        "--batch",
        "3",
    ]
    assert main([*arguments, *more]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["classes"]) == {"square", "star"}
    assert 0 < figures["detections"] <= 7 * figures["images"]
    entries = json.loads((tmp_path / "val" / "predictions.json").read_text())
    assert {entry["category_id"] for entry in entries} <= {2, 4}
    assert main([*arguments, "--classes", "stat"]) == 2
    assert "classes: got 'stat'" in (error := capsys.readouterr().err)
    assert "Did you mean 'star'?" in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["val"], "a run that failed leaves no folder"
    with pytest.raises(ConfigError, match="split: got 'dev', expected train, val"):
        evaluate_run(plain_weights, YOLOConfig().replace(data=sample_yolo), split="dev")


def test_runs_of_predict_never_mix(
    plain_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_image(first / "a.png")
    write_image(first / "b.png")
    write_image(second / "a.png", width=60)
    arguments = ["predict", "--weights", str(plain_weights), "--imgsz", "64", "--device", "cpu"]
    arguments += ["--project", str(tmp_path / "runs")]
    for source, name in ((first, "predict"), (second, "predict-2"), (second, "predict-3")):
        assert main([*arguments, "--source", str(source), "--rect", "--batch", "1", "--half"]) == 0
        folder = tmp_path / "runs" / name
        assert f"written to {folder}\n" in capsys.readouterr().out
        names = {p.name for p in source.iterdir()} | {"detections.json"}
        assert {p.name for p in folder.iterdir()} == names
    assert main([*arguments, "--source", str(second), "--exist-ok"]) == 0
    assert f"written to {tmp_path / 'runs' / 'predict'}\n" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "predict-4").exists()
    assert main([*arguments, "--source", str(second), "--name", "../other"]) == 2
    assert "name: got '../other'" in capsys.readouterr().err


def test_images_that_failed_set_the_exit_code(
    plain_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.jpg").write_bytes(b"no")
    arguments = [
        "predict",
        "--weights",
        str(plain_weights),
        "--source",
        str(tmp_path / "in"),
        "--imgsz",
        "64",
    ]
    arguments += ["--device", "cpu", "--project", str(tmp_path)]
    assert main([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    entries = json.loads(out)
    assert [entry["error"] is None for entry in entries] == [True, False]
    file = tmp_path / "predict" / "detections.json"
    assert f"1 of 2 images could not be read; {file} says why" in err
    assert json.loads(file.read_text()) == entries
    (tmp_path / "in" / "b.jpg").unlink()
    assert main(arguments) == 0


def test_runs_that_start_together_get_folders_of_their_own(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def claim(_: int) -> Path:
        with output_folder(tmp_path / "runs", "group/val/") as folder:
            return folder

    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(claim, range(40)))
    assert len(folders) == 40
    assert folders >= {tmp_path / "runs" / "group" / "val", tmp_path / "runs" / "group" / "val-40"}


def test_what_failed_leaves_only_the_folders_that_there_were(tmp_path: Path) -> None:
    own = tmp_path / "runs" / "val"
    own.mkdir(parents=True)
    for project, exist_ok in (
        (tmp_path / "runs", False),
        (tmp_path / "runs", True),
        (tmp_path / "a/b", True),
    ):
        with contextlib.suppress(KeyError), output_folder(project, "val", exist_ok=exist_ok) as folder:
            assert folder.is_dir()
            raise KeyError
    assert list(tmp_path.rglob("*")) == [own.parent, own]


def test_export_says_when_the_weights_have_no_size(
    plain_weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    target = "yolofast.export.exporter.write_torchscript"
    monkeypatch.setattr(
        target, lambda module, path, imgsz, **more: (seen.append(imgsz), path.write_bytes(b"x"))
    )
    arguments = ["export", "--weights", str(plain_weights), "--format", "torchscript"]
    assert main([*arguments, "--out", str(tmp_path / "m.torchscript")]) == 0
    assert seen == [640]
    assert "does not say at which image size it was trained" in caplog.text
