"""From the names of a foreign checkpoint's tensors to our network.

The networks have the same blocks, only names differ. Every tensor of the file is used exactly once, or is the
constant of the box distribution (0, 1, ..., 15), and every tensor of ours is filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from yolofast.errors import CheckpointError
from yolofast.models.blocks import (
    Attention,
    AttentionBlock,
    Bottleneck,
    ConvUnit,
    CSPBlock,
    FastSPP,
    PartialAttention,
    SmallCSP,
)
from yolofast.models.detector import Detector, build_model
from yolofast.models.foreign import ForeignCheckpoint
from yolofast.models.head import BINS
from yolofast.printable import printable
from yolofast.tensor_file import non_finite

_SPLIT = {"split": "cv1", "fuse": "cv2", "chain": "m"}
_PARTS: Mapping[type[nn.Module], Mapping[str, str]] = {
    ConvUnit: {"norm": "bn"},
    Bottleneck: {"first": "cv1", "second": "cv2"},
    CSPBlock: _SPLIT,
    SmallCSP: {"deep": "cv1", "short": "cv2", "fuse": "cv3", "chain": "m"},
    FastSPP: {"squeeze": "cv1", "fuse": "cv2"},
    PartialAttention: _SPLIT,
    AttentionBlock: {"attention": "attn", "mlp": "ffn"},
    Attention: {"project": "qkv", "fuse": "proj", "position": "pe"},
}
"""The parts of our blocks by the names that files have for them; others have the same names."""


def network_of(checkpoint: ForeignCheckpoint) -> Detector:
    """The network of a checkpoint without its weights, on the device `meta`: no tensor is read."""
    names = checkpoint.class_names
    with torch.device("meta"):
        return build_model(
            f"{checkpoint.family}{checkpoint.size}",
            len(names),
            class_names=names,
            spp_activation=checkpoint.spp_activation,
        )


def detector_of(checkpoint: ForeignCheckpoint) -> Detector:
    """The network of a checkpoint with its weights: float32, on the CPU, in eval mode.

    Raises `CheckpointError` for tensors that are missing, left over or of another shape.
    """
    path, model = checkpoint.path, network_of(checkpoint)
    wanted = model.state_dict()
    theirs = foreign_names(model)
    constant = f"{_layers(model)['head']}.dfl.conv.weight"
    for name in checkpoint.tensors.keys() - theirs.values():
        if name != constant:
            raise _misfit(checkpoint, name)
        if not torch.equal(checkpoint.tensors[name].flatten().float(), torch.arange(float(BINS))):
            raise CheckpointError(f"{path}: {name} is not 0, 1, ..., 15. Use a file that was not changed.")
    found: dict[str, Tensor] = {}
    for own, name in theirs.items():
        if name not in checkpoint.tensors:
            raise CheckpointError(f"{path}: it has no tensor {name}. Use a file that was not changed.")
        tensor = checkpoint.tensors[name]
        if wanted[own].shape != tensor.shape:
            raise _misfit(checkpoint, name)
        if tensor.is_floating_point() != wanted[own].is_floating_point():
            raise _misfit(checkpoint, name)
        found[own] = tensor.to(wanted[own].dtype)
        if non_finite({name: found[own]}) is not None:
            raise CheckpointError(f"{path}: {printable(name, 100)} is beyond float32. Use another file.")
    model.load_state_dict(found, assign=True)
    return model.eval()


def foreign_names(model: Detector) -> dict[str, str]:
    """The names of a network's tensors in foreign files, by ours."""
    return dict(_names(model, "", "", _layers(model)))


def _layers(model: Detector) -> dict[str, str]:
    """The names of the layers in foreign files, by ours. Files number them in the order of their computation;
    joining and enlarging maps counts, too."""
    rows = ["backbone.stem"]
    for stage in ("stage4", "stage8", "stage16", "stage32"):
        rows += [f"backbone.{stage}.0", f"backbone.{stage}.1"]
    rows += ["backbone.spp", *(["backbone.attention"] if model.spec.family.attention else [])]
    rows += [
        "enlarge",
        "join",
        "neck.top16",
        "enlarge",
        "join",
        "neck.top8",
        "neck.down16",
        "join",
        "neck.out16",
    ]
    rows += ["neck.down32", "join", "neck.out32", "head"]
    names = {row: f"model.{number}" for number, row in enumerate(rows)}
    for head, prefix in (("head", ""), ("single_head", "one2one_")):
        names[f"{head}.box_branches"] = f"{names['head']}.{prefix}cv2"
        names[f"{head}.class_branches"] = f"{names['head']}.{prefix}cv3"
    return names


def _names(module: nn.Module, own: str, theirs: str, layers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(our name, their name) of the tensors of a module that is called `own` and `theirs`."""
    for name in module.state_dict():
        if "." not in name:
            yield f"{own}.{name}", f"{theirs}.{name}"
    parts = _PARTS.get(type(module), {})
    for name, child in module.named_children():
        path = f"{own}.{name}" if own else name
        yield from _names(child, path, layers.get(path, f"{theirs}.{parts.get(name, name)}"), layers)


def _misfit(checkpoint: ForeignCheckpoint, name: str) -> CheckpointError:
    what = f"{checkpoint.family}{checkpoint.size} with {len(checkpoint.class_names)} classes"
    return CheckpointError(
        f"{checkpoint.path}: tensor {printable(name, 100)} does not fit a {what}. "
        "Use a file that was not changed."
    )
