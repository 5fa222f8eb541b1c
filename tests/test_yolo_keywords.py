"""What users of other YOLO packages write: taken with the same meaning, or refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from yolofast.config import ExportConfig, YOLOConfig
from yolofast.errors import ConfigError
from yolofast.yolo import TRAIN, VAL, YOLO
from yolofast.yolo_keywords import INSTEAD, NEUTRAL, OTHER_TASKS, device_name, own_settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coming_from_ultralytics.md"
EXPORT = set(ExportConfig.__dataclass_fields__) - {"format"}


@pytest.mark.parametrize(
    ("keyword", "value", "ours"),
    [
        ("imgsz", [640, 640], {"imgsz": 640}),
        ("imgsz", (320,), {"imgsz": 320}),
        ("imgsz", 64, {"imgsz": 64}),
        ("cache", True, {"cache": "ram"}),
        ("cache", False, {"cache": "none"}),
        ("cache", "RAM", {"cache": "ram"}),
        ("cache", "disk", {"cache": "disk"}),
        ("amp", True, {"amp": "auto"}),
        ("amp", False, {"amp": "off"}),
        ("amp", "on", {"amp": "on"}),
        ("optimizer", "SGD", {"optimizer": "sgd"}),
        ("optimizer", "AdamW", {"optimizer": "adamw"}),
        ("optimizer", "auto", {"optimizer": "auto"}),
        ("optimizer", "MuSGD", {"optimizer": "musgd"}),
        ("cos_lr", True, {"schedule": "cosine"}),
        ("cos_lr", False, {"schedule": "linear"}),
        ("verbose", False, {"progress": False}),
        ("device", 0, {"device": "cuda:0"}),
        ("device", [0], {"device": "cuda:0"}),
        ("device", "cpu", {"device": "cpu"}),
        ("device", None, {}),
        ("project", None, {}),
        ("project", "out", {"project": "out"}),
        ("multi_scale", True, {"multi_scale": 0.5}),
        ("multi_scale", 0.25, {"multi_scale": 0.25}),
        ("save_period", -1, {"save_period": 0}),
        ("freeze", [0, 1, 2], {"freeze": 3}),
        ("freeze", 10, {"freeze": 10}),
        ("workers", 2, {"workers": 2}),
        ("seed", 7, {"seed": 7}),
        ("deterministic", True, {"deterministic": True}),
        ("close_mosaic", 0, {"close_mosaic": 0}),
        ("single_cls", True, {"single_cls": True}),
        ("rect", True, {"rect": True}),
        ("plots", False, {"plots": False}),
        ("exist_ok", False, {}),
        ("save", True, {}),
        ("val", True, {}),
        ("half", False, {}),
        ("profile", False, {}),
        ("dropout", 0.0, {}),
        ("task", "detect", {}),
        ("mask_ratio", 4, {}),
        ("erasing", 0.4, {}),
    ],
)
def test_a_keyword_of_training_is_a_setting_of_ours(keyword: str, value: Any, ours: dict[str, Any]) -> None:
    found = own_settings("train", {keyword: value}, TRAIN)
    assert found == ours
    found.pop("progress", None)
    YOLOConfig().replace(**found)  # which checks the values


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("train", {"imgsz": [640, 480]}, r"imgsz: got \[640, 480\], expected one side.*rect=True"),
        ("train", {"device": [0, 1]}, r"device: got \[0, 1\], expected one device.*device=0"),
        ("train", {"device": "0,1"}, r"device: got '0,1', expected one device"),
        ("train", {"device": -1}, r"device: got -1"),
        ("train", {"device": True}, r"device: got True"),
        ("train", {"freeze": [3, 4]}, r"freeze: got \[3, 4\], expected a number N, or a list of the first"),
        ("train", {"exist_ok": True}, r"'exist_ok'. Use name: a run never overwrites"),
        ("train", {"save": False}, r"'save'. Use .*always keeps best and last"),
        ("train", {"val": False}, r"'val'. Use epochs as they are"),
        ("train", {"half": True}, r"'half'. Use amp"),
        ("train", {"dropout": 0.1}, r"'dropout'. Use weight_decay"),
        ("train", {"profile": True}, r"'profile'. Use dataflow.json"),
        ("train", {"warmup_bias_lr": 0.1}, r"'warmup_bias_lr'. Use warmup_epochs"),
        ("train", {"task": "segment"}, r"'task'. Use object detection"),
        ("train", {"cos_lr": True, "schedule": "linear"}, r"'cos_lr' and 'schedule', which are the same"),
        ("train", {"schedule": "linear", "cos_lr": True}, r"'cos_lr' and 'schedule', which are the same"),
        ("train", {"epoch": 3}, r"'epoch'. Did you mean 'epochs'"),
        ("val", {"plots": True}, r"val: .*'plots'. Use save_dir"),
        ("val", {"save_json": True}, r"'save_json'. Use save_dir"),
        ("val", {"name": "v"}, r"val: .*'name'. Use save_dir"),
        ("export", {"int8": True}, r"'int8'. Use half_precision"),
        ("export", {"device": 0}, r"'device'. Use .* on the CPU"),
        ("export", {"batch": 4}, r"'batch'. Use dynamic=True"),
        ("export", {"nms": True, "include_nms": False}, r"'nms' and 'include_nms'"),
    ],
)
def test_what_is_not_here_is_refused_by_name(method: str, given: dict[str, Any], words: str) -> None:
    known = {"train": TRAIN, "val": {"device", "batch", "imgsz", *VAL}, "export": EXPORT}[method]
    with pytest.raises(ConfigError, match=words):
        own_settings(method, given, known)


def test_keywords_of_export_are_taken() -> None:
    given = {"half": True, "nms": True, "int8": False, "opset": None, "batch": 1}
    assert own_settings("export", given, EXPORT) == {"half_precision": True, "include_nms": True}


def test_values_of_a_setting_itself_are_still_checked() -> None:
    with pytest.raises(ConfigError, match=r"optimizer: got 'adam', expected one of .*Did you mean 'adamw'"):
        YOLOConfig().replace(**own_settings("train", {"optimizer": "Adam"}, TRAIN))
    with pytest.raises(ConfigError, match=r"cache: got 'gpu', expected one of none, ram, disk"):
        YOLOConfig().replace(**own_settings("train", {"cache": "gpu"}, TRAIN))


@pytest.mark.parametrize(
    ("device", "name"),
    [(0, "cuda:0"), ("0", "0"), ("cuda:1", "cuda:1"), ("CPU", "cpu"), ([0], "cuda:0"), (["0"], "0"),
     ((1,), "cuda:1"), (None, "auto"), ("", "auto"), (torch.device("cpu"), "cpu"), ("cuda", "cuda")],
)  # fmt: skip
def test_a_device_in_the_usual_forms(device: Any, name: str) -> None:
    assert device_name(device) == name


def test_a_device_that_is_not_there_is_an_error_of_every_method() -> None:
    model = YOLO("p", names=["cat"])
    assert model.to(torch.device("cpu")).device == torch.device("cpu")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="torch sees 0 CUDA devices"):
        model.to(0)
    with pytest.raises(ConfigError, match="expected one device"):
        model.to([0, 1])


def test_the_page_names_every_keyword_that_is_refused_or_ignored() -> None:
    words = set(re.findall(r"\w+", PAGE.read_text(encoding="utf-8")))
    of_predict = {"persist", "save_crop", "save_txt", "show", "stream_buffer", "tracker", "visualize"}
    assert (INSTEAD.keys() | NEUTRAL.keys() | {*OTHER_TASKS}) - of_predict <= words
