"""The pipeline: preparing on demand, run folders, and the promised return values."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.dataset_files import write_text, write_yolo

from yolofast import __version__
from yolofast.config import YOLOConfig
from yolofast.data_source import resolve_data
from yolofast.errors import CheckpointError, ConfigError, DataError, YolofastError
from yolofast.models import load_weights, read_metadata, save_weights
from yolofast.pipeline import (
    auto_prepare_dataset_if_needed,
    evaluate_run,
    loader_device,
    start_model,
    train_model,
    train_run,
)
from yolofast.runs import resumed_config
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


def test_where_a_raw_dataset_is_prepared_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = make_sample_dataset(tmp_path / "raw", count=4)
    with caplog.at_level("INFO", "yolofast"):
        resolve_data(raw)
        resolve_data(raw)
        resolve_data(tmp_path / "raw_yolo")
    assert caplog.messages == [
        f"{raw}: not in the YOLO layout yet; preparing it in {raw}_yolo (the source is not changed)",
        f"{raw}: already prepared, up to date; using {raw}_yolo",
    ]


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


def test_the_label_format_of_a_folder_with_several_is_chosen(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {f"{name}.jpg": "0 .5 .5 .2 .2\n" for name in "abc"})
    rows = "".join(f"{name}.jpg,1,2,30,40,cat\n" for name in "abc")
    write_text(root / "labels.csv", rows)
    with pytest.raises(DataError, match=r"several formats: .* Choose one \(--label-format\)"):
        resolve_data(root)
    assert resolve_data(root, label_format="csv").names == ("cat",)
    assert resolve_data(root, label_format="yolo").names == ("class_0",)


def test_no_folder_says_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Create it and put your images and annotations in it"):
        auto_prepare_dataset_if_needed(tmp_path / "none")
    with pytest.raises(ConfigError, match="model_type: got 'rcnn', expected yolo"):
        auto_prepare_dataset_if_needed(tmp_path, "rcnn")


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
    run = tmp_path / "train"
    assert train_run(resumed_config(run))[1]["final_epoch"] == 1
    folder, result = train_run(resumed_config(run).replace(epochs=3))
    assert (folder, result["final_epoch"]) == (run, 3)
    assert [row["epoch"] for row in result["training_history"]] == [1, 2, 3]
    assert resumed_config(run).training.epochs == 3


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


def tiny_data(root: Path, train: int, valid: int = 2, names: str = "[a, b]") -> Path:
    """data.yaml of that many images of 64 x 48 pixels, with one box each but for every third one."""
    images = {
        f"{split}/images/{i}.jpg": f"{i % 2} 0.5 0.5 0.4 0.6\n" if i % 3 else ""
        for split, count in (("train", train), ("valid", valid))
        for i in range(count)
    }
    yaml = f"path: .\ntrain: train/images\nval: valid/images\nnames: {names}\n"
    return write_yolo(root, images, yaml) / "data.yaml"


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        (1, {}),
        (2, {}),
        (3, {"batch": 2}),
        (5, {"batch": 4}),
        (5, {"batch": 4, "rect": True}),
        (5, {"batch": 2, "imgsz": 64, "multi_scale": 0.5, "epochs": 2}),
        (1, {"batch": 1, "multi_scale": 0.9, "imgsz": 64}),
        (9, {"batch": 16, "rect": True, "imgsz": 64, "stride": 64}),
        (2, {"batch": 1, "nbs": 64}),
    ],
)
def test_tiny_datasets_and_sizes_can_be_trained(
    tmp_path: Path, images: int, changes: dict[str, object]
) -> None:
    config = small_run(tiny_data(tmp_path / "data", images), tmp_path).replace(**changes)
    folder, result = train_run(config, progress=False)
    assert result["final_epoch"] == config.training.epochs
    assert all(math.isfinite(row["train_cls"]) for row in result["training_history"])
    assert (folder / "weights" / "best.safetensors").exists()


@pytest.mark.parametrize("changes", [{"rect": True}, {"multi_scale": 0.5}])
def test_a_stride_that_the_model_cannot_take_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    config = small_run(tiny_data(tmp_path / "data", 2), tmp_path / "runs").replace(stride=16, **changes)
    with pytest.raises(ConfigError, match=r"stride: got 16, expected a multiple of 32.*Use --stride 32"):
        train_run(config, progress=False)
    assert not (tmp_path / "runs").exists()


def test_the_validation_loss_does_not_depend_on_the_batch_size(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "data", 2, valid=7)
    save_weights(start_model(small_run(data, tmp_path), ("a", "b")), tmp_path / "w.safetensors")
    losses = [
        evaluate_run(
            tmp_path / "w.safetensors", small_run(data, tmp_path).replace(batch=batch)
        ).overall_metrics
        for batch in (1, 3, 7)
    ]
    for name in ("box", "cls", "dfl", "loss"):
        assert losses[0][name] == pytest.approx(losses[2][name], rel=1e-4)
        assert losses[1][name] == pytest.approx(losses[2][name], rel=1e-4)


def test_a_run_is_resumed_without_the_weights_it_started_from(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "data", 2)
    weights = tmp_path / "start.safetensors"
    save_weights(start_model(small_run(data, tmp_path), ("a", "b")), weights)
    folder, _ = train_run(small_run(data, tmp_path).replace(weights=weights), progress=False)
    weights.unlink()
    assert train_run(resumed_config(folder).replace(epochs=2), progress=False)[1]["final_epoch"] == 2


def test_settings_that_were_left_open_are_kept_in_the_run(tmp_path: Path) -> None:
    folder, _ = train_run(small_run(tiny_data(tmp_path / "data", 2), tmp_path), progress=False)
    kept = resumed_config(folder).training
    assert (kept.optimizer, kept.lr0) == ("adamw", pytest.approx(0.01 / 6))
    assert resumed_config(folder).dataset.data == tmp_path / "data" / "data.yaml"


def test_a_run_is_not_resumed_on_classes_in_another_order(tmp_path: Path) -> None:
    data = tiny_data(tmp_path / "data", 2)
    folder, _ = train_run(small_run(data, tmp_path), progress=False)
    data.write_text(data.read_text().replace("[a, b]", "[b, a]"))
    with pytest.raises(CheckpointError, match="classes are now b, a, but this run was trained on a, b"):
        train_run(resumed_config(folder).replace(epochs=2), progress=False)
    weights = folder / "weights" / "best.safetensors"
    best, swapped = (
        load_weights(weights),
        start_model(small_run(data, tmp_path).replace(weights=weights), ("b", "a")),
    )
    for one, two in zip(best.head.class_branches, swapped.head.class_branches, strict=True):
        assert torch.equal(one.get_submodule("2").weight, two.get_submodule("2").weight.flip(0))


def test_weights_of_a_run_say_what_they_are(tmp_path: Path) -> None:
    config = small_run(tiny_data(tmp_path / "data", 2), tmp_path)
    folder, result = train_run(config, progress=False)
    for name in ("best", "last"):
        header = read_metadata(folder / "weights" / f"{name}.safetensors")
        assert (header["imgsz"], header["epoch"], header["stride"]) == ("32", "1", "32")
        assert json.loads(header["class_names"]) == ["a", "b"]
        assert json.loads(header["metrics"])["map50_95"] == result["best_metric"]
        assert header["version"] == __version__
        settings = json.loads(header["settings"])
        assert settings["training"]["optimizer"] == "adamw"
        assert str(tmp_path) not in header["settings"], "no path of this machine"
    again, _ = train_run(config, progress=False)
    best, same = (run / "weights" / "best.safetensors" for run in (folder, again))
    assert best != same
    assert best.read_bytes() == same.read_bytes(), "no date, no time"


def test_a_run_prints_what_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny_data(tmp_path / "data", 3)
    folder, result = train_run(small_run(data, tmp_path))
    shown = capsys.readouterr()
    assert shown.out == ""
    text = shown.err.replace("\r", "\n")
    header, trained = text.split("epoch 1/1", maxsplit=1)
    for expected in (
        f"run        {folder}",
        "device     cpu",
        "model      p, 0.76 M parameters",
        f"data       {data}",
        "images     3 for training, 2 for validation",
        "classes    2: a, b",
        "batch      16 images, 32 px, square",
        "epochs     1, of 1 batches each",
        "optimizer  adamw, lr 0.00167, warm-up 0 epochs (--warmup-epochs 3 is too long for this run)",
    ):
        assert expected in header
    best = f"{result['best_metric']:.3f}, in {folder / 'weights' / 'best.safetensors'}"
    assert best in trained.splitlines()[-1]


def test_a_run_without_progress_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_run(small_run(tiny_data(tmp_path / "data", 3), tmp_path), progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_raw_dataset_is_prepared_next_to_it_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = make_sample_dataset(tmp_path / "raw", count=6)
    lines: list[str] = []
    train_run(small_run(raw, tmp_path), report=lines.append, progress=False)
    where = f"preparing it in {tmp_path / 'raw_yolo'} (the source is not changed)"
    assert lines[0] == f"{raw}: not in the YOLO layout yet; {where}"
    lines.clear()
    resolve_data(raw, lines.append)
    assert lines == [f"{raw}: already prepared, up to date; using {tmp_path / 'raw_yolo'}"]
    with caplog.at_level("INFO"):
        resolve_data(raw)
    assert caplog.messages == lines, "other callers log it"


def interrupt_at(epoch: int, lines: list[str]) -> Callable[[str], None]:
    """A `report` that is interrupted, as by Ctrl-C, when it hears of that epoch."""

    def report(line: str) -> None:
        lines.append(line)
        if line.startswith(f"epoch   {epoch}/"):
            raise KeyboardInterrupt

    return report


def test_an_interrupted_run_says_how_to_continue_and_leaves_its_plots(tmp_path: Path) -> None:
    lines: list[str] = []
    config = small_run(tiny_data(tmp_path / "data", 2), tmp_path / "my runs").replace(epochs=4, plots=True)
    with pytest.raises(KeyboardInterrupt):
        train_run(config, report=interrupt_at(3, lines), progress=False)
    folder = tmp_path / "my runs" / "train"
    assert lines[-1] == (f"interrupted: saved epoch 2; continue with: yolofast train --resume '{folder}'")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"results.png", "results.csv", "dataflow.json", "labels.png", "train_batch1.png"}
    result = train_run(resumed_config(folder), progress=False)[1]
    assert [row["epoch"] for row in result["training_history"]] == [1, 2, 3, 4]


def test_a_run_that_is_interrupted_in_its_first_epoch_says_that_nothing_is_saved(tmp_path: Path) -> None:
    lines: list[str] = []
    config = small_run(tiny_data(tmp_path / "data", 2), tmp_path).replace(epochs=4)
    with pytest.raises(KeyboardInterrupt):
        train_run(config, report=interrupt_at(1, lines), progress=False)
    assert lines[-1] == "interrupted in epoch 1: nothing is saved yet"


def test_the_next_run_takes_the_folder_of_one_that_broke_in_its_first_epoch(tmp_path: Path) -> None:
    config = small_run(tiny_data(tmp_path / "data", 2), tmp_path).replace(plots=True)
    with pytest.raises(YolofastError, match=r"the loss became inf in epoch 1, step 1.* and start again"):
        train_run(config.replace(cls=1e39), progress=False)
    assert {path.name for path in (tmp_path / "train").iterdir()} >= {"config.yaml", "dataflow.json"}
    assert train_run(config, progress=False)[0] == tmp_path / "train"
