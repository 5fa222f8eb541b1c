"""Weights files: safetensors with a header that describes their model.

No pickle: a file is numbers and text, and nothing in it is executed. Files are written atomically, with
checksums that are verified when they are read; weights that are equal make files that are equal. The
trainer's checkpoints can be read too: their tensors are named `ema/NAME` (averaged weights), `model/NAME`
and others; averaged weights are preferred, and tensors of other groups are ignored.

A checkpoint of Ultralytics' programs (.pt) is read in their place, whatever its name is (`foreign`).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from yolofast.errors import CheckpointError, ConfigError
from yolofast.files import atomic_file
from yolofast.models.detector import FORMAT, FORMAT_VERSION, Detector, build_model
from yolofast.models.foreign import ForeignCheckpoint, read_checkpoint
from yolofast.models.spec import MODEL_SPECS, STRIDES
from yolofast.models.translate import detector_of, network_of
from yolofast.printable import printable
from yolofast.tensor_file import (
    RESERVED,
    StoredTensor,
    TensorFile,
    non_finite,
    open_tensors,
    parsed_json,
    write_tensors,
)
from yolofast.torch_file import is_torch_file

PREFIXES = ("ema/", "model/")
"""Prefixes of a model's tensors in a checkpoint, best first."""

CLASS_SCORES = tuple(
    f"{head}.class_branches.{level}.2.{part}"
    for head in ("head", "single_head")
    for level in range(len(STRIDES))
    for part in ("weight", "bias")
)
"""The tensors of a `Detector` that have one row per class, of all heads that it may have."""


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The result of `transfer_weights`."""

    loaded: int
    """Tensors loaded from the file."""
    total: int
    """Tensors in the model."""
    skipped: Mapping[str, str]
    """Every other tensor of the model or of the file, and why it was skipped."""
    classes: tuple[str, ...]
    """The model's classes that the file knows too."""

    def __str__(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"{self.loaded} of {self.total} tensors loaded{skipped}; {len(self.classes)} classes known"


def _on_disk(tensor: Tensor, half: bool) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous()
    return tensor.detach().to("cpu", torch.float16 if half else torch.float32).contiguous()


def save_weights(
    model: Detector, path: str | Path, extra: Mapping[str, str] | None = None, *, half: bool = False
) -> None:
    """Write the weights of `model` (not fused) to `path`, float32, or float16 when `half`.

    The header holds `model.metadata()` and `extra` (other keys than those). Raises `CheckpointError` for a
    fused model or a folder that cannot be written, `ConfigError` for a key of `extra` that is taken.
    """
    path = Path(path)
    if model.fused:
        raise CheckpointError(
            f"{path}: got a fused model, expected one with its batch norms: fused weights cannot be trained "
            "or loaded again. Save the model that `fused_copy` was called with."
        )
    metadata = model.metadata()
    taken = sorted({*metadata, *RESERVED} & (extra or {}).keys())
    if taken:
        raise ConfigError(f"extra: got the key '{taken[0]}', which is reserved. Use another name.")
    tensors = {name: _on_disk(tensor, half) for name, tensor in model.state_dict().items()}
    with atomic_file(path, CheckpointError) as temporary:
        write_tensors(temporary, tensors, {**metadata, **(extra or {})})


class _ModelFile:
    """The tensors of a model in an open file, by their names without prefix."""

    def __init__(self, file: TensorFile) -> None:
        self._file, self.metadata = file, file.metadata
        self._prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in file.stored)), "")
        self.stored = {
            name.removeprefix(self._prefix): stored
            for name, stored in file.stored.items()
            if name.startswith(self._prefix) and (self._prefix or "/" not in name)
        }

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Raises `CheckpointError` where a value is damaged, or not finite."""
        tensors = {name: self._file.read(self._prefix + name) for name in names}
        broken = non_finite(tensors)
        if broken is not None:
            raise CheckpointError(
                f"{self._file.path}: its weights are infinite or NaN (the first: {broken}): the training had "
                "diverged. Use weights of an earlier epoch."
            )
        return tensors


class _ForeignModel:
    """The tensors of a foreign checkpoint under our names, as `_ModelFile` has them; read when asked for."""

    def __init__(self, path: Path) -> None:
        self._checkpoint = read_checkpoint(path)
        self.metadata = network_of(self._checkpoint).metadata() | import_metadata(self._checkpoint)

    @cached_property
    def _tensors(self) -> dict[str, Tensor]:
        return detector_of(self._checkpoint).state_dict()

    @property
    def stored(self) -> dict[str, StoredTensor]:
        return {
            name: StoredTensor(tensor.dtype, tuple(tensor.shape), 0, 0, None)
            for name, tensor in self._tensors.items()
        }

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        return {name: self._tensors[name] for name in names}


def import_metadata(checkpoint: ForeignCheckpoint) -> dict[str, str]:
    """What the header of a weights file keeps of a foreign checkpoint, besides the model's own entries."""
    found = {"imported_from": f"{checkpoint.family}{checkpoint.size}", "imported_part": checkpoint.part}
    if checkpoint.version is not None:
        found["imported_version"] = checkpoint.version
    if checkpoint.imgsz is not None:
        found["imgsz"] = str(checkpoint.imgsz)
    return found


WeightsFile = _ModelFile | _ForeignModel
"""An open file of weights: its `metadata`, and its tensors, which are read when they are asked for."""


@contextlib.contextmanager
def open_weights(path: str | Path) -> Iterator[WeightsFile]:
    """A weights file, checkpoint or foreign .pt, for `transfer_weights` and whoever needs its header before.

    Raises `CheckpointError` as `load_weights` does; for tensors that do not fit, when they are read.
    """
    path = Path(path)
    if is_torch_file(path):
        yield _ForeignModel(path)
        return
    with _opened(path) as file:
        yield file


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_ModelFile]:
    """A weights file or checkpoint. Raises `CheckpointError` when it is missing or damaged."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "file not found"
        raise CheckpointError(f"{path}: {problem}, expected a .safetensors weights file. Check the path.")
    with open_tensors(path) as file:
        found = file.metadata.get("format", "no format name")
        if found != FORMAT:
            raise CheckpointError(
                f"{path}: got '{printable(found, 100)}' in its header, expected '{FORMAT}': the file is not "
                "from yolofast. Use weights written by `save_weights` or by yolofast's training."
            )
        version = file.metadata.get("format_version", "none")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: got format version {printable(version, 100)}, expected {FORMAT_VERSION}. "
                "Use the version of yolofast that wrote the file."
            )
        activation = file.metadata.get("spp_activation")
        if activation not in (None, "true", "false"):
            raise CheckpointError(
                f"{path}: got spp_activation '{printable(activation, 100)}' in its header, expected true or "
                "false. The file was edited; use another."
            )
        yield _ModelFile(file)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The header of a weights file or checkpoint: model, num_classes, class_names and extra entries.

    Only the header is read; of a foreign .pt, its description, but not the numbers. Raises `CheckpointError`
    as `load_weights` does.
    """
    with open_weights(path) as file:
        return file.metadata


def spp_activation_of(metadata: Mapping[str, str]) -> bool | None:
    """The `spp_activation` of the model that a header describes; None where it names no known model.

    Headers say it only where it is not what is usual in the model's family.
    """
    said = {"true": True, "false": False}.get(metadata.get("spp_activation", ""))
    spec = MODEL_SPECS.get(metadata.get("model", ""))
    return spec.family.spp_activation if said is None and spec is not None else said


def _differences(model: Mapping[str, Tensor], file: Mapping[str, StoredTensor]) -> dict[str, str]:
    """Tensors without a counterpart of the same name and shape, and why."""
    reasons = {name: "not in the file" for name in model if name not in file}
    for name, tensor in file.items():
        if name not in model:
            reasons[name] = "not in the model"
        elif tensor.shape != model[name].shape:
            got, wanted = tuple(tensor.shape), tuple(model[name].shape)
            reasons[name] = f"shape {got} in the file, {wanted} in the model"
    return reasons


def load_weights(path: str | Path) -> Detector:
    """The detector in `path`, built from the file alone: float32, on the CPU, in eval mode.

    Reads files of `save_weights`, checkpoints of the trainer, and foreign ones (.pt). Raises
    `CheckpointError` for a file that is missing, damaged, in another format, or whose tensors do not fit the
    model it names or are not finite.
    """
    path = Path(path)
    if is_torch_file(path):
        return detector_of(read_checkpoint(path))
    with _opened(path) as file:
        names = _class_names(path, file.metadata)
        try:
            with torch.device("meta"):
                model = build_model(
                    file.metadata["model"],
                    int(file.metadata["num_classes"]),
                    class_names=names,
                    spp_activation=spp_activation_of(file.metadata),
                )
        except (KeyError, TypeError, ValueError) as error:
            raise _no_description(path, error) from error
        differences = _differences(model.state_dict(), file.stored)
        if differences:
            name, reason = next(iter(differences.items()))
            raise CheckpointError(
                f"{path}: {len(differences)} tensors do not fit model '{model.spec.name}' with "
                f"{model.num_classes} classes; the first is {printable(name, 100)}: {reason}. "
                "The file is damaged or was edited; use another."
            )
        tensors = file.read(file.stored)
    full = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    model.load_state_dict(full, assign=True)
    return model.eval()


def transfer_weights(
    model: Detector, path: str | Path, *, opened: WeightsFile | None = None
) -> TransferReport:
    """Load, in place, every tensor of `path` that matches one of `model` in name and shape.

    For fine-tuning from weights with other classes. The rows of the class scores are taken by the name of
    their class (upper and lower case alike), whatever its number. A class that the file does not have keeps
    its random weights, as do all layers whose size depends on the number of classes and differs.

    opened   the file, where `open_weights` has opened it already

    Raises `CheckpointError` as `load_weights` does, when less than half of the model's weights are in the
    file, because it is of another size, and when the file's `spp_activation` (see `build_model`) is another;
    `model` is then unchanged.
    """
    path = Path(path)
    own = model.state_dict()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_weights(path)) if opened is None else opened
        rows = _rows_by_name(_class_names(path, file.metadata), model.class_names)
        by_class = {
            name
            for name in file.stored.keys() & own.keys() & set(CLASS_SCORES)
            if rows and _rows_fit(own[name], file.stored[name], rows)
        }
        skipped = _differences(
            {name: tensor for name, tensor in own.items() if name not in by_class},
            {name: stored for name, stored in file.stored.items() if name not in by_class},
        )
        if not rows:
            scores = (name for name in CLASS_SCORES if name in own)
            skipped |= dict.fromkeys(scores, "no class of the model is in the file")
        shared = [name for name in file.stored if name not in skipped]
        _check_share(path, file.metadata, model, sum(own[name].numel() for name in shared))
        _check_activation(path, file.metadata, model)
        tensors = file.read(shared)
    for name in by_class:
        tensors[name] = _with_rows(own[name], tensors[name], rows)
    model.load_state_dict(tensors, strict=False)
    return TransferReport(len(shared), len(own), skipped, tuple(model.class_names[row] for row in rows))


def _rows_by_name(file: Sequence[str], model: Sequence[str]) -> dict[int, int]:
    """Row of the model -> row of the file, for the classes that both have.

    A name in another case counts where no other class of the file or of the model has it in any case.
    """
    exact = {name: row for row, name in enumerate(file)}
    folded = Counter(name.casefold() for name in file), Counter(name.casefold() for name in model)
    alike = {key: row for name, row in exact.items() if all(c[key := name.casefold()] == 1 for c in folded)}
    found = {row: exact.get(name, alike.get(name.casefold())) for row, name in enumerate(model)}
    return {row: at for row, at in found.items() if at is not None}


def _rows_fit(own: Tensor, file: StoredTensor, rows: Mapping[int, int]) -> bool:
    """Whether the file has all rows that `rows` names, and they are as wide as the model's."""
    count, *width = file.shape or (0,)
    return tuple(width) == own.shape[1:] and max(rows.values()) < count


def _with_rows(own: Tensor, file: Tensor, rows: Mapping[int, int]) -> Tensor:
    """A copy of `own` with the rows of `file` that `rows` names."""
    taken = own.clone()
    taken[list(rows)] = file[list(rows.values())].to(own.dtype)
    return taken


def _check_share(path: Path, metadata: Mapping[str, str], model: Detector, loaded: int) -> None:
    """Raise `CheckpointError` when fewer than half of the weights of `model` were found."""
    total = sum(tensor.numel() for tensor in model.state_dict().values())
    if loaded >= total / 2:
        return
    size = printable(metadata.get("model", "unknown"), 100)
    advice = f"Use --model {size}" if size in MODEL_SPECS and size != model.spec.name else "Use other weights"
    raise CheckpointError(
        f"{path}: only {loaded / total:.0%} of the weights of model '{model.spec.name}' are in this file, "
        f"which is of model '{size}'. {advice}, or train without --weights."
    )


def _check_activation(path: Path, metadata: Mapping[str, str], model: Detector) -> None:
    """Raise `CheckpointError` when the file's pyramid pooling was trained with another function."""
    found = spp_activation_of(metadata)
    if found in (None, model.spp_activation):
        return
    kinds = {True: "an activation", False: "no activation"}
    raise CheckpointError(
        f"{path}: the first unit of the pyramid pooling has {kinds[bool(found)]} in this file and "
        f"{kinds[model.spp_activation]} in the model. Build the model as the file is: "
        f"build_model('{model.spec.name}', {model.num_classes}, spp_activation={found})."
    )


def _class_names(path: Path, metadata: Mapping[str, str]) -> list[str]:
    """The class names in a header. Raises `CheckpointError` when they are not there."""
    try:
        names = parsed_json(metadata["class_names"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("class_names is not a list of texts")
    except (KeyError, TypeError, ValueError) as error:
        raise _no_description(path, error) from error
    return names


def _no_description(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: its header does not describe a model "
        f"({type(error).__name__}: {printable(str(error), 200)}). "
        "Expected model, num_classes and class_names."
    )
