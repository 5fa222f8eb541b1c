"""The YOLO object: what it holds, what it does, and what it says when that is impossible."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from yolofast import YOLO
from yolofast.errors import CheckpointError, ConfigError
from yolofast.yolo_keywords import INSTEAD

IMPORT = """
import sys, time
begin = time.perf_counter()
import yolofast
seconds = time.perf_counter() - begin
assert not {"torch", "cv2", "numpy"} & sys.modules.keys()
assert "YOLO" in dir(yolofast)
print(seconds)
"""
PICTURE = np.full((70, 90, 3), 114, np.uint8)


@pytest.fixture(scope="module")
def trained(sample_yolo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[YOLO, list[float], Path]:
    """A model after one epoch, the epochs that its callback saw, and the project folder."""
    project = tmp_path_factory.mktemp("runs")
    model, seen = YOLO("p"), []
    settings = {"imgsz": 64, "batch": 16, "plots": False, "project": project, "device": "cpu"}
    model.train(
        sample_yolo, epochs=1, on_epoch=lambda row: seen.append(row["epoch"]), progress=False, **settings
    )
    return model, seen, project


def test_importing_the_package_is_fast_and_loads_nothing_heavy() -> None:
    runs = [subprocess.check_output([sys.executable, "-c", IMPORT], text=True) for _ in range(5)]
    assert min(map(float, runs)) < 0.05


def test_training_leaves_the_best_weights_in_the_object(trained: tuple[YOLO, list[float], Path]) -> None:
    model, seen, project = trained
    assert seen == [1.0]
    info = model.info()
    assert (info.model, info.imgsz) == ("p", 64)
    assert info.source == str(project / "train" / "weights" / "best.safetensors")
    assert info.parameters == sum(p.numel() for p in model.model.parameters())
    assert model.names == info.names == YOLO(info.source).names


def test_val_of_the_object_is_val_of_its_file(
    trained: tuple[YOLO, list[float], Path], sample_yolo: Path
) -> None:
    from yolofast.pipeline import evaluate_run
    from yolofast.trained_settings import trained_config

    weights = Path(trained[0].info().source)
    config = trained_config(weights, data=sample_yolo, device="cpu")
    evaluation = trained[0].val(sample_yolo, device="cpu")
    assert evaluation.overall_metrics == evaluate_run(weights, config).overall_metrics
    assert evaluation.map50 == evaluation.overall_metrics["map50"]
    assert evaluation.totals.images > 0
    augmented = trained[0].val(sample_yolo, device="cpu", augment=True)
    again = evaluate_run(weights, config, augment=True)
    assert augmented.overall_metrics == again.overall_metrics
    assert augmented.totals.detections == again.totals.detections != evaluation.totals.detections


def test_predictions_are_the_same_again_from_threads_copies_and_pickles(
    trained: tuple[YOLO, list[float], Path], tmp_path: Path
) -> None:
    model = trained[0]
    first = model(PICTURE, conf=0.0, device="cpu")[0]
    assert len(first) > 0
    assert first.orig_shape == (70, 90)
    saved = YOLO(model.save(tmp_path / "saved.safetensors"))
    assert saved.info().imgsz == 64
    for other in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model)), saved):
        found = other.predict(PICTURE, conf=0.0, device="cpu")[0]
        assert np.array_equal(found.boxes.xyxy, first.boxes.xyxy)
    with ThreadPoolExecutor(4) as pool, torch.no_grad():
        for results in pool.map(lambda _: model(PICTURE, conf=0.0, device="cpu"), range(8)):
            assert np.array_equal(results[0].boxes.conf, first.boxes.conf)


def test_the_model_is_fused_once_and_anew_after_loading(trained: tuple[YOLO, list[float], Path]) -> None:
    model = copy.deepcopy(trained[0])
    model(PICTURE)
    fused = model._fused
    model(PICTURE)
    assert fused is not None
    assert model._fused is fused
    assert not model.model.fused
    model.load(model.info().source)
    model(PICTURE)
    assert model._fused is not fused


def test_a_stream_is_lazy_and_classes_are_names_or_numbers(trained: tuple[YOLO, list[float], Path]) -> None:
    model = trained[0]
    stream = model.predict([PICTURE] * 3, stream=True, conf=0.0, classes=[model.names[1]])
    assert not isinstance(stream, list)
    results = list(stream)
    assert [result.path for result in results] == [r.path for r in model([PICTURE] * 3)]
    assert {*results[0].boxes.cls.tolist()} == {1}
    numbered = model(PICTURE, conf=0.0, classes=[1])[0]
    assert np.array_equal(numbered.boxes.xyxy, results[0].boxes.xyxy)


def test_a_finished_run_resumes_with_more_epochs(
    trained: tuple[YOLO, list[float], Path], sample_yolo: Path
) -> None:
    model = YOLO(trained[0].info().source)
    result = model.train(resume=True, epochs=2, progress=False)
    assert [row["epoch"] for row in result.training_history] == [1.0, 2.0]


def test_random_weights_have_the_classes_that_they_are_given_or_find(sample_yolo: Path) -> None:
    with pytest.raises(ConfigError, match=r"classes not known yet.*names="):
        YOLO("p").predict(PICTURE)
    assert YOLO("p", names=["cat", "dog"]).names == ("cat", "dog")
    model = YOLO("p")
    assert model.info().names == ()
    model.val(sample_yolo, imgsz=64, device="cpu")
    assert model.info().names == model.names


def test_an_export_is_written_where_it_is_wanted(
    trained: tuple[YOLO, list[float], Path], tmp_path: Path
) -> None:
    result = trained[0].export("torchscript", out=tmp_path / "model.torchscript")
    assert result.path == tmp_path / "model.torchscript"
    assert torch.jit.load(str(result.path))(torch.zeros(1, 3, 64, 64)).shape[1] == 4 + len(trained[0].names)


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("yolo11q", ConfigError, r"Did you mean 'yolo11"),
        ("yolo11n.yaml", ConfigError, r"Did you mean 'yolo11n'"),
        ("yolov8n.pt", CheckpointError, r"never downloaded.*YOLO\('yolov8n'\)"),
        ("bset.safetensors", CheckpointError, r"Did you mean 'best.safetensors'.*never downloaded"),
    ],
)
def test_a_model_that_is_not_there(
    model: str, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(error, match=words):
        YOLO(model)


def test_an_unknown_keyword_says_what_to_use() -> None:
    model = YOLO("p", names=["cat"])
    with pytest.raises(ConfigError, match=r"train: .*'epoch'.*Did you mean 'epochs'"):
        model.train("data.yaml", epoch=3)
    with pytest.raises(ConfigError, match=r"'exist_ok'. Use name: a run never overwrites"):
        model.train("data.yaml", exist_ok=True)
    with pytest.raises(ConfigError, match=r"predict: .*'save_txt'. Use Result.to_txt"):
        model.predict(PICTURE, save_txt=True)
    with pytest.raises(ConfigError, match=r"export: .*'int8'. Use half_precision"):
        model.export(int8=True)
    with pytest.raises(ConfigError, match=r"val: .*'lr0'"):
        model.val("data.yaml", lr0=1)


def test_what_to_use_instead_is_not_itself_a_keyword_of_training() -> None:
    from yolofast.yolo import TRAIN

    assert not INSTEAD.keys() & TRAIN
