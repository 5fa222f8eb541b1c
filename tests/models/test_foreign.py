"""Checkpoints of Ultralytics: what is read, what is named and refused, and the way into our files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.torch_files import save_training
from torch import nn

from yolofast.cli.entry import run
from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError
from yolofast.models import build_model, load_weights, read_checkpoint, read_metadata, transfer_weights
from yolofast.pipeline import start_model
from yolofast.torch_file import TorchFile


def test_a_training_file_is_described(tmp_path: Path) -> None:
    expected = save_training(tmp_path / "x.pt", ("cat", "dog"))
    found = read_checkpoint(tmp_path / "x.pt")
    assert (found.family, found.size, found.part, found.precision) == ("yolov8", "n", "ema", "float16")
    assert (found.class_names, found.imgsz, found.stride) == (("cat", "dog"), 320, (8, 16, 32))
    assert found.spp_activation
    assert found.version == "8.4.0"
    assert found.training == {"imgsz": 320, "data": "pets.yaml", "save": True, "device": None}
    assert list(found.tensors) == list(expected)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.items())


def test_a_plain_state_dict_is_described(tmp_path: Path) -> None:
    expected = save_training(tmp_path / "x.pt")
    for whole in (expected, {"model": expected}):
        torch.save(whole, tmp_path / "plain.pt")
        found = read_checkpoint(tmp_path / "plain.pt")
        assert (found.family, found.size, found.part, found.class_names) == (
            "yolov8",
            "n",
            "model",
            ("0", "1"),
        )


def without_spp_activation(model: Any, classes: Any) -> None:
    model.model[9].cv1.act = nn.Identity()


def test_the_first_activation_of_spp_is_read(tmp_path: Path) -> None:
    save_training(tmp_path / "x.pt", change=without_spp_activation)
    assert not read_checkpoint(tmp_path / "x.pt").spp_activation


def other_head(model: Any, classes: Any) -> None:
    model.model[22].__class__ = classes["Segment"]


def custom_module(model: Any, classes: Any) -> None:
    model.model[4].m[0].__class__ = classes["Odd"]


def other_activation(model: Any, classes: Any) -> None:
    model.model[3].act = nn.SiLU()
    model.model[3]._modules["act"] = nn.Identity()


def other_eps(model: Any, classes: Any) -> None:
    model.model[1].bn.eps = 1e-5


def other_strides(model: Any, classes: Any) -> None:
    model.stride = torch.tensor([4.0, 8.0, 16.0])


def other_inputs(model: Any, classes: Any) -> None:
    model.model[0].conv = nn.Conv2d(1, 16, 3, 2, 1, bias=False)


def other_wiring(model: Any, classes: Any) -> None:
    model.model[11].f = [-1, 4]


def other_shortcut(model: Any, classes: Any) -> None:
    model.model[2].m[0].add = False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_head, "a segmentation model"),
        (custom_module, r"custom module somebody\.layers\.Odd at model\.4\.m\.0"),
        (other_activation, r"model\.3 has the activation Identity"),
        (other_eps, r"model\.1\.bn has another eps"),
        (other_strides, "strides are"),
        (other_inputs, "images have 1 channels"),
        (other_wiring, "layer 11 does not take its input from"),
        (other_shortcut, r"model\.2\.m\.0 has another add"),
    ],
)
def test_what_differs_is_named_and_not_imported(tmp_path: Path, change: Any, message: str) -> None:
    save_training(tmp_path / "x.pt", change=change)
    with pytest.raises(CheckpointError, match=rf"x\.pt: not imported: .*{message}"):
        read_checkpoint(tmp_path / "x.pt")


def test_infinite_weights_are_refused(tmp_path: Path) -> None:
    def diverged(model: Any, classes: Any) -> None:
        model.model[0].conv.weight.data[0] = float("nan")

    save_training(tmp_path / "x.pt", change=diverged)
    with pytest.raises(CheckpointError, match="infinite or NaN"):
        load_weights(tmp_path / "x.pt")


def test_weights_are_taken_from_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    expected = save_training(path)
    model = load_weights(path)
    assert model.class_names == ("cat", "dog")
    stem = model.state_dict()["backbone.stem.conv.weight"]
    assert torch.equal(stem, expected["model.0.conv.weight"].float())
    assert read_metadata(path)["imgsz"] == "320"
    other = build_model("n", 2, class_names=("dog", "bird"), seed=1)
    report = transfer_weights(other, path)
    assert report.classes == ("dog",)
    own, theirs = (m.state_dict()["head.class_branches.0.2.weight"] for m in (other, model))
    assert torch.equal(own[0], theirs[1])


def test_import_writes_our_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "x.pt", tmp_path / "x.safetensors"
    save_training(path)
    assert run(["import", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["family"], said["size"], said["class_names"]) == ("yolov8", "n", ["cat", "dog"])
    assert said["out"] == str(out)
    ours, theirs = load_weights(out).state_dict(), load_weights(path).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert run(["import", str(path), "--out", str(path)]) == 2
    assert run(["import", str(path)]) == 0
    assert "yolov8n (ema, float16)" in capsys.readouterr().out


def test_a_file_is_read_once_for_a_new_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its description comes with its weights; whoever asks for the description alone reads no numbers."""
    path = tmp_path / "x.pt"
    tensors = save_training(path)
    opened, read = [], []
    init, numbers = TorchFile.__init__, TorchFile.read
    monkeypatch.setattr(TorchFile, "__init__", lambda self, path: (opened.append(path), init(self, path))[1])
    monkeypatch.setattr(
        TorchFile, "read", lambda self, tensor: (read.append(tensor), numbers(self, tensor))[1]
    )
    config = YOLOConfig().replace(model="yolov8n", weights=path)
    model = start_model(config, ("dog", "cat"))
    assert len(opened) == 1
    assert len(read) <= len(tensors) + 1  # and the strides
    stem = model.state_dict()["backbone.stem.conv.weight"]
    assert torch.equal(stem, tensors["model.0.conv.weight"].float())
    read.clear()
    assert read_metadata(path)["imgsz"] == "320"
    assert len(read) == 1
