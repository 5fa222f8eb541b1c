"""Weights files: exact round trips, start from other classes, and clear refusals."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from yolofast import __version__
from yolofast.errors import CheckpointError, ConfigError
from yolofast.models import Detector, build_model, fused_copy, load_weights, save_weights, transfer_weights
from yolofast.tensor_file import write_tensors

NAMES = ("red cell", "plaquette – é", 'the "third"')


@pytest.fixture(scope="module")
def model() -> Detector:
    model = build_model("p", 3, class_names=NAMES, seed=0).train()
    model(torch.rand(2, 3, 32, 64))  # moves the running statistics off their start
    return model


@pytest.fixture
def weights(model: Detector, tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    save_weights(model, path, {"epoch": "7"})
    return path


def same(a: Detector, b: Detector) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(torch.equal(x[n], y[n]) and x[n].dtype == y[n].dtype for n in x)


def test_round_trip_is_exact(model: Detector, weights: Path) -> None:
    loaded = load_weights(weights)
    assert same(loaded, model)
    assert loaded.class_names == NAMES
    assert loaded.spec == model.spec
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training, "ready for inference"
    with safe_open(weights, framework="pt") as file:
        header = file.metadata()
    assert header["format"] == "yolofast-detector"
    assert (header["epoch"], header["stride"], header["version"]) == ("7", "32", __version__)
    assert json.loads(header["class_names"]) == list(NAMES)


def test_writes_one_file_and_replaces_it_whole(model: Detector, weights: Path) -> None:
    before = load_weights(weights)
    save_weights(build_model("p", 2, seed=3), weights)
    assert [p.name for p in weights.parent.iterdir()] == [weights.name]
    assert load_weights(weights).num_classes == 2
    assert same(before, model)  # weights in memory do not hang on the file


def test_channels_last_model_is_saved_alike(model: Detector, weights: Path, tmp_path: Path) -> None:
    other = load_weights(weights).to(memory_format=torch.channels_last)
    save_weights(other, tmp_path / "last.safetensors")
    assert same(load_weights(tmp_path / "last.safetensors"), model)


def test_half_file_is_half_as_large(model: Detector, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_weights(model, path, half=True)
    assert path.stat().st_size < 0.6 * weights.stat().st_size
    loaded = load_weights(path)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded.eval()(images), model.eval()(images), rtol=0.02, atol=0.05)


@pytest.mark.parametrize(("prefixes", "wanted"), [(("ema/", "model/"), 1.0), (("model/",), 2.0)])
def test_checkpoint_of_the_trainer(
    model: Detector, tmp_path: Path, prefixes: tuple[str, ...], wanted: float
) -> None:
    """Averaged weights first; optimizer state is not the model's."""
    marks = {"ema/": 1.0, "model/": 2.0}
    tensors = {"optimizer/0/exp_avg": torch.ones(3), "rng/torch": torch.zeros(4, dtype=torch.uint8)}
    for prefix in prefixes:
        for name, tensor in model.state_dict().items():
            tensors[prefix + name] = torch.full_like(tensor, marks[prefix])
    path = tmp_path / "last.safetensors"
    save_file(tensors, path, {**model.metadata(), "epoch": "3"})
    assert all((p == wanted).all() for p in load_weights(path).parameters())


def test_transfer_to_other_classes_keeps_backbone_and_neck(model: Detector, weights: Path) -> None:
    other = build_model("p", 50, seed=9)
    start = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    report = transfer_weights(other, weights)
    source = model.state_dict()
    for name, tensor in other.state_dict().items():
        if name.startswith(("backbone.", "neck.", "head.box_branches.")):
            assert torch.equal(tensor, source[name])
        if name in report.skipped:
            assert torch.equal(tensor, start[name])
    assert "head.class_branches.0.2.weight" in report.skipped
    assert report.loaded + len(report.skipped) == report.total == len(start)
    assert f"{report.loaded} of {report.total}" in str(report)


def test_weights_of_another_size_are_refused_by_its_name(weights: Path) -> None:
    """Some tensors always fit, counters and biases: a model of mixed weights would train from nothing."""
    other = build_model("n", 3, seed=0)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"only \d+% of the weights of model 'n' .*Use --model p"):
        transfer_weights(other, weights)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


def test_a_file_without_the_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "strange.safetensors"
    save_file({"something": torch.zeros(1)}, path, build_model("p", 1).metadata())
    with pytest.raises(CheckpointError, match=r"only 0% of the weights .*Use other weights"):
        transfer_weights(build_model("p", 3), path)


def class_row(model: Detector, name: str) -> torch.Tensor:
    """What a model has of one class: its weights and bias at every level."""
    row = model.class_names.index(name)
    branches = [branch.get_submodule("2") for branch in model.head.class_branches]
    return torch.stack([torch.cat((b.weight[row].flatten(), b.bias[row : row + 1])) for b in branches])


@pytest.mark.parametrize("names", [("Dog", "bird", "cat"), ("zebra", "cat"), ("a", "b", "c", "bird", "dog")])
def test_class_scores_are_taken_by_name(names: tuple[str, ...], tmp_path: Path) -> None:
    known = build_model("p", 3, class_names=("cat", "dog", "bird"), seed=1)
    for branch in known.head.class_branches:
        torch.nn.init.normal_(branch.get_submodule("2").get_parameter("bias"))
    save_weights(known, tmp_path / "w.safetensors")
    model = build_model("p", len(names), class_names=names, seed=2)
    start = {name: class_row(model, name).clone() for name in names}
    report = transfer_weights(model, tmp_path / "w.safetensors")
    shared = tuple(name for name in names if name.lower() in known.class_names)
    assert report.classes == shared
    for name in names:
        wanted = class_row(known, name.lower()) if name in shared else start[name]
        assert torch.equal(class_row(model, name), wanted), name


def test_classes_that_differ_only_in_case_are_told_apart(tmp_path: Path) -> None:
    known = build_model("p", 3, class_names=("car", "Car", "BUS"), seed=1)
    save_weights(known, tmp_path / "w.safetensors")
    model = build_model("p", 4, class_names=("Car", "car", "CAR", "bus"), seed=2)
    start = class_row(model, "CAR").clone()
    assert transfer_weights(model, tmp_path / "w.safetensors").classes == ("Car", "car", "bus")
    for name, source in (("Car", "Car"), ("car", "car"), ("bus", "BUS")):
        assert torch.equal(class_row(model, name), class_row(known, source)), name
    assert torch.equal(class_row(model, "CAR"), start)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_file_mode_follows_the_umask(model: Detector, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_weights(model, tmp_path / "w.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == 0o666 & ~umask


def test_equal_weights_make_equal_files(model: Detector, weights: Path, tmp_path: Path) -> None:
    again = load_weights(weights).to(memory_format=torch.channels_last)
    save_weights(again, tmp_path / "again.safetensors", {"epoch": "7"})
    assert (tmp_path / "again.safetensors").read_bytes() == weights.read_bytes()


def test_weights_that_are_not_finite_are_refused(model: Detector, weights: Path) -> None:
    name = "backbone.stem.norm.weight"
    tensors = model.state_dict() | {name: model.state_dict()[name] * torch.nan}
    write_tensors(weights, tensors, model.metadata())
    for use in (load_weights, lambda path: transfer_weights(build_model("p", 3), path)):
        with pytest.raises(CheckpointError, match=rf"infinite or NaN \(the first: {name}\)"):
            use(weights)


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half_written(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _torn_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _pickle(path: Path) -> None:
    torch.save({"model": torch.zeros(3)}, path)


def _other_format(path: Path) -> None:
    save_file(load_file(path), path, {"format": "pt"})


def _later_version(path: Path) -> None:
    save_file(load_file(path), path, {**build_model("p", 3).metadata(), "format_version": "99"})


def _unknown_size(path: Path) -> None:
    save_file(load_file(path), path, {**build_model("p", 3).metadata(), "model": "q"})


def _broken_names(path: Path) -> None:
    save_file(load_file(path), path, {**build_model("p", 3).metadata(), "class_names": "[1,"})


def _numbered_names(path: Path) -> None:
    save_file(load_file(path), path, {**build_model("p", 3).metadata(), "class_names": "[1, 2, 3]"})


def _deep_names(path: Path) -> None:
    save_file(load_file(path), path, {**build_model("p", 3).metadata(), "class_names": "[" * 100_000})


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)


def _tensor_gone(path: Path) -> None:
    tensors = load_file(path)
    del tensors["backbone.stem.conv.weight"]
    save_file(tensors, path, build_model("p", 3).metadata())


def _other_classes(path: Path) -> None:
    save_file(load_file(path), path, build_model("p", 4).metadata())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_missing, "file not found, expected a .safetensors weights file"),
        (_folder, "is a folder, expected a .safetensors weights file"),
        (_empty, "cannot be read as safetensors"),
        (_half_written, "cannot be read as safetensors"),
        (_torn_header, "cannot be read as safetensors"),
        (_pickle, "not imported"),
        (_other_format, "got 'pt' in its header, expected 'yolofast-detector'"),
        (_later_version, "got format version 99, expected 1"),
        (_unknown_size, "its header does not describe a model .*expected one of p"),
        (_broken_names, "its header does not describe a model"),
        (_numbered_names, "class_names is not a list of texts"),
        (_deep_names, "nested too deeply"),
        (_flipped, "damaged: the checksum of tensor .* does not match"),
        (_tensor_gone, "1 tensors do not fit .*backbone.stem.conv.weight: not in the file"),
        (
            _other_classes,
            r"do not fit model 'p' with 4 classes.*shape \(3,.*in the file, \(4,.*in the model",
        ),
    ],
)
def test_bad_files_are_refused_by_name(weights: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(weights)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(weights)
    assert str(caught.value).startswith(str(weights))


def test_unwritable_place(model: Detector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(model, tmp_path / "file" / "best.safetensors")


def test_fused_models_and_taken_keys_are_refused(model: Detector, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got a fused model"):
        save_weights(fused_copy(model), tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="got the key 'model'"):
        save_weights(model, tmp_path / "a.safetensors", {"model": "x"})
    assert not list(tmp_path.iterdir())
