"""Fine-tuning: frozen layers, the mAP that weights start from, and epochs that are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, ConfigError
from yolofast.load import Loader
from yolofast.load.configured import configured_dataset
from yolofast.load.dataset import YOLODataset
from yolofast.models import build_model, load_weights, save_weights, transfer_weights
from yolofast.pipeline import evaluate_run, start_model, train_model, train_run
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


@pytest.mark.parametrize(("first", "then"), [("backbone", 10), (10, "backbone")])
def test_the_backbone_and_the_number_of_its_layers_are_the_same_run(
    sample_yolo: Path, tmp_path: Path, first: int | str, then: int | str
) -> None:
    folder, _ = train_run(small_run(sample_yolo, tmp_path, freeze=first), progress=False)
    again = resumed_config(folder).replace(epochs=2, freeze=then)
    assert train_run(again, progress=False)[1].final_epoch == 2


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


def test_a_fraction_of_the_training_images_is_drawn_by_the_seed(sample_yolo: Path) -> None:
    def dataset(split: str, fraction: float, seed: int = 0) -> YOLODataset:
        config = YOLOConfig().replace(data=sample_yolo, imgsz=32, fraction=fraction, seed=seed)
        return configured_dataset(config, split, augment=split == "train", shuffle=False)

    whole, half, quarter = (dataset("train", share) for share in (1.0, 0.5, 0.25))
    assert [len(d) for d in (half, quarter)] == [round(len(whole) * share) for share in (0.5, 0.25)]
    assert set(quarter.paths) < set(half.paths) < set(whole.paths)
    assert list(half.paths) == list(dataset("train", 0.5).paths) == sorted(half.paths)
    assert list(half.paths) != list(dataset("train", 0.5, seed=1).paths)
    number = {path: i for i, path in enumerate(whole.paths)}
    for i, path in enumerate(half.paths):
        assert np.array_equal(half.labels[i], whole.labels[number[path]])
        assert np.array_equal(half.shapes[i], whole.shapes[number[path]])
    assert len(dataset("train", 1e-9)) == 1
    assert len(dataset("val", 0.5)) == len(dataset("val", 1.0))


@pytest.mark.parametrize(("name", "values"), [("fraction", (0.0, 1.1)), ("cls_pw", (-0.1, 1.5))])
def test_shares_and_powers_have_bounds(name: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"{name}: got {value}, expected a value"):
            YOLOConfig().replace(**{name: value})


def test_rare_classes_weigh_more_in_a_run_with_cls_pw(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path, cls_pw=1.0, fraction=0.5)
    names = ("circle", "square", "triangle", "star", "ring")
    model = start_model(config, names)
    train_model(model, config, progress=False)
    rows = configured_dataset(config, "train", True, False).index.labels.rows
    counts = np.bincount(rows[:, 0].astype(int), minlength=5)
    weights = model.gains.classes
    assert weights is not None
    assert np.mean(weights) == pytest.approx(1)
    assert np.ptp(np.array(weights) * np.maximum(counts, 1)) == pytest.approx(0, abs=1e-9)
    assert set(weights) != {1.0}


def test_a_run_with_a_fraction_and_cls_pw_is_resumed_with_them(sample_yolo: Path, tmp_path: Path) -> None:
    folder, _ = train_run(small_run(sample_yolo, tmp_path, cls_pw=0.5, fraction=0.5), progress=False)
    again = resumed_config(folder)
    assert (again.dataset.fraction, again.training.cls_pw) == (0.5, 0.5)
    assert train_run(again.replace(epochs=2), progress=False)[1].final_epoch == 2


def test_new_classes_start_from_the_prior_of_their_number(tmp_path: Path) -> None:
    """Rows of known classes come from the file, those of others start as in a model of that many classes."""
    first = start_model(YOLOConfig().replace(model="p", seed=1), ("a", "b"))
    for branch in first.head.class_branches:
        torch.nn.init.constant_(branch.get_submodule("2").get_parameter("bias"), -1.5)
    save_weights(first, tmp_path / "w.safetensors")
    config = YOLOConfig().replace(model="p", weights=tmp_path / "w.safetensors")
    second = start_model(config, ("x", "b", "y", "a", "z"))
    for branch, stride in zip(second.head.class_branches, second.strides, strict=True):
        prior = math.log(5 / 5 / (640 / stride) ** 2)
        bias = branch.get_submodule("2").get_parameter("bias").tolist()
        assert bias == pytest.approx([prior, -1.5, prior, -1.5, prior])


NAMES = ("circle", "square", "triangle", "star", "ring")


@pytest.mark.parametrize("single", [False, True])
def test_only_boxes_of_the_chosen_classes_are_loaded(sample_yolo: Path, single: bool) -> None:
    def dataset(split: str, classes: tuple[int | str, ...] | None) -> YOLODataset:
        config = YOLOConfig().replace(data=sample_yolo, imgsz=32, classes=classes, single_cls=single)
        return configured_dataset(config, split, augment=split == "train", shuffle=False)

    config = YOLOConfig().replace(data=sample_yolo, imgsz=32)
    for split in ("train", "val"):
        every = configured_dataset(config, split, augment=False, shuffle=False)
        chosen = dataset(split, ("star", 0))
        assert chosen.class_names == dataset(split, None).class_names
        assert list(chosen.paths) == list(every.paths)  # images without such boxes are background
        for kept, rows in zip(chosen.labels, every.labels, strict=True):
            expected = rows[np.isin(rows[:, 0], (0, 3))]
            assert np.array_equal(kept[:, 1:], expected[:, 1:])
            assert np.array_equal(kept[:, 0], expected[:, 0] * (not single))
        assert 0 < len(chosen.index.labels.rows) < len(every.index.labels.rows)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (("stra",), r"got 'stra', .* of the dataset's 5 classes \(circle, .*Did you mean 'star'"),
        ((5,), "got '5'"),
        ((), "got none, expected at least one"),
    ],
)
def test_classes_that_the_dataset_does_not_have_start_no_run(
    sample_yolo: Path, tmp_path: Path, classes: tuple[int | str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"classes: {problem}"):
        train_run(small_run(sample_yolo, tmp_path / "runs", classes=classes), progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_run_on_some_classes_keeps_the_list_of_all_and_is_resumed_with_them(
    sample_yolo: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    config = small_run(sample_yolo, tmp_path, classes=["ring", 1])
    folder, _ = train_run(config, report=lines.append)
    assert f"classes    5: {', '.join(NAMES)}; only boxes of ring, square" in lines
    assert resumed_config(folder).dataset.classes == ("ring", 1)
    again: list[str] = []
    _, result = train_run(resumed_config(folder).replace(epochs=2), report=again.append)
    assert result.final_epoch == 2
    assert any(line.endswith("only boxes of ring, square") for line in again)
    best = folder / "weights" / "best.safetensors"
    assert load_weights(best).class_names == NAMES
    figures = evaluate_run(best, config, classes=("ring", "square")).overall_metrics
    assert figures["map50"] == pytest.approx(evaluate_run(best, config).overall_metrics["map50"])


def test_new_settings_are_kept_in_yaml(tmp_path: Path) -> None:
    config = YOLOConfig().replace(classes=(0, "ring"), time=1.5)
    config.to_yaml(tmp_path / "c.yaml")
    assert YOLOConfig.from_yaml(tmp_path / "c.yaml") == config
    (tmp_path / "c.yaml").write_text("dataset: {classes: [2, star]}\ntraining: {time: 1}\n")
    read = YOLOConfig.from_yaml(tmp_path / "c.yaml")
    assert (read.dataset.classes, read.training.time) == ((2, "star"), 1.0)


@pytest.mark.parametrize("hours", [0.0, -1.0, math.inf, math.nan, "soon"])
def test_a_time_limit_has_bounds(hours: object) -> None:
    with pytest.raises(ConfigError, match="time: got"):
        YOLOConfig().replace(time=hours)


def test_classes_that_are_not_trained_on_do_not_count_as_rare(sample_yolo: Path, tmp_path: Path) -> None:
    config = small_run(sample_yolo, tmp_path, cls_pw=1.0, classes=(1, 4))
    model = start_model(config, NAMES)
    train_model(model, config, progress=False)
    weights = model.gains.classes
    assert weights is not None
    assert [weights[number] for number in (0, 2, 3)] == [1.0] * 3
    assert weights[1] + weights[4] == pytest.approx(2)


def test_a_run_with_a_time_limit_closes_the_mosaic_by_its_estimate(
    sample_yolo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader is told how long the run will be: here one epoch, where ten were a guess."""
    lengths: list[int] = []
    batches = Loader.__iter__
    monkeypatch.setattr(
        Loader, "__iter__", lambda self: (lengths.append(self.dataset.epochs), batches(self))[1]
    )
    config = small_run(sample_yolo, tmp_path, epochs=10, time=1e-6)
    _, result = train_run(config, progress=False)
    assert result.final_epoch == 1
    assert lengths[0] == 10
    lengths.clear()
    folder = tmp_path / "train"
    train_run(resumed_config(folder).replace(time=result.training_history[0]["epoch_s"] * 1.5 / 3600))
    assert lengths[0] == 2


def test_weights_with_another_pooling_are_taken_with_their_own(tmp_path: Path) -> None:
    first = build_model("p", 2, class_names=("a", "b"), spp_activation=False, seed=1)
    save_weights(first, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"no activation in this file .*spp_activation=False"):
        transfer_weights(build_model("p", 2), tmp_path / "w.safetensors")
    config = YOLOConfig().replace(model="p", weights=tmp_path / "w.safetensors")
    assert start_model(config, ("b", "c")).spp_activation is False
    usual = build_model("p", 2, seed=1)
    save_weights(usual, tmp_path / "u.safetensors")
    with pytest.raises(CheckpointError, match="has an activation in this file and no activation in the"):
        transfer_weights(build_model("p", 2, spp_activation=False), tmp_path / "u.safetensors")


def test_a_run_from_weights_keeps_its_rate_when_it_is_resumed(sample_yolo: Path, tmp_path: Path) -> None:
    folder, _ = train_run(small_run(sample_yolo, tmp_path), progress=False)
    assert resumed_config(folder).training.lr0 == pytest.approx(0.01 / 9)
    weights = folder / "weights" / "best.safetensors"
    tuned, _ = train_run(small_run(sample_yolo, tmp_path, weights=weights, name="tuned"), progress=False)
    assert resumed_config(tuned).training.lr0 == pytest.approx(0.01 / 9 / 4)
    train_run(resumed_config(tuned).replace(epochs=2), progress=False)
    assert resumed_config(tuned).training.lr0 == pytest.approx(0.01 / 9 / 4)
