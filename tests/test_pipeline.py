"""The pipeline: preparing on demand, run folders, and the promised return values."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from yolofast.config import LoggingConfig, YOLOConfig
from yolofast.errors import CheckpointError, ConfigError, DataError
from yolofast.models import save_weights
from yolofast.pipeline import (
    auto_prepare_dataset_if_needed,
    evaluate_run,
    loader_device,
    new_run,
    resolve_data,
    resumed_config,
    start_model,
    train_model,
    train_run,
)
from yolofast.sample import make_sample_dataset
from yolofast.stopwatch import Stopwatch
from yolofast.train import CheckpointManager, TrainingMonitor


def test_a_prepared_dataset_is_returned_at_once(sample_yolo: Path) -> None:
    assert auto_prepare_dataset_if_needed(sample_yolo.parent, "yolo") == sample_yolo.parent


def test_a_raw_dataset_is_prepared_beside_it(tmp_path: Path) -> None:
    raw = make_sample_dataset(tmp_path / "raw", count=10)
    before = {p.name: p.read_bytes() for p in raw.iterdir()}
    prepared = auto_prepare_dataset_if_needed(raw)
    assert (prepared / "data.yaml").exists()
    assert prepared != raw
    made = (prepared / "data.yaml").stat().st_ino
    assert resolve_data(raw).path == prepared / "data.yaml"
    assert (prepared / "data.yaml").stat().st_ino == made  # nothing changed: it is used as it is
    (raw / "shape_0000.jpg").touch()
    assert auto_prepare_dataset_if_needed(raw) == prepared
    assert (prepared / "data.yaml").stat().st_ino != made
    assert {p.name: p.read_bytes() for p in raw.iterdir()} == before


def test_a_linked_dataset_is_prepared_beside_the_link(tmp_path: Path) -> None:
    raw = make_sample_dataset(tmp_path / "elsewhere" / "raw", count=4)
    (tmp_path / "mine").symlink_to(raw)
    assert auto_prepare_dataset_if_needed(tmp_path / "mine") == tmp_path / "mine_yolo"
    assert [p.name for p in raw.parent.iterdir()] == ["raw"]


def test_a_linked_data_yaml_belongs_to_the_folder_of_the_link(sample_yolo: Path, tmp_path: Path) -> None:
    """As in folders of data version control, whose files are links into a store."""
    root = shutil.copytree(sample_yolo.parent, tmp_path / "set")
    (root / "data.yaml").rename(tmp_path / "blob")
    (root / "data.yaml").symlink_to(tmp_path / "blob")
    assert auto_prepare_dataset_if_needed(root) == root
    assert resolve_data(root).splits["train"] == (root / "train" / "images",)


def test_no_folder_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Create it and put your images and annotations in it"):
        auto_prepare_dataset_if_needed(tmp_path / "none")
    with pytest.raises(ConfigError, match="model_type: got 'rcnn', expected yolo"):
        auto_prepare_dataset_if_needed(tmp_path, "rcnn")


def test_runs_never_share_a_folder_and_resume_goes_back(tmp_path: Path) -> None:
    config = YOLOConfig().replace(project=tmp_path, name="a", epochs=3)
    names = []
    for _ in range(3):
        made = new_run(config)
        names.append(made.logging.name)
        made.to_yaml(made.logging.run_dir / "config.yaml")
    assert names == ["a", "a-2", "a-3"]
    resumed = resumed_config(LoggingConfig(project=tmp_path, name="a-2"))
    assert (resumed.logging.name, resumed.training.epochs, resumed.training.resume) == ("a-2", 3, True)
    with pytest.raises(CheckpointError, match="no run to resume"):
        resumed_config(LoggingConfig(project=tmp_path, name="b"))


def test_train_model_returns_what_is_promised(sample_yolo: Path, tmp_path: Path) -> None:
    config = YOLOConfig().replace(
        data=sample_yolo, imgsz=64, epochs=2, batch=16, model="p", workers=0, device="cpu"
    )
    model = start_model(config, ("circle", "square", "triangle", "star", "ring"))
    manager = CheckpointManager(tmp_path / "weights", model.metadata())
    result = train_model(model, config, manager, TrainingMonitor(tmp_path))
    assert result.keys() == {"training_history", "best_metric", "final_epoch"}
    assert result["final_epoch"] == len(result["training_history"]) == 2
    row = result["training_history"][-1]
    assert row.keys() >= {"map50", "map50_95", "lr", "epoch_s", "memory_mb", "val_loss", "train_box"}
    flow = json.loads((tmp_path / "dataflow.json").read_text())
    assert {"warm_up", "advice", "queue_depth"} <= flow.keys()
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "dataflow.png").read_bytes().startswith(b"\x89PNG")


def test_stages_report_and_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    clock = Stopwatch(2, lines.append)
    for name in ("first", "second"):
        with clock.stage(name, "what it does"):
            pass
    assert lines[::2] == ["\n[1/2] first: what it does", "\n[2/2] second: what it does"]
    assert list(clock.seconds) == ["first", "second"]
    assert capsys.readouterr() == ("", "")


def small_run(data: Path, project: Path) -> YOLOConfig:
    return YOLOConfig().replace(
        data=data, imgsz=32, epochs=1, model="p", workers=0, device="cpu", project=project, plots=False
    )


def test_weights_of_other_classes_are_refused(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path)
    save_weights(start_model(config, ("cat", "dog")), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="not the model's"):
        evaluate_run(tmp_path / "w.safetensors", config)


def test_a_single_class_model_is_evaluated_as_one(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path)
    folder, _ = train_run(config.replace(single_cls=True))
    evaluation = evaluate_run(folder / "weights" / "best.safetensors", config)
    assert list(evaluation.class_metrics) == ["object"]


def test_a_run_that_cannot_start_leaves_no_folder(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path / "runs")
    with pytest.raises(CheckpointError):
        train_run(config.replace(weights=tmp_path / "nothing.safetensors"))
    with pytest.raises(ConfigError):
        train_run(config.replace(device="cuda:77"))
    assert not (tmp_path / "runs").exists()


def test_batches_are_rendered_where_the_config_says(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path)
    for choice in ("auto", "cpu"):
        assert loader_device(config.replace(loader_device=choice)) is None
    with pytest.raises(ConfigError, match="loader_device: got 'cuda', but the training device is cpu"):
        train_run(config.replace(loader_device="cuda"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="loader_device"):
        config.replace(loader_device="tpu")


def test_a_finished_run_continues_with_more_epochs(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path)
    train_run(config)
    logging = LoggingConfig(project=tmp_path)
    assert train_run(resumed_config(logging))[1]["final_epoch"] == 1
    folder, result = train_run(resumed_config(logging).replace(epochs=3))
    assert (folder.name, result["final_epoch"]) == ("train", 3)
    assert [row["epoch"] for row in result["training_history"]] == [0, 1, 2]
    assert resumed_config(logging).training.epochs == 3


def test_without_validation_boxes_the_best_epoch_has_the_lowest_loss(
    sample_yolo: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(sample_yolo.parent, root)
    for label in (root / "valid" / "labels").iterdir():
        label.write_text("")
    config = small_run(root / "data.yaml", tmp_path).replace(epochs=2)
    folder, result = train_run(config)
    assert all(math.isnan(row["map50_95"]) for row in result["training_history"])
    assert result["best_metric"] == -min(row["val_loss"] for row in result["training_history"])
    assert (folder / "weights" / "best.safetensors").exists()


def test_training_from_weights_keeps_the_backbone(sample_yolo: Path, tmp_path: Path) -> None:
    config = YOLOConfig().replace(model="p", seed=1)
    first = start_model(config, ("a", "b"))
    save_weights(first, tmp_path / "w.safetensors")
    second = start_model(config.replace(weights=tmp_path / "w.safetensors", seed=2), ("x", "y", "z"))
    theirs = second.state_dict()
    kept = [n for n, v in first.state_dict().items() if v.shape == theirs[n].shape]
    assert len(kept) > 100
    assert all(torch.equal(first.state_dict()[n], theirs[n]) for n in kept)
