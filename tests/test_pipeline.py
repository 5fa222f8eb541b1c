"""What composes the stages: preparing on demand, run folders, and the promised return values."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, ConfigError, DataError
from yolofast.pipeline import (
    auto_prepare_dataset_if_needed,
    evaluate_run,
    find_data_yaml,
    new_run,
    old_run,
    start_model,
    train_model,
    train_run,
)
from yolofast.sample import make_sample_dataset
from yolofast.train import CheckpointManager, TrainingMonitor


def test_a_prepared_dataset_is_returned_at_once(sample_yolo: Path) -> None:
    assert auto_prepare_dataset_if_needed(sample_yolo.parent, "yolo") == sample_yolo.parent


def test_a_raw_dataset_is_prepared_beside_it(tmp_path: Path) -> None:
    raw = make_sample_dataset(tmp_path / "raw", count=10)
    before = {p.name: p.read_bytes() for p in raw.iterdir()}
    prepared = auto_prepare_dataset_if_needed(raw)
    assert (prepared / "data.yaml").exists()
    assert prepared != raw
    assert find_data_yaml(raw) == prepared / "data.yaml"
    assert {p.name: p.read_bytes() for p in raw.iterdir()} == before


def test_no_folder_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Create it and put your images and annotations in it"):
        auto_prepare_dataset_if_needed(tmp_path / "none")
    with pytest.raises(ConfigError, match="model_type: got 'rcnn', expected yolo"):
        auto_prepare_dataset_if_needed(tmp_path, "rcnn")


def test_runs_never_share_a_folder_and_resume_goes_back(tmp_path: Path) -> None:
    config = YOLOConfig().replace(project=tmp_path, name="a", epochs=3)
    names = []
    for _ in range(3):
        _, folder = new_run(config)
        names.append(folder.name)
    assert names == ["a", "a-2", "a-3"]
    resumed, folder = old_run(YOLOConfig().replace(project=tmp_path, name="a-2"))
    assert (folder.name, resumed.training.epochs, resumed.training.resume) == ("a-2", 3, True)
    with pytest.raises(CheckpointError, match="no run to resume"):
        old_run(YOLOConfig().replace(project=tmp_path, name="b"))


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


def test_weights_of_other_classes_are_refused(sample_yolo: Path, tmp_path: Path) -> None:
    small = YOLOConfig().replace(
        data=sample_yolo,
        imgsz=32,
        epochs=1,
        model="p",
        workers=0,
        device="cpu",
        project=tmp_path,
        plots=False,
    )
    folder, _ = train_run(small.replace(single_cls=True))
    with pytest.raises(DataError, match="not the model's"):
        evaluate_run(folder / "weights" / "best.safetensors", small)


def test_a_start_from_weights_keeps_the_backbone(sample_yolo: Path, tmp_path: Path) -> None:
    import torch

    config = YOLOConfig().replace(model="p", seed=1)
    first = start_model(config, ("a", "b"))
    from yolofast.models import save_weights

    save_weights(first, tmp_path / "w.safetensors")
    second = start_model(config.replace(weights=tmp_path / "w.safetensors", seed=2), ("x", "y", "z"))
    theirs = second.state_dict()
    kept = [n for n, v in first.state_dict().items() if v.shape == theirs[n].shape]
    assert len(kept) > 100
    assert all(torch.equal(first.state_dict()[n], theirs[n]) for n in kept)
