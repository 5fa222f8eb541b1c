"""Which network a foreign checkpoint holds: family, size, classes, found from its modules and shapes.

Two networks can have the same tensors and compute different numbers: another activation, another wiring, a
shortcut more. So what no shape shows is compared too, where the file has the modules: their classes, the
activations, the eps of the batch norms, shortcuts, strides and inputs of the layers. Whatever differs from
the family is named, and the network is not imported. A plain state dict has only tensors; what they do not
show is then what the family has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from yolofast.models.spec import STRIDES
from yolofast.printable import printable
from yolofast.torch_file import Record, StoredTensor, TorchFile

Family = Literal["yolov8", "yolo11", "yolo26"]
Size = Literal["n", "s", "m", "l", "x"]

_EPS = 1e-3


class NotImportableError(Exception):
    """A network that is not one of the families, and why."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What the modules and shapes say."""

    family: Family
    size: Size
    num_classes: int
    stride: tuple[int, ...]
    precision: str
    spp_activation: bool


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layers of a family in order, and where layers take their input other than from the one before."""

    layers: str
    inputs: Mapping[int, tuple[int, ...]]
    sizes: Mapping[tuple[int, int, int], Size]
    """(channels of the first layer, channels of the SPPF layer, blocks in layer 4) -> size."""

    @property
    def names(self) -> list[str]:
        return self.layers.split()

    @property
    def head(self) -> int:
        return len(self.names) - 1


_V8 = _Layout(
    "Conv Conv C2f Conv C2f Conv C2f Conv C2f SPPF Upsample Concat C2f Upsample Concat C2f "
    "Conv Concat C2f Conv Concat C2f Detect",
    {11: (-1, 6), 14: (-1, 4), 17: (-1, 12), 20: (-1, 9), 22: (15, 18, 21)},
    {(16, 256, 2): "n", (32, 512, 2): "s", (48, 576, 4): "m", (64, 512, 6): "l", (80, 640, 6): "x"},
)
_V11 = _Layout(
    "Conv Conv C3k2 Conv C3k2 Conv C3k2 Conv C3k2 SPPF C2PSA Upsample Concat C3k2 Upsample Concat C3k2 "
    "Conv Concat C3k2 Conv Concat C3k2 Detect",
    {12: (-1, 6), 15: (-1, 4), 18: (-1, 13), 21: (-1, 10), 23: (16, 19, 22)},
    {(16, 256, 1): "n", (32, 512, 1): "s", (64, 512, 1): "m", (64, 512, 2): "l", (96, 768, 2): "x"},
)
_LAYOUTS: dict[Family, _Layout] = {"yolov8": _V8, "yolo11": _V11, "yolo26": _V11}

_OTHER_HEADS = {
    "Segment": "a segmentation model",
    "Pose": "a pose model",
    "OBB": "a model of oriented boxes (obb)",
    "Classify": "a classification model",
    "RTDETRDecoder": "an RT-DETR",
    "v10Detect": "a YOLOv10",
    "WorldDetect": "a YOLO-World",
    "YOLOE": "a YOLOE",
}
"""What a network is whose last layer has a class that begins so."""
_OTHER_LAYERS = {
    "A2C2f": "a YOLO12",
    "RepNCSPELAN4": "a YOLOv9",
    "ELAN1": "a YOLOv9",
    "SCDown": "a YOLOv10",
    "C3": "a YOLOv5",
}
"""What a network is that has a layer of this class."""
_MODULES = frozenset(
    re.findall(
        r"\w+",
        "Sequential ModuleList Conv2d BatchNorm2d SiLU Identity MaxPool2d Upsample Conv DWConv C2f C3k2 C3k "
        "Bottleneck SPPF Concat Detect DFL C2PSA PSABlock Attention",
    )
)
"""The classes of the modules of all families."""
_WITHOUT_ACTIVATION = re.compile(r"model\.(10|22)\.m\.\d+\.(1\.)?(attn\.(qkv|proj|pe)|ffn\.1)$")
"""Convolutions of attention blocks that have no activation."""


def described(
    modules: Mapping[str, Record], tensors: Mapping[str, StoredTensor], file: TorchFile
) -> Structure:
    """What a network is.

    modules   by dotted name, the network itself is ''; empty for a plain state dict
    tensors   by torch's names

    Raises `NotImportableError` for what is not one of the families.
    """
    if modules:
        _check_layers(modules)
    family = _family(tensors)
    layout = _LAYOUTS[family]
    head = f"model.{layout.head}"
    _check_shapes(tensors, family, head)
    spp_activation = family != "yolo26"
    stride: tuple[int, ...] = STRIDES
    if modules:
        _check_modules(modules, family)
        spp_activation = _activation(modules, "model.9.cv1") == "SiLU"
        stride = _stride(modules, head, file)
    precisions = {tensor.dtype for tensor in tensors.values() if tensor.dtype.is_floating_point}
    if len(precisions) != 1:
        raise NotImportableError(f"its tensors have {len(precisions)} precisions")
    (precision,) = precisions
    first = _shape(tensors, "model.0.conv.weight")
    spp = _shape(tensors, "model.9.cv2.conv.weight")
    blocks = len({name.split(".")[3] for name in tensors if name.startswith("model.4.m.")})
    size = layout.sizes.get((first[0], spp[0], blocks))
    if size is None:
        raise NotImportableError(
            f"a {family} of a size of its own ({first[0]} channels in its first layer, {spp[0]} in its SPPF, "
            f"{blocks} blocks in layer 4)"
        )
    num_classes = _shape(tensors, f"{head}.cv3.0.2.weight")[0]
    if not num_classes:
        raise NotImportableError("it has no classes")
    return Structure(family, size, num_classes, stride, str(precision).removeprefix("torch."), spp_activation)


# ------------------------------------------------------------ shapes


def _family(tensors: Mapping[str, StoredTensor]) -> Family:
    if "model.22.cv2.0.0.conv.weight" in tensors:
        return "yolov8"
    if "model.23.one2one_cv2.0.0.conv.weight" in tensors:
        return "yolo26"
    if "model.23.cv2.0.0.conv.weight" in tensors:
        return "yolo11"
    raise NotImportableError("its last layer is not a detection head at layer 22 or 23")


def _shape(tensors: Mapping[str, StoredTensor], name: str) -> tuple[int, ...]:
    tensor = tensors.get(name)
    if tensor is None or len(tensor.shape) != 4:
        raise NotImportableError(f"it has no weights of a convolution {name}")
    return tensor.shape


def _check_shapes(tensors: Mapping[str, StoredTensor], family: Family, head: str) -> None:
    first = _shape(tensors, "model.0.conv.weight")
    if first[1] != 3:
        raise NotImportableError(f"its images have {first[1]} channels, expected 3")
    if "model.0.bn.weight" not in tensors:
        raise NotImportableError("its batch norms are fused into the convolutions; use the file before that")
    other = next((name for name in tensors if re.match(rf"{re.escape(head)}\.cv[4-9]", name)), None)
    if other is not None:
        raise NotImportableError(f"its head has more than boxes and classes ({printable(other, 100)})")
    levels = {name.split(".")[3] for name in tensors if name.startswith(f"{head}.cv2.")}
    if levels != {"0", "1", "2"}:
        raise NotImportableError(f"its head has {len(levels)} levels, expected 3 of strides {STRIDES}")
    bins = _shape(tensors, f"{head}.cv2.0.2.weight")[0]
    wanted = 4 if family == "yolo26" else 64
    if bins != wanted:
        raise NotImportableError(f"its head has {bins} values for a box, expected {wanted} in {family}")


# ------------------------------------------------------------ modules


def _check_layers(modules: Mapping[str, Record]) -> None:
    """Compare the classes of the layers; other networks are named before their tensors are looked at."""
    layers = list(_children(modules, "model"))
    names = [_kind(module) for module in layers]
    if not names:
        raise NotImportableError(f"its network is {_quoted(modules[''])}, without a row of layers")
    root = modules[""].kind.module
    if root.startswith("models."):
        raise NotImportableError("a YOLOv5 or another network of a repository of its own")
    for begin, what in _OTHER_HEADS.items():
        if names[-1].startswith(begin):
            raise NotImportableError(what)
    for name, what in _OTHER_LAYERS.items():
        if name in names:
            raise NotImportableError(what)
    for name, module in modules.items():
        known = module.kind.module.startswith(("torch.nn.modules.", "ultralytics.nn."))
        if name and (not known or module.kind.name not in _MODULES):
            raise NotImportableError(f"it has a custom module {_quoted(module)} at {printable(name, 100)}")
    if names not in (_V8.names, _V11.names):
        raise NotImportableError(f"its {len(names)} layers are not in the order of a family")


def _children(modules: Mapping[str, Record], name: str) -> Iterator[Record]:
    children = modules[name].attributes.get("_modules") if name in modules else None
    if isinstance(children, dict):
        yield from (child for child in children.values() if isinstance(child, Record))


def _kind(module: Record) -> str:
    return module.kind.name.rpartition(".")[2]


def _quoted(module: Record) -> str:
    return printable(str(module.kind), 100)


def _check_modules(modules: Mapping[str, Record], family: Family) -> None:
    """Compare what shapes do not show."""
    layout = _LAYOUTS[family]
    for number, name in enumerate(layout.names):
        layer = modules.get(f"model.{number}")
        if layer is None or _kind(layer) != name:
            raise NotImportableError(f"its layer {number} is not {name}, as in {family}")
        wanted = layout.inputs.get(number, (-1,))
        source = layer.attributes.get("f", -1)
        if (tuple(source) if isinstance(source, list | tuple) else (source,)) != wanted:
            raise NotImportableError(f"its layer {number} does not take its input from {list(wanted)}")
    for name, module in modules.items():
        wanted_values = _expected(name, module, family)
        for key, expected in wanted_values.items():
            value = module.attributes.get(key, expected)
            if isinstance(value, StoredTensor | Record) or value != expected:
                raise NotImportableError(f"{printable(name, 100)} has another {key} than in {family}")
        if "act" in _names_of_children(module):
            kind = _activation(modules, name)
            free = name == "model.9.cv1"  # versions differ, so it is passed on
            plain = "Identity" if _WITHOUT_ACTIVATION.match(name) else "SiLU"
            if kind not in (("SiLU", "Identity") if free else (plain,)):
                raise NotImportableError(f"{printable(name, 100)} has the activation {printable(kind, 100)}")


def _names_of_children(module: Record) -> Mapping[Any, Any]:
    children = module.attributes.get("_modules")
    return children if isinstance(children, dict) else {}


def _activation(modules: Mapping[str, Record], name: str) -> str:
    module = modules.get(f"{name}.act")
    return "none" if module is None else _kind(module)


def _expected(name: str, module: Record, family: Family) -> dict[str, Any]:
    """Attributes of a module that decide what it computes, and their values in the family."""
    kind = _kind(module)
    if kind == "BatchNorm2d":
        return {"eps": _EPS}
    if kind == "SPPF":
        return {"n": 3, "add": family == "yolo26"}
    if kind == "MaxPool2d":
        return {"kernel_size": 5, "stride": 1, "padding": 2, "dilation": 1}
    if kind == "Upsample":
        return {"scale_factor": 2.0, "mode": "nearest"}
    if kind == "Concat":
        return {"d": 1}
    if kind == "PSABlock":
        return {"add": True}
    if kind == "Attention":
        return {"head_dim": 64, "key_dim": 32}
    if kind == "Conv2d":
        down = {
            f"model.{layer}.conv"
            for layer in ((0, 1, 3, 5, 7) + ((16, 19) if family == "yolov8" else (17, 20)))
        }
        return {
            "stride": (2, 2) if name in down else (1, 1),
            "dilation": (1, 1),
            "padding_mode": "zeros",
        }
    if kind == "Bottleneck":
        layer = name.split(".")[1]
        return {"add": family != "yolov8" or int(layer) < 10}
    return {}


def _stride(modules: Mapping[str, Record], head: str, file: TorchFile) -> tuple[int, ...]:
    """Of the network's levels, from its attribute. Raises when they are not those of the families."""
    for module in (modules[""], modules[head]):
        stored = module.attributes.get("stride")
        if isinstance(stored, StoredTensor) and stored.shape == (len(STRIDES),):
            strides = tuple(file.read(stored).tolist())
            if strides != STRIDES:
                raise NotImportableError(f"its strides are {strides}, expected {STRIDES}")
            return STRIDES
    raise NotImportableError(f"its strides are missing, expected {STRIDES}")
