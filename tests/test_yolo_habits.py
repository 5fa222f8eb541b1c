"""A training as users of other YOLO packages write it: keywords, callbacks, and what they read afterwards."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

from yolofast import YOLO
from yolofast.callbacks import TrainEvent
from yolofast.errors import CheckpointError, ConfigError, DataError
from yolofast.models import read_metadata
from yolofast.run_result import BestEvaluation, RunResult


class Trained(NamedTuple):
    model: YOLO
    result: RunResult
    events: list[TrainEvent]


@pytest.fixture(scope="module")
def trained(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs, written as users of Ultralytics write them."""
    model, events = YOLO("p", task="detect"), []
    model.add_callback("on_fit_epoch_end", events.append)
    result = model.train(
        data=str(sample_yolo),
        epochs=2,
        imgsz=[64, 64],
        batch=16,
        device="cpu",
        cache=True,
        amp=False,
        optimizer="AdamW",
        lr0=0.01,
        cos_lr=True,
        project=str(tmp_path_factory.mktemp("runs")),
        name="mine",
        exist_ok=False,
        pretrained=False,
        deterministic=True,
        workers=0,
        seed=1,
        save=True,
        val=True,
        plots=False,
        verbose=False,
    )
    return Trained(model, result, events)


def test_the_settings_are_those_that_were_meant(trained: Trained) -> None:
    assert trained.result.save_dir is not None
    saved = yaml.safe_load((trained.result.save_dir / "config.yaml").read_text())
    training, dataset = saved["training"], saved["dataset"]
    assert trained.result.save_dir.name == "mine"
    assert (dataset["imgsz"], dataset["cache"], dataset["workers"]) == (64, "ram", 0)
    assert (training["optimizer"], training["schedule"], training["amp"]) == ("adamw", "cosine", "off")
    assert (training["seed"], training["deterministic"]) == (1, True)


def test_callbacks_of_the_object_get_the_rows_of_the_history(trained: Trained) -> None:
    assert [dict(event.metrics) for event in trained.events] == trained.result.training_history
    assert {event.save_dir for event in trained.events} == {trained.result.save_dir}


def test_metrics_of_training_are_those_of_val_of_its_best_weights(trained: Trained) -> None:
    found = trained.model.val(verbose=False)  # on the dataset of the run
    assert trained.result.results_dict == found.results_dict
    assert found.results_dict == {
        "metrics/precision(B)": found.box.mp,
        "metrics/recall(B)": found.box.mr,
        "metrics/mAP50(B)": found.box.map50,
        "metrics/mAP50-95(B)": found.box.map,
        "fitness": found.box.map,
    }
    assert trained.result.fitness == trained.result.best_metric == found.map50_95
    assert trained.result.box.map75 == found.coco["AP75"]
    assert np.array_equal(trained.result.box.maps, found.box.maps)
    assert found.speed["inference"] > 0
    assert set(trained.result.speed) == {"preprocess", "inference", "loss", "postprocess"}
    assert dict(trained.result).keys() == {"training_history", "best_metric", "final_epoch"}


def test_the_view_of_metrics_agrees_with_the_classes(trained: Trained, sample_yolo: Path) -> None:
    found = trained.model.val(sample_yolo, classes=[1], verbose=False, device="cpu")
    classes = found.metrics.classes
    assert found.box.nc == len(trained.model.names) == len(found.box.maps)
    assert found.box.ap_class_index.tolist() == [1]
    assert found.box.maps.tolist() == [
        found.box.map if number != 1 else classes[1].ap50_95 for number in range(len(classes))
    ]
    assert found.box.ap.tolist() == [classes[1].ap50_95]
    assert found.box.ap50.tolist() == [classes[1].ap50]
    assert (found.box.p[0], found.box.r[0], found.box.f1[0]) == (
        classes[1].precision,
        classes[1].recall,
        classes[1].f1,
    )
    assert found.box.class_result(0) == (
        classes[1].precision,
        classes[1].recall,
        classes[1].ap50,
        classes[1].ap50_95,
    )
    assert found.box.mean_results() == [found.box.mp, found.box.mr, found.box.map50, found.box.map]


def test_a_resumed_run_that_is_over_has_the_metrics_of_its_best_epoch(trained: Trained) -> None:
    model = YOLO(trained.model.info(verbose=False).source)
    result = model.train(resume=True, verbose=False)
    assert result.results_dict == trained.result.results_dict
    assert result.training_history == trained.result.training_history


def test_saved_weights_say_what_their_file_said(trained: Trained, tmp_path: Path) -> None:
    source = Path(trained.model.info(verbose=False).source)
    for file in (source, source.with_name("last.safetensors")):
        saved = YOLO(file).save(tmp_path / "copy.safetensors")
        said, wanted = read_metadata(saved), read_metadata(file)
        changing = {"checksum", "tensor_checksums", "yolofast_training"}
        assert {k: v for k, v in said.items() if k not in changing} == {
            k: v for k, v in wanted.items() if k not in changing
        }
        assert "yolofast_training" not in said
    assert json.loads(said["settings"])["training"]["seed"] == 1
    assert YOLO(saved).names == trained.model.names


def test_an_activation_that_is_unusual_in_its_family_is_kept(tmp_path: Path) -> None:
    from yolofast.models import build_model, save_weights

    unusual = build_model("yolo11n", 1, class_names=["cat"])
    unusual = build_model("yolo11n", 1, class_names=["cat"], spp_activation=not unusual.spp_activation)
    save_weights(unusual, tmp_path / "a.safetensors", {"imgsz": "64"})
    copied = YOLO(YOLO(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors"))
    assert copied.model.spp_activation == unusual.spp_activation


def test_info_prints_what_it_returns(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    info = trained.model.info()
    assert capsys.readouterr().out == f"{info}\n"
    assert f"{info.parameters:,} parameters" in str(info)
    untrained = YOLO("p").info()
    assert (untrained.names, untrained.source) == ((), "random weights")
    assert "unknown classes, random weights" in capsys.readouterr().out
    trained.model.info(verbose=False)
    assert capsys.readouterr().out == ""


def test_the_object_says_its_task_and_has_no_other(trained: Trained) -> None:
    assert trained.model.task == "detect"
    assert trained.model.fuse() is trained.model
    with pytest.raises(ConfigError, match=r"task: got 'segment', expected 'detect'"):
        YOLO("n", task="segment")


def test_copies_and_pickles_have_no_callbacks(trained: Trained) -> None:
    for other in (copy.deepcopy(trained.model), pickle.loads(pickle.dumps(trained.model))):
        assert other._callbacks.at("on_fit_epoch_end") == ()
        other.add_callback("on_train_end", print)
        other.clear_callback("on_train_end")
        other.reset_callbacks()
    with pytest.raises(ConfigError, match=r"'on_val_ends'. Did you mean 'on_val_end'"):
        trained.model.add_callback("on_val_ends", print)


def test_what_a_callback_raises_reaches_the_caller_and_the_run_resumes(
    sample_yolo: Path, tmp_path: Path
) -> None:
    model = YOLO("p")

    def breaks(event: TrainEvent) -> None:
        if event.epoch == 2:
            raise LookupError("mine")

    model.add_callback("on_train_batch_end", breaks)
    small = {"imgsz": 64, "batch": 16, "plots": False, "project": tmp_path, "device": "cpu"}
    with pytest.raises(LookupError, match="mine") as caught:
        model.train(sample_yolo, epochs=2, verbose=False, **small)
    assert "last.safetensors" in caught.value.__notes__[0]
    model.reset_callbacks()
    result = model.train(resume=True, project=tmp_path, verbose=False)
    assert [row["epoch"] for row in result.training_history] == [1, 2]


def test_where_weights_come_from(trained: Trained, sample_yolo: Path, tmp_path: Path) -> None:
    file = Path(trained.model.info(verbose=False).source)
    assert YOLO("p")._start(str(file)) == YOLO(file)._start(True) == YOLO(file)._start(None) == file
    assert YOLO(file)._start(False) is YOLO("p")._start(None) is None
    with pytest.raises(ConfigError, match=r"pretrained: got True, but YOLO\('p'\) has random weights"):
        YOLO("p").train(sample_yolo, pretrained=True)
    with pytest.raises(CheckpointError, match="never downloaded"):
        YOLO("p").train(sample_yolo, pretrained=str(tmp_path / "no.pt"))
    with pytest.raises(ConfigError, match=r"pretrained: got .* and resume"):
        YOLO(file).train(resume=True, pretrained=str(file))


def test_val_without_data_needs_a_run() -> None:
    with pytest.raises(ConfigError, match=r"data: missing, and YOLO\('p'\) does not say"):
        YOLO("p", names=["cat"]).val()


def test_the_best_of_evaluations_is_kept_by_the_rule_of_the_history(trained: Trained) -> None:
    one = trained.result.evaluation
    assert one is not None
    first, second, third = (replace(one, files={"n": Path(str(n))}) for n in range(3))
    best = BestEvaluation([])
    best.add(1, {"map50_95": 0.9}, first)  # before training, `val_first`
    best.add(1, {"map50_95": 0.1}, second)
    assert best.evaluation is second
    best.add(2, {"map50_95": 0.1}, third)  # of equal ones the latest
    assert best.evaluation is third
    best.add(3, {"map50_95": 0.0}, first)
    assert best.evaluation is third
    resumed = BestEvaluation([{"map50_95": 0.5}])
    resumed.add(2, {"map50_95": 0.4}, first)
    assert resumed.evaluation is None
    with pytest.raises(DataError, match="not evaluated now"):
        RunResult([], 0.0, 0).results_dict  # noqa: B018
