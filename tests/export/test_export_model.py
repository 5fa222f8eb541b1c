"""Exported files as a user meets them: loaded by the runtimes, equal to torch, whole or absent."""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yolofast.config import EXPORT_FORMATS
from yolofast.errors import ExportError, MissingExtraError
from yolofast.export import check_export, export_all_formats, export_model, exporter, verify_export
from yolofast.kernels import postprocess
from yolofast.models import Detector
from yolofast.types import ExportResult

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

IMGSZ = 64


def raw_of(model: Detector, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.no_grad():
        raw: NDArray[np.float32] = model(torch.from_numpy(images).float() / 255).numpy()
    return raw


def run_onnx(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"images": images.astype(np.float32) / 255})[0]
    return result


def assert_no_path_in(path: Path) -> None:
    """The file names no file or folder of the exporting machine."""
    data = path.read_bytes()
    for private in (
        path.parent,
        Path.cwd(),
        sys.prefix,
        Path(torch.__file__).parent,
        "site-packages",
        ".tmp",
    ):
        assert str(private).encode() not in data, private


def assert_damage_is_noticed(path: Path) -> None:
    """At the ends and in between; the file is left as it was."""
    whole = path.read_bytes()
    check_export(path)
    for at in (0, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ExportError, match="it was damaged, changed by another program"):
            check_export(path)
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        ({}, 1e-4),
        ({"dynamic": False, "simplify": False, "opset": 21}, 1e-4),
        ({"half_precision": True}, 5e-2),
        ({"format": "torchscript"}, 1e-4),
        ({"format": "torchscript", "half_precision": True}, 5e-2),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_file_equals_torch(
    settings: dict[str, Any],
    limit: float,
    model: Detector,
    images: NDArray[np.uint8],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "deep" / "model.file"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = export_model(model, path, imgsz=IMGSZ, images=images, **settings)
    assert (result.path, result.images_checked) == (path, len(images))
    assert result.size_bytes == path.stat().st_size
    weights = sum(p.numel() for p in model.parameters()) * (2 if settings.get("half_precision") else 4)
    assert weights < result.size_bytes < 1.4 * weights
    assert result.max_rel_diff is not None
    assert result.max_rel_diff <= limit
    assert capsys.readouterr().out == ""
    assert list(path.parent.iterdir()) == [path], "nothing is left beside the file"
    assert_no_path_in(path)
    assert_damage_is_noticed(path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    expected = raw_of(model, images)
    if settings.get("format") == "torchscript":
        extra = {"metadata.json": ""}
        module = torch.jit.load(path, _extra_files=extra)
        got = module(torch.from_numpy(images).float() / 255).numpy()
        names, task = (json.loads(extra["metadata.json"])[key] for key in ("names", "task"))
    elif settings.get("dynamic", True):
        got = run_onnx(path, images)
    else:
        got = np.concatenate([run_onnx(path, image[None]) for image in images])
    if settings.get("format") != "torchscript":
        properties = {p.key: p.value for p in onnx.load(path).metadata_props}
        names, task = json.loads(properties["names"]), properties["task"]
        assert json.loads(properties["imgsz"]) == [IMGSZ, IMGSZ]
        assert properties["stride"] == "32"
        graph = onnx.load(path)
        assert [(o.domain, o.version) for o in graph.opset_import] == [("", settings.get("opset", 18))]
        assert [v.name for v in (*graph.graph.input, *graph.graph.output)] == ["images", "output0"]
    assert (tuple(names), task) == (model.class_names, "detect")
    assert got.dtype == np.float32
    difference = np.abs(got - expected).max() / np.abs(expected).max()
    assert difference == pytest.approx(result.max_rel_diff, abs=limit / 10)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_a_torchscript_file_runs_on_any_device_and_at_any_size(
    half: bool, model: Detector, tmp_path: Path
) -> None:
    """It holds no device, so it runs where its weights are moved to; and torch can map its tensors."""
    path = tmp_path / "model.file"
    export_model(model, path, imgsz=IMGSZ, format="torchscript", half_precision=half)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        code = b"".join(archive.read(name) for name in names if name.endswith(".py"))
    assert b"torch.arange(" in code
    assert b"torch.device(" not in code
    assert {name.partition("/")[0] for name in names} == {"model"}
    reader = torch._C.PyTorchFileReader(str(path))
    assert {reader.get_record_offset(name) % 64 for name in reader.get_all_records()} == {0}
    images = torch.rand(3, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, expected = torch.jit.load(path)(images), model(images)
    assert got.shape == expected.shape
    assert half or torch.allclose(got, expected, atol=1e-3)


def test_nms_inside_equals_nms_outside(model: Detector, images: NDArray[np.uint8], tmp_path: Path) -> None:
    settings = {"conf": 0.3, "iou": 0.5, "max_det": 40}
    result = export_model(
        model, tmp_path / "m.onnx", imgsz=IMGSZ, images=images, include_nms=True, **settings
    )
    assert result.max_rel_diff is not None
    assert result.max_rel_diff < 1e-4
    assert_no_path_in(result.path)
    for count in (1, len(images)):
        got = run_onnx(result.path, images[:count])
        assert got.shape == (count, 40, 6)
        for rows, reference in zip(got, postprocess(raw_of(model, images[:count]), **settings), strict=True):
            assert len(reference) > 5
            np.testing.assert_allclose(rows[: len(reference), :4], reference.boxes, atol=1e-2)
            np.testing.assert_allclose(rows[: len(reference), 4], reference.scores, atol=1e-4)
            np.testing.assert_array_equal(rows[: len(reference), 5], reference.classes)
            assert not rows[len(reference) :].any()
    with pytest.raises(ExportError, match="detections differ"):  # other settings than the file's
        verify_export(result.path, model, images, format="onnx", conf=0.05, iou=0.5, max_det=40)


def test_without_images_nothing_is_compared(model: Detector, tmp_path: Path) -> None:
    result = export_model(model, tmp_path / "m.torchscript", format="torchscript", imgsz=IMGSZ)
    assert (result.max_rel_diff, result.images_checked) == (None, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "openvino"}, "'openvino' is not supported yet, expected one of onnx, torchscript"),
        ({"format": "onxn"}, "Did you mean 'onnx'"),
        ({"imgsz": 100}, "multiple of 32"),
        ({"opset": 11}, "got 11, expected 18 to 23"),
        ({"format": "torchscript", "include_nms": True}, "expected 'onnx'"),
        ({"conf": 1.5}, "conf in"),
        ({"max_det": 0}, "max_det of at least 1"),
        ({"images": np.zeros((1, 3, 32, 32), np.uint8)}, r"expected uint8 \(N, 3, 64, 64\)"),
        ({"images": np.zeros((1, 3, 64, 64), np.float32)}, "got float32"),
    ],
)
def test_bad_setting_is_one_clear_error(
    settings: dict[str, Any], message: str, model: Detector, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        export_model(model, tmp_path / "m.onnx", **({"imgsz": IMGSZ} | settings))
    assert not list(tmp_path.iterdir())


def test_unwritable_path_is_found_before_the_export(model: Detector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="cannot be written"):
        export_model(model, tmp_path / "file" / "m.onnx", imgsz=IMGSZ)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_a_file_that_does_not_load_is_one_line(
    format: str, model: Detector, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "m").write_bytes(b"\x08\x01not a model")
    with pytest.raises(ExportError, match="cannot load it") as caught:
        verify_export(tmp_path / "m", model, images, format=format)
    assert "\n" not in str(caught.value)


def test_a_file_that_differs_is_not_kept(
    model: Detector, images: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is real: weights that change between export and check are noticed."""
    path = tmp_path / "m.torchscript"
    path.write_bytes(b"the export of yesterday")
    write = exporter.write_torchscript

    def write_another_model(module: torch.nn.Module, *arguments: Any, **settings: Any) -> None:
        write(module, *arguments, **settings)
        next(module.parameters()).data.mul_(1.5)

    monkeypatch.setattr(exporter, "write_torchscript", write_another_model)
    with pytest.raises(ExportError, match="differs from torch"):
        export_model(model, path, format="torchscript", imgsz=IMGSZ, images=images)
    assert path.read_bytes() == b"the export of yesterday"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxslim"])
def test_missing_package_names_the_extra(
    package: str, model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, package)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*yolofast\[onnx\]"):
        export_model(model, tmp_path / "m.onnx", imgsz=IMGSZ)


def test_without_onnxruntime_the_file_is_written_unchecked(
    model: Detector,
    images: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hide(monkeypatch, "onnxruntime")
    monkeypatch.setattr(exporter, "write_onnx", lambda module, path, **settings: path.write_bytes(b"graph"))
    result = export_model(model, tmp_path / "m.onnx", imgsz=IMGSZ, images=images)
    assert result.path.read_bytes() == b"graph"
    assert (result.max_rel_diff, result.images_checked) == (None, 0)
    assert "not compared" in caplog.text


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest)
    )


def test_one_failing_format_does_not_stop_the_others(
    model: Detector, images: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = export_all_formats(
        model, tmp_path, ("coreml", "onnx", "torchscript"), name="cells", imgsz=IMGSZ, images=images, opset=11
    )
    assert list(results) == ["coreml", "onnx", "torchscript"]
    assert isinstance(results["coreml"], ExportError)
    assert isinstance(results["onnx"], ExportError)
    assert isinstance(results["torchscript"], ExportResult)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.torchscript"]
    assert "export to coreml failed" in caplog.text


def test_an_exporter_that_breaks_is_reported(tmp_path: Path) -> None:
    class Broken(torch.nn.Module):
        class_names = ("a",)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no such layer")

    results = export_all_formats(Broken(), tmp_path, ("torchscript",), imgsz=IMGSZ)
    assert isinstance(results["torchscript"], ExportError)
    assert "no such layer" in str(results["torchscript"])
    assert not list(tmp_path.iterdir())


def test_int8_is_refused_for_every_format(model: Detector, tmp_path: Path) -> None:
    results = export_all_formats(model, tmp_path, imgsz=IMGSZ, int8_quantization=True)
    assert set(results) == set(EXPORT_FORMATS)
    for error in results.values():
        assert isinstance(error, ExportError)
        assert "int8" in str(error)


def test_real_warnings_reach_the_log(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    import warnings

    from yolofast.export.exporter_output import quiet_exporter

    with caplog.at_level(logging.INFO), quiet_exporter():
        print("chatter")
        warnings.warn("the result may be wrong", UserWarning, stacklevel=1)
        warnings.warn("torch will rename this", FutureWarning, stacklevel=1)
        logging.getLogger("onnx_ir.passes").info("removed a node")
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "the result may be wrong" in caplog.text
    assert capsys.readouterr().out == ""
