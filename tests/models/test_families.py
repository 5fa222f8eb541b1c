"""Networks of all families: the numbers of the originals, their weights files, training and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.foreign_values import foreign_value

from yolofast.errors import CheckpointError
from yolofast.evaluate.inference import nms_threshold
from yolofast.models import (
    MODEL_SPECS,
    build_model,
    fused_copy,
    load_weights,
    read_metadata,
    save_weights,
    transfer_weights,
)
from yolofast.models.foreign import ForeignCheckpoint
from yolofast.models.translate import detector_of, foreign_names

DATA = Path(__file__).parent / "data"
NETWORKS = ("yolov8n", "yolo11n", "yolo26n")
TARGETS = torch.tensor([[0, 0, 0.5, 0.5, 0.4, 0.3], [1, 1, 0.3, 0.6, 0.1, 0.2]])


def checkpoint(
    name: str, tensors: dict[str, torch.Tensor], *, spp_activation: bool = True
) -> ForeignCheckpoint:
    return ForeignCheckpoint(
        path=Path("weights.pt"),
        family=name[:-1],  # type: ignore[arg-type]
        size=name[-1],  # type: ignore[arg-type]
        class_names=tuple(f"class{i}" for i in range(80)),
        imgsz=64,
        stride=(8, 16, 32),
        precision="float32",
        part="model",
        tensors=tensors,
        spp_activation=spp_activation,
        version=None,
        training={},
    )


def recorded(name: str) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray[Any, Any]]]:
    """Tensors of a network by their names in foreign files, and the original's outputs with them."""
    with np.load(DATA / f"{name}.npz") as file:
        outputs = {key: file[key] for key in file.files}
    shapes = json.loads(str(outputs.pop("shapes")))
    return {key: torch.from_numpy(foreign_value(key, tuple(shape))) for key, shape in shapes.items()}, outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_original(name: str) -> None:
    """Recorded by benchmarks/weights_parity.py --record; all heads, one image of 64 px, 80 classes."""
    tensors, expected = recorded(name)
    model = detector_of(checkpoint(name, tensors, spp_activation=name != "yolo26n"))
    pixels = (foreign_value("image", (1, 3, 64, 64)) * 255).astype(np.uint8)
    with torch.no_grad():
        outputs = model.training_maps(torch.from_numpy(pixels).float() / 255)
    assert len(expected) == 2 * len(outputs)
    for number, head in enumerate(outputs):
        for part, ours in (("boxes", head.box_logits), ("scores", head.class_logits)):
            theirs = expected[f"float32/{number}/{part}"]
            assert ours.shape == theirs.shape
            assert np.abs(theirs).max() > 0.1
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "count"), [("yolov8n", 3157184), ("yolo11n", 2624064), ("yolo26n", 2572280)]
)
def test_parameters_are_as_many(name: str, count: int) -> None:
    """Without the 16 constants of the box distribution, which are no parameters here."""
    with torch.device("meta"):
        assert sum(p.numel() for p in build_model(name, 80).parameters()) == count


@pytest.mark.parametrize("name", list(MODEL_SPECS))
def test_every_network_takes_images(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 3).eval()
        assert model(torch.empty(1, 3, 64, 96)).shape == (1, 7, 126)
    assert len(set(foreign_names(model).values())) == len(model.state_dict())


def test_tensors_that_are_missing_left_over_or_of_another_shape_are_named() -> None:
    tensors, _ = recorded("yolo11n")
    weight = "model.10.m.0.attn.qkv.conv.weight"
    with pytest.raises(CheckpointError, match=f"no tensor {weight}"):
        detector_of(checkpoint("yolo11n", {key: value for key, value in tensors.items() if key != weight}))
    with pytest.raises(CheckpointError, match=r"model\.24\.extra does not fit a yolo11n"):
        detector_of(checkpoint("yolo11n", tensors | {"model.24.extra": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="does not fit a yolo11n"):
        detector_of(checkpoint("yolo11n", tensors | {weight: torch.zeros(2, 2)}))
    changed = {"model.23.dfl.conv.weight": torch.zeros(1, 16, 1, 1)}
    with pytest.raises(CheckpointError, match=r"dfl\.conv\.weight is not 0, 1, \.\.\., 15"):
        detector_of(checkpoint("yolo11n", tensors | changed))


@pytest.mark.parametrize("activation", [True, False])
def test_the_activation_of_the_pooling_is_kept_in_weights_files(tmp_path: Path, activation: bool) -> None:
    tensors, _ = recorded("yolov8n")
    model = detector_of(checkpoint("yolov8n", tensors, spp_activation=activation))
    save_weights(model, tmp_path / "a.safetensors")
    again = load_weights(tmp_path / "a.safetensors")
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(images), again(images))
    assert again.spp_activation is activation
    assert read_metadata(tmp_path / "a.safetensors").get("spp_activation") == (
        None if activation else "false"
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_loss_reaches_every_weight_and_folding_keeps_the_numbers(name: str) -> None:
    model = build_model(name, 2, seed=0)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model(images, TARGETS).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        raw, sums = model.with_loss(images, TARGETS)
        torch.testing.assert_close(raw, model(images))
        torch.testing.assert_close(fused_copy(model)(images), raw, rtol=1e-4, atol=1e-3)
    assert sums.isfinite().all()


def test_the_one_to_one_head_does_not_move_the_backbone() -> None:
    model = build_model("yolo26n", 2, seed=0)
    _, one = model.training_maps(torch.rand(1, 3, 64, 64))
    (one.box_logits.sum() + one.class_logits.sum()).backward()
    assert all(
        p.grad is None
        for p in (*model.backbone.parameters(), *model.neck.parameters(), *model.head.parameters())
    )
    assert model.single_head is not None
    assert all(p.grad is not None for p in model.single_head.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_of_classes_are_transferred_by_name_in_every_head(tmp_path: Path, name: str) -> None:
    source = build_model(name, 3, class_names=("cat", "dog", "bird"), seed=0)
    save_weights(source, tmp_path / "a.safetensors")
    model = build_model(name, 2, class_names=("bird", "cow"), seed=1)
    report = transfer_weights(model, tmp_path / "a.safetensors")
    assert report.classes == ("bird",)
    assert not report.skipped
    heads = [(model.head, source.head)]
    if model.single_head is not None and source.single_head is not None:
        heads.append((model.single_head, source.single_head))
    for ours, theirs in heads:
        rows = (
            ours.state_dict()["class_branches.1.2.weight"],
            theirs.state_dict()["class_branches.1.2.weight"],
        )
        assert torch.equal(rows[0][0], rows[1][2])


def test_only_end_to_end_models_need_no_nms() -> None:
    with torch.device("meta"):
        assert nms_threshold(build_model("yolo26n", 2), 0.7) == 1.0
        assert nms_threshold(build_model("yolo11n", 2), 0.7) == 0.7
