"""Whether an exported file is as it was written, and how far it is from the torch model on real images."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ExportError, missing_extra
from yolofast.export.onnx_nms import DETECTIONS
from yolofast.kernels import postprocess
from yolofast.printable import printable
from yolofast.seal import is_intact
from yolofast.types import Detections

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

BATCH = 4
"""Batch size for files with a dynamic batch size."""
MAX_UNMATCHED_SHARE = 0.02
"""Share of detections that may differ between the file's NMS and ours: pairs whose IoU or score lies
within a rounding error of a threshold."""

Run = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32] | None]]
"""float32 images [B, 3, S, S] in 0..1 -> (raw output, detections [B, max_det, 6] or None)."""


def check_export(path: str | Path) -> None:
    """Raise `ExportError` unless every byte of `path` is as `export_model` wrote it.

    For a file that was copied or kept for long: the runtimes of ONNX and TorchScript check no checksum, and
    run damaged weights.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}. Check the path.") from None
    intact = is_intact(data)
    if not intact:
        problem = "has no checksum of yolofast's" if intact is None else "does not match its checksum"
        raise ExportError(
            f"{path}: {problem}: it was damaged, changed by another program, or exported by an older "
            "version. Export it again."
        )


def verify_export(
    path: str | Path,
    model: nn.Module,
    images: NDArray[np.uint8],
    *,
    format: str,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
) -> float:
    """max |exported - torch| / max |torch| over the raw outputs of `images` uint8 [N, 3, S, S].

    `model` is the float32 torch model on the CPU in evaluation mode. A file that includes NMS is also
    compared with `yolofast.kernels.postprocess` of its own raw output at `conf`, `iou`, `max_det`.

    Raises `MissingExtraError` without onnxruntime (ONNX), and `ExportError` when the file does not
    run, when its output has another shape or is not finite, or when its NMS differs.
    """
    import torch

    run, batch = (_onnx_runner if format == "onnx" else _torchscript_runner)(Path(path))
    largest = difference = box_difference = score_difference = 0.0
    unmatched = total = 0
    for start in range(0, len(images), batch):
        pixels = images[start : start + batch].astype(np.float32) / np.float32(255)
        with torch.no_grad():
            expected = model(torch.from_numpy(pixels)).numpy()
        got, detections = run(pixels)
        if got.shape != expected.shape:
            raise ExportError(
                f"{format} file: its output has shape {got.shape}, expected torch's {expected.shape}"
            )
        apart = np.abs(got - expected)
        if not np.isfinite(apart).all():
            raise ExportError(
                f"{format} file: its output is not finite, expected torch's values. "
                "Check the weights for NaN; with half precision, try again without it."
            )
        largest = max(largest, float(np.abs(expected).max()))
        difference = max(difference, float(apart.max()))
        box_difference = max(box_difference, float(apart[:, :4].max()))
        score_difference = max(score_difference, float(apart[:, 4:].max()))
        if detections is not None:
            ours = postprocess(got, conf=conf, iou=iou, max_det=max_det)
            for rows, reference in zip(detections, ours, strict=True):
                unmatched += unmatched_detections(rows, reference)
                total += len(reference)
    relative = difference / largest if largest else difference
    log.info(
        "%s file on %d images: differs from torch by %.2e relative (boxes %.2e px, scores %.2e)",
        format,
        len(images),
        relative,
        box_difference,
        score_difference,
    )
    if unmatched > max(1.0, MAX_UNMATCHED_SHARE * total):
        raise ExportError(
            f"{format} file: {unmatched} of {total} detections differ between the file's NMS and "
            "yolofast's; expected the same. Export without NMS and report this."
        )
    return relative


def unmatched_detections(rows: NDArray[np.float32], reference: Detections) -> int:
    """Number of detections without a counterpart; `rows` [max_det, 6] xyxy, score, class, zero-padded."""
    rows = rows[rows[:, 4] > 0]
    free = np.ones(len(reference), dtype=bool)
    matched = 0
    for row in rows:
        same = (
            free
            & (reference.classes == int(row[5]))
            & (np.abs(reference.scores - row[4]) < 1e-4)
            & (np.abs(reference.boxes - row[:4]).max(axis=1, initial=0.0) < 1e-2)
        )
        if same.any():
            free[int(same.argmax())] = False
            matched += 1
    return max(len(rows), len(reference)) - matched


def _onnx_runner(path: Path) -> tuple[Run, int]:
    if importlib.util.find_spec("onnxruntime") is None:
        raise missing_extra("onnxruntime", "onnx", "Running an ONNX file")
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        model = onnx.load(str(path))
        with_nms = model.graph.output[0].name == DETECTIONS
        if with_nms:  # also return the raw output, which is the input of the NMS nodes
            raw = model.graph.node[_first_nms_node(model)].input[0]
            model.graph.output.append(onnx.helper.make_tensor_value_info(raw, onnx.TensorProto.FLOAT, None))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # protobuf's and onnxruntime's own classes share no other base
        raise ExportError(f"{path}: onnxruntime cannot load it: {printable(str(error), 300)}") from error
    entry = session.get_inputs()[0]

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        outputs: list[Any] = session.run(None, {entry.name: images})
        return (outputs[1], outputs[0]) if with_nms else (outputs[0], None)

    return run, entry.shape[0] if isinstance(entry.shape[0], int) else BATCH


def _first_nms_node(model: Any) -> int:
    from yolofast.export.onnx_nms import PREFIX

    return next(i for i, node in enumerate(model.graph.node) if node.name.startswith(PREFIX))


def _torchscript_runner(path: Path) -> tuple[Run, int]:
    import torch

    from yolofast.export.exporter_output import quiet_exporter

    try:
        with quiet_exporter():
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"{path}: torch cannot load it: {printable(str(error), 300)}") from error

    def run(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], None]:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy(), None

    return run, BATCH
