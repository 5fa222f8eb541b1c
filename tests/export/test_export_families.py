"""Exported networks of every family: equal to torch, and those of yolo26 select without suppressing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.foreign_values import foreign_value

from yolofast.export import export_model
from yolofast.models import Detector, build_model, fused_copy

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

IMGSZ = 64


def lively(name: str) -> Detector:
    """A network of 3 classes whose weights and statistics of the norms are numbers made from names."""
    model = build_model(name, 3).eval()
    for key, tensor in model.state_dict().items():
        tensor.copy_(torch.from_numpy(foreign_value(key.replace(".norm.", ".bn."), tuple(tensor.shape))))
    return fused_copy(model)


@pytest.mark.parametrize("name", [pytest.param("yolov8n", marks=pytest.mark.deep), "yolo11n", "yolo26n"])
@pytest.mark.parametrize("format", ["onnx", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_file_equals_torch(name: str, format: str, images: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "model.file"
    result = export_model(lively(name), path, format=format, imgsz=IMGSZ, images=images, simplify=False)
    assert result.images_checked == len(images)
    assert result.max_rel_diff is not None
    assert result.max_rel_diff < 1e-4


def test_a_yolo26_file_with_nms_keeps_the_best_pairs_of_point_and_class(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Whatever `iou` says: also pairs whose boxes are the same."""
    model, path, kept = lively("yolo26n"), tmp_path / "model.onnx", 100
    export_model(
        model, path, imgsz=IMGSZ, include_nms=True, simplify=False, conf=0.001, iou=0.1, max_det=kept
    )
    pixels = images[:1].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": pixels})[0]
    with torch.no_grad():
        scores = model(torch.from_numpy(pixels))[0, 4:].flatten()
    assert scores.numel() > kept
    best = scores.sort(descending=True).values[:kept].numpy()
    np.testing.assert_allclose(rows[:, 4], best, rtol=0, atol=1e-5)
