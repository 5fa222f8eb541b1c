"""Fine-tuning: frozen layers, the mAP that weights start from, and epochs that are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, ConfigError
from yolofast.models import load_weights
from yolofast.pipeline import evaluate_run, start_model, train_run
from yolofast.runs import resumed_config
from yolofast.sample import make_sample_dataset
from yolofast.tensor_file import open_tensors


def small_run(data: Path, project: Path, **changes: object) -> YOLOConfig:
    base = YOLOConfig().replace(data=data, imgsz=32, epochs=1, model="p", workers=0, device="cpu")
    return base.replace(project=project, plots=False, **changes)


@pytest.mark.parametrize("amp", ["off", "on"])
def test_frozen_layers_stay_as_they_are_also_when_resumed(
    sample_yolo: Path, tmp_path: Path, amp: str
) -> None:
    config = small_run(sample_yolo, tmp_path, freeze="backbone", amp=amp)
    names = ("circle", "square", "triangle", "star", "ring")
    initial = start_model(config, names).state_dict()
    folder, _ = train_run(config)
    _, result = train_run(resumed_config(folder).replace(epochs=2))
    assert result.final_epoch == 2
    with open_tensors(folder / "weights" / "last.safetensors") as file:
        for name, value in initial.items():
            same = [torch.equal(value, file.read(f"{kind}/{name}")) for kind in ("model", "ema")]
            if name.startswith("backbone."):
                assert same == [True, True], name
            elif name.endswith(("weight", "running_mean")):
                assert same == [False, False], name
        trained = sum(name.startswith("optimizer/") and name.endswith("/exp_avg") for name in file.stored)
    assert trained == sum(
        not n.startswith("backbone.") for n, _ in start_model(config, names).named_parameters()
    )


def test_a_run_is_resumed_with_the_layers_frozen_that_it_began_with(
    sample_yolo: Path, tmp_path: Path
) -> None:
    folder, _ = train_run(small_run(sample_yolo, tmp_path, freeze=10))
    assert resumed_config(folder).training.freeze == 10
    with pytest.raises(CheckpointError, match="trained with --freeze 10, got --freeze 0"):
        train_run(resumed_config(folder).replace(epochs=2, freeze=0))


def test_more_layers_than_there_are_start_no_run(sample_yolo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="freeze: got 99, expected at most 22"):
        train_run(small_run(sample_yolo, tmp_path / "runs", freeze=99))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("freeze", [-1, 1.5, "neck", True])
def test_freeze_takes_a_number_of_layers_or_backbone(freeze: object) -> None:
    with pytest.raises(ConfigError, match=r"freeze: got"):
        YOLOConfig().replace(freeze=freeze)


@pytest.mark.parametrize("freeze", [0, 10, "backbone"])
def test_freeze_is_kept_in_yaml(tmp_path: Path, freeze: int | str) -> None:
    config = YOLOConfig().replace(freeze=freeze, val_first=True, save_period=3)
    config.to_yaml(tmp_path / "c.yaml")
    assert YOLOConfig.from_yaml(tmp_path / "c.yaml") == config


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[YOLOConfig, Path]]:
    """The settings of a run of 8 epochs, and its weights.

    With one torch thread: a very short training is chaotic, and with other sums it may find nothing at all.
    """
    folder = tmp_path_factory.mktemp("short")
    data = make_sample_dataset(folder / "sample", 40)
    config = small_run(data, folder, imgsz=64, epochs=8, batch=4, lr0=0.01, ema_tau=20.0)
    config = config.replace(mosaic=0.0, single_cls=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run, _ = train_run(config, progress=False)
    yield config, run / "weights" / "best.safetensors"
    torch.set_num_threads(threads)


@pytest.mark.parametrize("freeze", [0, "backbone"])
def test_training_starts_at_the_map_of_its_weights(
    short_run: tuple[YOLOConfig, Path], freeze: int | str
) -> None:
    """What `--val-first` reports of weights with the dataset's classes is what `val` measures of them."""
    config, weights = short_run
    expected = evaluate_run(weights, config).overall_metrics
    assert expected["map50_95"] > 0.001
    lines: list[str] = []
    again = config.replace(weights=weights, val_first=True, epochs=1, freeze=freeze, name="again")
    train_run(again, progress=False, report=lines.append)
    [line] = [line for line in lines if line.startswith("before training")]
    scores = [float(value) for value in re.findall(r"\d\.\d{4}", line)]
    assert scores == [round(expected["map50"], 4), round(expected["map50_95"], 4)]


def test_every_nth_epoch_is_kept(sample_yolo: Path, tmp_path: Path) -> None:
    folder, _ = train_run(small_run(sample_yolo, tmp_path, epochs=2, save_period=2))
    train_run(resumed_config(folder).replace(epochs=4))
    kept = sorted(path.name for path in (folder / "weights").glob("epoch*"))
    assert kept == ["epoch2.safetensors", "epoch4.safetensors"]
    last, second = (load_weights(folder / "weights" / name).state_dict() for name in kept[::-1])
    assert not torch.equal(last["backbone.stem.conv.weight"], second["backbone.stem.conv.weight"])
