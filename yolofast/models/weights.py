"""Weights files: safetensors with a header that describes their model.

No pickle: a file is numbers and text, and nothing in it is executed. Files are written atomically. The
trainer's checkpoints can be read too: their tensors are named `ema/NAME` (averaged weights), `model/NAME`
and others; averaged weights are preferred, and tensors of other groups are ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from yolofast.errors import CheckpointError, ConfigError
from yolofast.files import atomic_file
from yolofast.models.detector import FORMAT, FORMAT_VERSION, Detector, build_model
from yolofast.models.spec import MODEL_SPECS, STRIDES
from yolofast.stopwatch import now

PREFIXES = ("ema/", "model/")
"""Prefixes of a model's tensors in a checkpoint, best first."""

CLASS_SCORES = tuple(
    f"head.class_branches.{level}.2.{part}" for level in range(len(STRIDES)) for part in ("weight", "bias")
)
"""The tensors of a `Detector` that have one row per class."""


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

    The header holds `model.metadata()`, the date and `extra` (other keys than those). Raises
    `CheckpointError` for a fused model or a folder that cannot be written, `ConfigError` for a key of `extra`
    that is taken.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    if model.fused:
        raise CheckpointError(
            f"{path}: got a fused model, expected one with its batch norms: fused weights cannot be trained "
            "or loaded again. Save the model that `fused_copy` was called with."
        )
    metadata = model.metadata() | {"date": now()}
    taken = sorted(metadata.keys() & (extra or {}).keys())
    if taken:
        raise ConfigError(f"extra: got the key '{taken[0]}', which is reserved. Use another name.")
    tensors = {name: _on_disk(tensor, half) for name, tensor in model.state_dict().items()}
    with atomic_file(path, CheckpointError) as temporary:
        try:
            save_file(tensors, temporary, {**metadata, **(extra or {})})
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: the weights cannot be written ({error}). Free some disk space."
            ) from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and model tensors, without prefix, of a weights file or checkpoint."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "file not found"
        raise CheckpointError(f"{path}: {problem}, expected a .safetensors weights file. Check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            names = list(file.keys())
            prefix = next((p for p in PREFIXES if any(n.startswith(p) for n in names)), "")
            chosen = [n for n in names if n.startswith(prefix) and (prefix or "/" not in n)]
            # A copy, because the file stays mapped into memory otherwise.
            tensors = {n.removeprefix(prefix): file.get_tensor(n).clone() for n in chosen}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as safetensors ({error}): it is in another format, or was truncated "
            "while it was copied. Copy it again, or use another checkpoint."
        ) from error
    found = metadata.get("format", "no format name")
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: got '{found}' in its header, expected '{FORMAT}': the file is not from yolofast. "
            "Use weights written by `save_weights` or by yolofast's training."
        )
    version = metadata.get("format_version", "none")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: got format version {version}, expected {FORMAT_VERSION}. "
            "Use the version of yolofast that wrote the file."
        )
    return metadata, tensors


def read_metadata(path: str | Path) -> dict[str, str]:
    """The header of a weights file or checkpoint: model, num_classes, class_names and extra entries.

    Raises `CheckpointError` as `load_weights` does.
    """
    return _read(Path(path))[0]


def _differences(model: Mapping[str, Tensor], file: Mapping[str, Tensor]) -> dict[str, str]:
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

    Reads files of `save_weights` and checkpoints of the trainer. Raises `CheckpointError` for a file that
    is missing, truncated, in another format, or whose tensors do not fit the model it names.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    names = _class_names(path, metadata)
    try:
        with torch.device("meta"):
            model = build_model(metadata["model"], int(metadata["num_classes"]), class_names=names)
    except (KeyError, TypeError, ValueError) as error:
        raise _no_description(path, error) from error
    differences = _differences(model.state_dict(), tensors)
    if differences:
        name, reason = next(iter(differences.items()))
        raise CheckpointError(
            f"{path}: {len(differences)} tensors do not fit model '{metadata['model']}' with "
            f"{metadata['num_classes']} classes; the first is {name}: {reason}. "
            "The file is damaged or was edited; use another."
        )
    full = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    model.load_state_dict(full, assign=True)
    return model.eval()


def transfer_weights(model: Detector, path: str | Path) -> TransferReport:
    """Load, in place, every tensor of `path` that matches one of `model` in name and shape.

    For fine-tuning from weights with other classes. The rows of the class scores are taken by the name of
    their class (upper and lower case alike), whatever its number. A class that the file does not have keeps
    its random weights, as do all layers whose size depends on the number of classes and differs.

    Raises `CheckpointError` as `load_weights` does, and when less than half of the model's weights are in the
    file, because it is of another size; `model` is then unchanged.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    own = model.state_dict()
    rows = _rows_by_name(_class_names(path, metadata), model.class_names)
    for name in tensors.keys() & set(CLASS_SCORES):
        tensors[name] = _with_rows(own[name], tensors[name], rows)
    skipped = _differences(own, tensors)
    if not rows:
        skipped |= dict.fromkeys(CLASS_SCORES, "no class of the model is in the file")
    shared = {name: tensor for name, tensor in tensors.items() if name not in skipped}
    _check_share(path, metadata, model, sum(own[name].numel() for name in shared))
    model.load_state_dict(shared, strict=False)
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


def _with_rows(own: Tensor, file: Tensor, rows: Mapping[int, int]) -> Tensor:
    """A copy of `own` with the rows of `file` that `rows` names; `file` itself where the rows do not fit."""
    if own.shape[1:] != file.shape[1:] or any(row >= len(file) for row in rows.values()):
        return file
    taken = own.clone()
    taken[list(rows)] = file[list(rows.values())].to(own.dtype)
    return taken


def _check_share(path: Path, metadata: Mapping[str, str], model: Detector, loaded: int) -> None:
    """Raise `CheckpointError` when fewer than half of the weights of `model` were found."""
    total = sum(tensor.numel() for tensor in model.state_dict().values())
    if loaded >= total / 2:
        return
    size = metadata.get("model", "unknown")
    advice = f"Use --model {size}" if size in MODEL_SPECS and size != model.spec.name else "Use other weights"
    raise CheckpointError(
        f"{path}: only {loaded / total:.0%} of the weights of model '{model.spec.name}' are in this file, "
        f"which is of model '{size}'. {advice}, or train without --weights."
    )


def _class_names(path: Path, metadata: Mapping[str, str]) -> list[str]:
    """The class names in a header. Raises `CheckpointError` when they are not there."""
    try:
        return [str(name) for name in json.loads(metadata["class_names"])]
    except (KeyError, TypeError, ValueError) as error:
        raise _no_description(path, error) from error


def _no_description(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: its header does not describe a model ({type(error).__name__}: {error}). "
        "Expected model, num_classes and class_names."
    )
