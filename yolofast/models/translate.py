"""From the names of a foreign checkpoint's tensors to our network.

YOLOv8 has the blocks of our own n..x: only names differ. Every tensor of the file is used exactly once, or is
the constant of the box distribution (0, 1, ..., 15), and every tensor of ours is filled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yolofast.errors import CheckpointError
from yolofast.models.detector import Detector, build_model
from yolofast.models.foreign import ForeignCheckpoint
from yolofast.printable import printable

_LAYERS = {
    "0": "backbone.stem",
    "1": "backbone.stage4.0",
    "2": "backbone.stage4.1",
    "3": "backbone.stage8.0",
    "4": "backbone.stage8.1",
    "5": "backbone.stage16.0",
    "6": "backbone.stage16.1",
    "7": "backbone.stage32.0",
    "8": "backbone.stage32.1",
    "9": "backbone.spp",
    "12": "neck.top16",
    "15": "neck.top8",
    "16": "neck.down16",
    "18": "neck.out16",
    "19": "neck.down32",
    "21": "neck.out32",
    "22": "head",
}
_C2F = {"cv1": "split", "cv2": "fuse", "m": "chain"}
_SPP = {"cv1": "squeeze", "cv2": "fuse"}
_CHAIN = {"cv1": "first", "cv2": "second"}
_HEAD = {"cv2": "box_branches", "cv3": "class_branches"}
_DFL = "model.22.dfl.conv.weight"


def detector_of(checkpoint: ForeignCheckpoint) -> Detector:
    """The network of a checkpoint with its weights: float32, on the CPU, in eval mode.

    Raises `CheckpointError` for a family that cannot be built, and for tensors that are missing, left over or
    of another shape.
    """
    path = checkpoint.path
    if checkpoint.family != "yolov8" or not checkpoint.spp_activation:
        without = "" if checkpoint.spp_activation else " without an activation in its SPPF"
        raise CheckpointError(
            f"{path}: it is a {checkpoint.family}{checkpoint.size}{without}, which this version cannot "
            "build. Use a YOLOv8."
        )
    with torch.device("meta"):
        names = checkpoint.class_names
        model = build_model(checkpoint.size, len(names), class_names=names)
    wanted = model.state_dict()
    found: dict[str, Tensor] = {}
    for name in checkpoint.tensors:
        tensor = checkpoint.tensors[name]
        if name == _DFL:
            if not torch.equal(tensor.flatten().float(), torch.arange(16.0)):
                raise CheckpointError(
                    f"{path}: {name} is not 0, 1, ..., 15. Use a file that was not changed."
                )
            continue
        own = _own_name(name)
        if own not in wanted or wanted[own].shape != tensor.shape or own in found:
            raise CheckpointError(
                f"{path}: tensor {printable(name, 100)} of shape {tuple(tensor.shape)} does not fit a "
                f"{checkpoint.family}{checkpoint.size} with {len(names)} classes. Use an unchanged file."
            )
        found[own] = tensor.float() if tensor.is_floating_point() else tensor
    missing = next((own for own in wanted if own not in found), None)
    if missing is not None:
        raise CheckpointError(f"{path}: it has no tensor for {missing}. Use a file that was not changed.")
    model.load_state_dict(found, assign=True)
    return model.eval()


def _own_name(name: str) -> str:
    """`model.2.m.0.cv1.bn.weight` -> `backbone.stage4.1.chain.0.first.norm.weight`; '' for unknown names."""
    parts = name.split(".")
    layer = _LAYERS.get(parts[1] if parts[0] == "model" and len(parts) > 3 else "")
    if layer is None:
        return ""
    rest = ["norm" if part == "bn" else part for part in parts[2:]]
    if parts[1] == "22":
        rest[0] = _HEAD.get(rest[0], "")
    elif parts[1] == "9":
        rest[0] = _SPP.get(rest[0], "")
    elif rest[0] in _C2F:
        rest[0] = _C2F[rest[0]]
        if rest[0] == "chain":
            rest[2] = _CHAIN.get(rest[2], "")
    return ".".join([layer, *rest])
