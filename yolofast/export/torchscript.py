"""Export to TorchScript, which runs in C++ and in Python without this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolofast.export.exporter_output import quiet_exporter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

METADATA_FILE = "metadata.json"


def write_torchscript(module: nn.Module, path: Path, *, imgsz: int, metadata: Mapping[str, Any]) -> None:
    """Trace `module` in evaluation mode and write it to `path`.

    Input float32 [batch, 3, imgsz, imgsz] in 0..1, output float32 [batch, 4 + classes, anchors].
    `metadata` is the JSON text of the extra file `metadata.json`
    (`torch.jit.load(path, _extra_files={"metadata.json": ""})`).
    """
    import torch

    with quiet_exporter(), torch.no_grad():
        # Noise, not zeros: the tracer compares a second run with the trace; zeros would hide a difference.
        example = torch.rand(2, 3, imgsz, imgsz, generator=torch.Generator().manual_seed(0))
        traced = torch.jit.trace(module, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={METADATA_FILE: json.dumps(metadata)})
