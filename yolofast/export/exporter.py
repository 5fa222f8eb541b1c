"""export_model and export_all_formats: a detector to a file that runs without this package.

A file appears under its name only when it is complete and, if images were given, its output has
been compared with the torch model's.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yolofast import __version__
from yolofast.config import EXPORT_FORMATS, MODEL_STRIDE
from yolofast.errors import ExportError, MissingExtraError, YolofastError, nearest
from yolofast.export.onnx import write_onnx
from yolofast.export.torchscript import write_torchscript
from yolofast.export.verify import verify_export
from yolofast.files import atomic_file
from yolofast.types import ExportResult

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript"}
PLANNED_FORMATS = ("openvino", "coreml", "tensorrt")
TOLERANCE = 1e-3
"""Maximum relative difference from torch for a float32 file."""
HALF_TOLERANCE = 1e-1
"""The same for float16 weights: wide, because the largest difference comes from anchors on the background,
whose boxes training leaves undetermined."""


class ExportableModel(Protocol):
    """The part of a detector that export uses: a torch module with class names."""

    @property
    def class_names(self) -> Sequence[str]: ...

    def __call__(self, images: Tensor, /) -> Tensor: ...


def export_model(
    model: ExportableModel,
    path: str | Path,
    *,
    format: str = "onnx",
    imgsz: int = 640,
    images: NDArray[np.uint8] | None = None,
    include_nms: bool = False,
    dynamic: bool = True,
    half_precision: bool = False,
    simplify: bool = True,
    opset: int = 18,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
) -> ExportResult:
    """Write `model` to `path` and compare the file with the model on real images.

    model           torch module, float [B, 3, imgsz, imgsz] in 0..1 -> raw [B, 4 + classes, A], with
                    `class_names`; not changed. Pass a copy with folded norms for the fastest file.
    format          'onnx' or 'torchscript'.
    images          uint8 [N, 3, imgsz, imgsz] RGB, letterboxed, for the comparison; None = no comparison.
    include_nms     ONNX: include NMS at `conf` and `iou`; the output is then `detections` [B, max_det, 6]
                    xyxy (network pixels), score, class instead of the raw `output0`.
    dynamic         ONNX: dynamic batch size, else 1. TorchScript always takes any batch size.
    half_precision  float16 weights and convolutions; input and output stay float32, and so does the
                    decoding of boxes if the model does it in float32.
    simplify, opset ONNX: simplify the graph; opset version 18..23.

    Raises `ExportError` for an invalid format, setting, image or output path, and when the file differs
    from torch by more than 1e-3 (float16: 0.1) relative; `MissingExtraError` when a package is missing.
    An earlier file at `path` then stays as it was. Without onnxruntime an ONNX file is written, with a
    warning that it was not compared.
    """
    path = Path(path)
    _check_format(format)
    if include_nms and format != "onnx":
        raise ExportError(
            f"include_nms: got format '{format}', expected 'onnx', the only one that can include NMS. "
            "Export without it and use yolofast.kernels.postprocess on the output."
        )
    _check_numbers(imgsz, images, conf, iou, max_det)
    if getattr(model, "end_to_end", False):
        iou = 1.0  # nothing is suppressed: the model is trained to give each object one box
    started = time.perf_counter()
    module = _inference_copy(model)
    exported = _half_weights(module) if half_precision else module
    metadata: dict[str, Any] = {
        "names": list(model.class_names),
        "task": "detect",
        "stride": MODEL_STRIDE,
        "imgsz": [imgsz, imgsz],
        "precision": "float16" if half_precision else "float32",
        "producer": f"yolofast {__version__}",
    }
    if include_nms:
        metadata |= {"nms": {"conf": conf, "iou": iou, "max_det": max_det}}

    difference = None
    with atomic_file(path, ExportError) as temporary:
        if format == "onnx":
            write_onnx(
                exported,
                temporary,
                imgsz=imgsz,
                metadata=metadata,
                dynamic=dynamic,
                simplify=simplify,
                opset=opset,
                nms=(conf, iou, max_det) if include_nms else None,
            )
        else:
            write_torchscript(exported, temporary, imgsz=imgsz, metadata=metadata)
        if images is not None and len(images):
            try:
                difference = verify_export(
                    temporary, module, images, format=format, conf=conf, iou=iou, max_det=max_det
                )
            except MissingExtraError as error:
                log.warning("%s was written but not compared with torch: %s", path, error)
        limit = HALF_TOLERANCE if half_precision else TOLERANCE
        if difference is not None and difference > limit:
            raise ExportError(
                f"{path}: the file differs from torch by {difference:.2e} relative, expected at most "
                f"{limit:.0e}; it was discarded. Try another --opset, no simplification or float32 weights."
            )
    compared = 0 if difference is None or images is None else len(images)
    return ExportResult(
        format, path, path.stat().st_size, difference, compared, time.perf_counter() - started
    )


def export_all_formats(
    model: ExportableModel,
    directory: str | Path,
    formats: Sequence[str] = EXPORT_FORMATS,
    *,
    name: str = "model",
    images: NDArray[np.uint8] | None = None,
    imgsz: int = 640,
    include_nms: bool = False,
    half_precision: bool = False,
    int8_quantization: bool = False,
    simplify: bool = True,
    dynamic: bool = True,
    opset: int = 18,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
) -> dict[str, ExportResult | ExportError]:
    """Write `directory/name.<suffix>` for each format; settings as in `export_model`.

        results = export_all_formats(fused_copy(load_weights("best.safetensors")), "export", images=images)
        failed = {name: error for name, error in results.items() if isinstance(error, ExportError)}

    A format that fails is logged, and its value is the `ExportError` that says why; the others are still
    exported. `int8_quantization` is not supported yet by any format, so every format fails with it.
    """
    results: dict[str, ExportResult | ExportError] = {}
    for format in formats:
        try:
            _check_format(format)
            if int8_quantization:
                raise ExportError(
                    f"int8_quantization: not supported yet for '{format}', expected float32 or float16. "
                    "Use half_precision for a smaller file."
                )
            results[format] = export_model(
                model,
                Path(directory) / f"{name}{SUFFIXES[format]}",
                format=format,
                imgsz=imgsz,
                images=images,
                include_nms=include_nms,
                dynamic=dynamic,
                half_precision=half_precision,
                simplify=simplify,
                opset=opset,
                conf=conf,
                iou=iou,
                max_det=max_det,
            )
        except ExportError as error:
            results[format] = error
        except YolofastError as error:
            results[format] = ExportError(str(error))
        except Exception as error:  # a failing exporter must not prevent the other files
            log.debug("%s export failed", format, exc_info=True)
            results[format] = ExportError(f"{format}: the exporter failed: {type(error).__name__}: {error}")
        result = results[format]
        if isinstance(result, ExportError):
            log.error("export to %s failed: %s", format, result)
    return results


def _check_format(format: str) -> None:
    if format in SUFFIXES:
        return
    known = ", ".join(SUFFIXES)
    if format in PLANNED_FORMATS:
        raise ExportError(
            f"format: '{format}' is not supported yet, expected one of {known}. "
            "Export to onnx: the format's own tools convert from that."
        )
    raise ExportError(f"format: got '{format}', expected one of {known}.{nearest(format, SUFFIXES)}")


def _check_numbers(
    imgsz: int, images: NDArray[np.uint8] | None, conf: float, iou: float, max_det: int
) -> None:
    if imgsz < MODEL_STRIDE or imgsz % MODEL_STRIDE:
        raise ExportError(
            f"imgsz: got {imgsz}, expected a multiple of {MODEL_STRIDE}. Use the training image size."
        )
    if not 0 <= conf < 1 or not 0 <= iou <= 1 or max_det < 1:
        raise ExportError(
            f"got conf {conf}, iou {iou}, max_det {max_det}; expected conf in [0, 1), iou in [0, 1] and "
            "max_det of at least 1."
        )
    wanted = (3, imgsz, imgsz)
    if images is not None and (images.dtype != np.uint8 or images.shape[1:] != wanted):
        raise ExportError(
            f"images: got {images.dtype} {images.shape}, expected uint8 (N, 3, {imgsz}, {imgsz}). Letterbox "
            "them to imgsz, channels first."
        )


def _inference_copy(model: ExportableModel) -> nn.Module:
    """A float32 copy on the CPU in evaluation mode; the caller's model is not changed."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise ExportError(f"model: got {type(model).__name__}, expected a torch.nn.Module")
    copied: torch.nn.Module = copy.deepcopy(model).cpu().float().eval()
    return copied.requires_grad_(False)


def _half_weights(module: nn.Module) -> nn.Module:
    """A copy of `module` in float16 with float32 input and output."""
    import torch

    class HalfWeights(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model: Callable[[Tensor], Tensor] = copy.deepcopy(module).half()

        def forward(self, images: Tensor) -> Tensor:
            return self.model(images.half()).float()

    return HalfWeights().eval()
