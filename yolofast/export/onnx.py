"""Export to ONNX: a torch.export graph, simplified and checked, with metadata."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolofast.errors import ExportError, missing_extra
from yolofast.export.exporter_output import quiet_exporter
from yolofast.export.onnx_nms import append_nms
from yolofast.seal import UNSEALED, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from torch import nn

INPUT = "images"
RAW_OUTPUT = "output0"
OPSETS = (18, 23)
"""The torch exporter writes 18 and above itself; its conversion to 17 gives files that do not load."""


def write_onnx(
    module: nn.Module,
    path: Path,
    *,
    imgsz: int,
    metadata: Mapping[str, Any],
    dynamic: bool,
    simplify: bool,
    opset: int,
    nms: tuple[float, float, int] | None,
) -> None:
    """Write `module` to `path`: `images` float32 [batch, 3, imgsz, imgsz] in 0..1, one output.

    The output is `output0` float32 [batch, 4 + classes, anchors], or with `nms` = (conf, iou,
    max_det) it is `detections` (see `append_nms`). With `dynamic` the batch size is dynamic, else it is
    1. `metadata` goes into the model's metadata_props; values other than strings are written as JSON. Their
    last is the `checksum` of the whole file: see `check_export`.

    Raises `MissingExtraError` without onnx, onnxscript or (to simplify) onnxslim, and `ExportError`
    for an opset out of range or a graph that the ONNX checker rejects.
    """
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ExportError(
            f"opset: got {opset}, expected {OPSETS[0]} to {OPSETS[1]}. Use --opset {OPSETS[0]}, "
            "which most runtimes support."
        )
    for package in ("onnx", "onnxscript", *(("onnxslim",) if simplify else ())):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "onnx", "ONNX export")
    import onnx

    graph = _trace(module, imgsz, dynamic, opset)
    if simplify:
        import onnxslim

        graph = onnxslim.slim(graph)
    _drop_stack_traces(graph)
    if nms is not None:
        channels, anchors = (d.dim_value for d in graph.graph.output[0].type.tensor_type.shape.dim[1:])
        conf, iou, max_det = nms
        append_nms(graph, num_classes=channels - 4, anchors=anchors, conf=conf, iou=iou, max_det=max_det)
    properties = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    properties["checksum"] = UNSEALED
    onnx.helper.set_model_props(graph, properties)
    try:
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the ONNX checker rejects the exported graph: {error}. Try another --opset or no simplification."
        ) from error
    path.write_bytes(sealed(graph.SerializeToString()))


def _trace(module: nn.Module, imgsz: int, dynamic: bool, opset: int) -> onnx.ModelProto:
    import torch

    # Two samples for a dynamic batch: torch.export takes a size of 0 or 1 for a constant.
    example = torch.zeros(2 if dynamic else 1, 3, imgsz, imgsz)
    with quiet_exporter():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[INPUT],
            output_names=[RAW_OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},) if dynamic else None,
            opset_version=opset,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError(
            "the torch exporter returned no ONNX program, expected one: update torch (2.11 or newer)"
        )
    return program.model_proto


def _drop_stack_traces(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes on each node: source lines and paths of the exporting machine."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    for tensor in graph.graph.initializer:
        del tensor.metadata_props[:]
    del graph.graph.metadata_props[:]
    graph.graph.doc_string = ""
