"""YOLOConfig: round trips, ranges, and errors that name the nearest setting."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import pytest

from yolofast.config import MODEL_SIZES, YOLOConfig
from yolofast.errors import ConfigError
from yolofast.models import MODEL_SPECS


def test_yaml_round_trip(tmp_path: Path) -> None:
    config = YOLOConfig().replace(epochs=7, imgsz=320, amp="off", data=Path("a/data.yaml"), lr0=1e-3)
    config.to_yaml(tmp_path / "config.yaml")
    assert YOLOConfig.from_yaml(tmp_path / "config.yaml") == config
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 3}", "Did you mean 'epochs'?"),
        ("trainin: {epochs: 3}", "Did you mean 'training'?"),
        ("epochs: 3", "It belongs in section 'training'."),
        ("training: {epochs: many}", "epochs: got 'many', expected a whole number."),
        ("training: {epochs: 0}", "epochs: got 0, expected a value at least 1."),
        ("training: {epochs: true}", "expected a whole number"),
        ("training: {lrf: 2}", "at most 1.0"),
        ("training: {lr0: .nan}", "lr0: got nan"),
        ("training: {weight_decay: .nan}", "weight_decay: got nan"),
        ("training: {optimizer: adamv}", "Did you mean 'adamw'?"),
        ("training: 3", "section 'training': got 3"),
        ("model: {model: q}", "expected one of p, n, s, m, l, x"),
        ("dataset: {imgsz: 100}", "Use 96 or 128."),
        ("dataset: {rect: true, multi_scale: 0.5}", "Drop --rect or --multi-scale."),
        ("- 1", "expected sections"),
        ("model: [", "config.yaml:1: not valid YAML"),
        ("training: {epochs: 2020-99-99}", "not valid YAML"),
        ("logging: {name: ../x}", "expected a name inside the --project folder"),
    ],
)
def test_bad_yaml_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        YOLOConfig.from_yaml(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_binary_file_is_not_a_config(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read as YAML text"):
        YOLOConfig.from_yaml(tmp_path / "config.yaml")


def test_yaml_booleans_and_numbers_mean_what_they_say(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("training: {amp: off, lr0: 1e-3, warmup_epochs: 0}")
    training = YOLOConfig.from_yaml(path).training
    assert (training.amp, training.lr0, training.warmup_epochs) == ("off", 0.001, 0.0)


def test_empty_yaml_is_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    assert YOLOConfig.from_yaml(tmp_path / "config.yaml") == YOLOConfig()


def test_setting_names_are_unique_over_sections() -> None:
    names = [f.name for k in typing.get_type_hints(YOLOConfig).values() for f in dataclasses.fields(k)]
    assert len(names) == len(set(names))


def test_config_and_models_know_the_same_sizes() -> None:
    assert tuple(MODEL_SPECS) == MODEL_SIZES


def test_replace_rejects_unknown_names() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        YOLOConfig().replace(epoch=3)
