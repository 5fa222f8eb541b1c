"""Export to TorchScript, which runs in C++ and in Python without this package, on any device."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import IO, TYPE_CHECKING, Any

from yolofast.export.exporter_output import quiet_exporter
from yolofast.seal import UNSEALED, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

METADATA_FILE = "metadata.json"
_ARCHIVE = "model"
"""Name of the archive inside the file; torch would take that of the temporary file."""
_ALIGNMENT = 64
"""Bytes to which torch aligns every record, so that tensors can be mapped into memory."""
_LOCAL_HEADER = 30
"""Bytes of a zip entry's header before its name."""


def write_torchscript(module: nn.Module, path: Path, *, imgsz: int, metadata: Mapping[str, Any]) -> None:
    """Trace `module` in evaluation mode and write it to `path`.

    Input float32 [batch, 3, imgsz, imgsz] in 0..1, output float32 [batch, 4 + classes, anchors]. The file
    runs on any device that its weights are moved to (`map_location`), and names no file of this machine.
    `metadata` is the JSON text of the extra file `metadata.json`
    (`torch.jit.load(path, _extra_files={"metadata.json": ""})`). The comment of the archive is a checksum of
    the whole file: see `check_export`.
    """
    import torch

    with quiet_exporter(), torch.no_grad():
        # Noise, not zeros: the tracer compares a second run with the trace; zeros would hide a difference.
        example = torch.rand(2, 3, imgsz, imgsz, generator=torch.Generator().manual_seed(0))
        traced = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        for part in traced.modules():
            if part._c._has_method("forward"):  # a list of modules has none
                _take_devices_from_tensors(part.graph)
        raw, clean = io.BytesIO(), io.BytesIO()
        torch.jit.save(traced, raw, _extra_files={METADATA_FILE: json.dumps(metadata)})
    _write_without_source_lines(raw, clean)
    path.write_bytes(sealed(clean.getvalue()))


def _take_devices_from_tensors(graph: Any) -> None:
    """Replace each device that was traced as a constant by that of a tensor which is there already."""
    tensors = [value for value in graph.inputs() if value.type().kind() == "TensorType"]
    for node in list(graph.nodes()):
        for index, value in enumerate(list(node.inputs())):
            if value.node().kind() == "prim::Constant" and value.type().kind() == "DeviceObjType":
                device = graph.create("prim::device", [tensors[0]])
                device.output().setType(value.type())
                device.insertBefore(node)
                node.replaceInput(index, device.output())
        tensors += [value for value in node.outputs() if value.type().kind() == "TensorType"]


def _write_without_source_lines(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy an archive of torch without its records about source lines, which name this machine's files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        new.comment = UNSEALED.encode()
        position = 0
        for record in old.infolist():
            if record.filename.endswith(".debug_pkl"):
                continue
            entry = zipfile.ZipInfo(f"{_ARCHIVE}/{record.filename.partition('/')[2]}")
            content = old.read(record)
            begin = position + _LOCAL_HEADER + len(entry.filename.encode())
            padding = -(begin + 4) % _ALIGNMENT
            entry.extra = struct.pack("<2sH", b"FB", padding) + bytes(padding)
            new.writestr(entry, content)
            position = begin + len(entry.extra) + len(content)
