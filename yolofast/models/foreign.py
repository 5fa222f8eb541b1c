"""Checkpoints of Ultralytics (.pt): what is in them, read without executing anything.

A checkpoint is a pickle of a dictionary: `model` is the network as an object, or None while training; `ema`
is its averaged copy, which is what people use; the rest is about the training. `yolofast.torch_file` reads
the pickle into inert values, and this module finds in them what a detector is made of. Which network it is
comes from its modules and the shapes of its tensors (`foreign_structure`), not from the name of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from yolofast.errors import CheckpointError
from yolofast.limits import (
    MAX_CLASSES,
    MAX_MODULE_DEPTH,
    MAX_MODULES,
    MAX_NAME,
    MAX_NETWORK_TENSORS,
    MAX_TENSOR_NAME,
)
from yolofast.models.foreign_structure import Family, NotImportableError, Size, described
from yolofast.printable import printable
from yolofast.tensor_file import non_finite
from yolofast.torch_file import Record, StoredTensor, TorchFile

_MAX_TRAINING_SETTINGS = 1000
_MAX_LIST = 100
_LARGEST_NUMBER = 1 << 53


@dataclass(frozen=True, slots=True)
class ForeignCheckpoint:
    """A detector of another program. The tensors are read from the file when they are asked for."""

    path: Path
    family: Family
    size: Size
    class_names: tuple[str, ...]
    imgsz: int | None
    """Side of the square images of training, in pixels; None where the file does not say."""
    stride: tuple[int, ...]
    """Of the levels of its predictions, in pixels."""
    precision: str
    """Of its weights: float16, float32 or bfloat16."""
    part: Literal["ema", "model"]
    """Which of the networks in the file it is: the averaged one or the plain one."""
    tensors: Mapping[str, Tensor]
    """By torch's names (model.0.conv.weight). Raises `CheckpointError` for damaged or infinite numbers."""
    spp_activation: bool
    """Whether the first convolution of the SPPF layer has an activation; versions differ."""
    version: str | None
    """Of the program that wrote the file."""
    training: Mapping[str, object]
    """Settings of the training: texts, numbers, booleans, None and lists of them."""


class _Tensors(Mapping[str, Tensor]):
    """The tensors of a network, read one at a time."""

    def __init__(self, file: TorchFile, stored: Mapping[str, StoredTensor]) -> None:
        self._file, self._stored = file, stored

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._file.read(self._stored[name])
        if non_finite({name: tensor}) is not None:
            raise CheckpointError(
                f"{self._file.path}: its weights are infinite or NaN (the first: {printable(name, 100)}): "
                "the training had diverged. Use weights of an earlier epoch."
            )
        return tensor

    def __contains__(self, name: object) -> bool:  # that of Mapping would read the tensor
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def read_checkpoint(path: str | Path) -> ForeignCheckpoint:
    """What is in a .pt of YOLOv8, YOLO11 or YOLO26 for detection; its tensors are not read yet.

    Full training files, stripped files (half precision), files of a network alone and plain state dicts are
    read. Raises `CheckpointError` for a file that cannot be read, is damaged or asks for something dangerous,
    and for networks that are not imported: of other tasks (segment, pose, obb, classify), of other families,
    or changed.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "file not found"
        raise CheckpointError(f"{path}: {problem}, expected a .pt checkpoint. Check the path.")
    file = TorchFile(path)
    try:
        return _read(path, file)
    except NotImportableError as error:
        raise CheckpointError(
            f"{path}: not imported: {error}. Expected a detector of YOLOv8, YOLO11 or YOLO26 (n, s, m, l, x)."
        ) from None


def _read(path: Path, file: TorchFile) -> ForeignCheckpoint:
    whole, part, network = _network(file.root)
    if isinstance(network, Record):
        modules = dict(_modules(network))
        stored = _named_tensors(modules)
        attributes = network.attributes
    else:
        modules, attributes = {}, {}
        stored = {name: value for name, value in network.items() if isinstance(value, StoredTensor)}
    if sum(tensor.nbytes for tensor in stored.values()) > path.stat().st_size:
        raise NotImportableError("it uses the same numbers for several tensors")
    found = described(modules, stored, file)
    training = _plain_settings(whole.get("train_args", attributes.get("args")))
    imgsz = training.get("imgsz")
    version = whole.get("version")
    return ForeignCheckpoint(
        path=path,
        family=found.family,
        size=found.size,
        class_names=_class_names(attributes.get("names", whole.get("names")), found.num_classes),
        imgsz=imgsz if type(imgsz) is int and 0 < imgsz <= 1 << 16 else None,
        stride=found.stride,
        precision=found.precision,
        part=part,
        tensors=_Tensors(file, stored),
        spp_activation=found.spp_activation,
        version=version[:100] if isinstance(version, str) else None,
        training=training,
    )


def _network(root: Any) -> tuple[Mapping[Any, Any], Literal["ema", "model"], Record | dict[str, Any]]:
    """The dictionary that was saved, and the best network in it: averaged before plain."""
    if isinstance(root, Record):
        return {}, "model", root
    if not isinstance(root, dict):
        raise NotImportableError(f"it holds {type(root).__name__}, not a checkpoint")
    parts: tuple[Literal["ema", "model"], ...] = ("ema", "model")
    for part in parts:
        network = root.get(part)
        if isinstance(network, Record) or (isinstance(network, dict) and _is_state_dict(network)):
            return root, part, network
    if _is_state_dict(root):
        return {}, "model", root
    raise NotImportableError("it has no network: neither 'ema' nor 'model'")


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    return all(isinstance(name, str) for name in value) and any(
        isinstance(tensor, StoredTensor) for tensor in value.values()
    )


def _modules(network: Record) -> Iterator[tuple[str, Record]]:
    """The modules of a network by their dotted names, parents first; the network itself is ''."""
    waiting = [("", network, 0)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return
        name, module, depth = waiting.pop()
        yield name, module
        children = module.attributes.get("_modules")
        if not isinstance(children, dict):
            continue
        if depth >= MAX_MODULE_DEPTH:
            raise NotImportableError(f"its modules are nested more than {MAX_MODULE_DEPTH} times")
        for key, child in reversed(children.items()):
            if isinstance(child, Record) and isinstance(key, str):
                waiting.append((_dotted(name, key), child, depth + 1))
    raise NotImportableError(f"it has more than {MAX_MODULES} modules")


def _named_tensors(modules: Mapping[str, Record]) -> dict[str, StoredTensor]:
    """Parameters and buffers, as `torch.nn.Module.state_dict` names them."""
    found: dict[str, StoredTensor] = {}
    for name, module in modules.items():
        passing = module.attributes.get("_non_persistent_buffers_set", ())
        for kind in ("_parameters", "_buffers"):
            tensors = module.attributes.get(kind)
            for key, tensor in tensors.items() if isinstance(tensors, dict) else ():
                kept = kind == "_parameters" or not isinstance(passing, set) or key not in passing
                if isinstance(key, str) and isinstance(tensor, StoredTensor) and kept:
                    found[_dotted(name, key)] = tensor
            if len(found) > MAX_NETWORK_TENSORS:
                raise NotImportableError(f"it has more than {MAX_NETWORK_TENSORS} tensors")
    return found


def _dotted(name: str, key: str) -> str:
    if len(name) + len(key) >= MAX_TENSOR_NAME:
        raise NotImportableError(f"the name of a module has over {MAX_TENSOR_NAME} characters")
    return f"{name}.{key}" if name else key


def _class_names(names: Any, count: int) -> tuple[str, ...]:
    """The names by class number; numbers as text where the file has no names."""
    if count > MAX_CLASSES:
        raise NotImportableError(f"it has {count} classes, the limit is {MAX_CLASSES}")
    if names is None:
        return tuple(map(str, range(count)))
    found = [names.get(row) for row in range(count)] if isinstance(names, dict) else names
    if not isinstance(found, list | tuple) or len(names) != count:
        raise NotImportableError(f"its names are not those of its {count} classes")
    if not all(isinstance(name, str) and len(name) <= MAX_NAME for name in found):
        raise NotImportableError(f"a class name is missing, is not text, or has over {MAX_NAME} characters")
    if len(set(found)) != count:
        raise NotImportableError("two of its classes have the same name")
    return tuple(found)


def _plain_settings(settings: Any) -> dict[str, object]:
    """The settings of a training that are plain values; others are left out."""
    if isinstance(settings, Record):
        settings = settings.attributes
    if not isinstance(settings, dict) or len(settings) > _MAX_TRAINING_SETTINGS:
        return {}
    return {
        name: list(value) if isinstance(value, list | tuple) else value
        for name, value in settings.items()
        if isinstance(name, str) and re.fullmatch(r"\w{1,100}", name) and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _MAX_LIST and all(_is_plain_scalar(item) for item in value)
    return _is_plain_scalar(value)


def _is_plain_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 1000
    return (
        value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < _LARGEST_NUMBER)
    )
