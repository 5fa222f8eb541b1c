"""Checkpoints: everything a run needs to resume, in one safetensors file with a JSON header.

`last.safetensors` holds weights (`model/`), averaged weights (`ema/`), optimizer and RNG tensors;
the rest (epoch, schedule, history) is JSON in the file's header. One file, flushed to disk
under a temporary name and then renamed: a reader sees the old checkpoint or the new one, never
half of one. The one before is kept as `previous.safetensors`, in case the disk damages the last.
`best.safetensors` is the averaged model alone, ready for inference. Checksums cover all of each file,
and nothing that is infinite or NaN is saved.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yolofast.errors import CheckpointError
from yolofast.files import atomic_file, remove_leftovers
from yolofast.printable import printable
from yolofast.tensor_file import TensorFile, non_finite, open_tensors, parsed_json, write_tensors
from yolofast.train.history import is_history
from yolofast.train.muon import MuSGD

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
STATE_KEY = "yolofast_training"
_STATE_OF: Mapping[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.SGD: {"momentum_buffer"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    MuSGD: {"momentum_buffer"},
}
_log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TrainingState:
    """The state of a run between two epochs.

    `tensors` are named `model/...`, `ema/...`, `optimizer/...`, `rng/...`; `values` is JSON; `path` is the
    file that it was read from.
    """

    tensors: Tensors
    values: dict[str, Any]
    path: Path | None = None

    def group(self, name: str) -> Tensors:
        """The tensors whose names start with `name/`, without it."""
        return {k.removeprefix(f"{name}/"): v for k, v in self.tensors.items() if k.startswith(f"{name}/")}


def with_prefix(name: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The tensors under `name/`."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


class CheckpointManager:
    """Saves and loads the checkpoints of one run, in `directory`.

    `model_metadata` (text to text) goes into every file's header, so that the model can be rebuilt
    from the file alone.
    """

    def __init__(self, directory: str | Path, model_metadata: Mapping[str, str] | None = None) -> None:
        self.directory = Path(directory)
        self.model_metadata = dict(model_metadata or {})

    @property
    def last(self) -> Path:
        return self.directory / LAST

    @property
    def best(self) -> Path:
        return self.directory / BEST

    def save(
        self,
        state: TrainingState,
        *,
        is_best: bool,
        description: Mapping[str, str] | None = None,
        keep_epoch: int | None = None,
    ) -> None:
        """Write `last`, and `best` from the averaged weights when `is_best`.

        With `keep_epoch` the averaged weights are also written to `epochN.safetensors`, which later calls
        leave alone. `description` goes into all headers, next to the model's metadata. Raises
        `CheckpointError` when they cannot be written, or a tensor is not finite; the earlier checkpoints are
        then kept.
        """
        broken = non_finite(state.tensors)
        if broken is not None:
            raise CheckpointError(
                f"{self.last}: not written, because {broken} is infinite or NaN. "
                "What was saved before is kept."
            )
        described = self.model_metadata | dict(description or {})
        kept = [] if keep_epoch is None else [self.directory / f"epoch{keep_epoch}.safetensors"]
        for path in [self.best] * is_best + kept:
            with atomic_file(path, CheckpointError, sync=True) as temporary:
                write_tensors(temporary, state.group("ema"), described)
        with atomic_file(self.last, CheckpointError, sync=True) as temporary:
            write_tensors(temporary, state.tensors, described | {STATE_KEY: json.dumps(state.values)})
            if self.last.exists():
                self.last.replace(self.directory / PREVIOUS)
        remove_leftovers(self.directory)

    def load_latest(self) -> TrainingState | None:
        """The last intact checkpoint, or None when the run has none.

        A damaged `last` is logged and the one before it is used. Raises `CheckpointError` when
        there are checkpoints and none can be read.
        """
        problems = []
        for path in self._found():
            try:
                return _read(path)
            except CheckpointError as error:
                _log.warning("%s", error)
                problems.append(str(error))
        if problems:
            raise CheckpointError("no checkpoint can be read: " + " ".join(problems))
        return None

    def latest_header(self) -> dict[str, str] | None:
        """The header of the last checkpoint whose header is intact, or None; its tensors are not read."""
        for path in self._found():
            with contextlib.suppress(CheckpointError), open_tensors(path) as file:
                _values(file)
                return file.metadata
        return None

    def history(self) -> list[dict[str, float]]:
        """The rows of the epochs that are saved, from the last checkpoint whose header is intact."""
        for path in self._found():
            with contextlib.suppress(CheckpointError), open_tensors(path) as file:
                rows: list[dict[str, float]] = _values(file).get("history", [])
                return rows
        return []

    def _found(self) -> list[Path]:
        """The checkpoints that are there, newest first."""
        return [path for path in (self.last, self.directory / PREVIOUS) if path.is_file()]


def _read(path: Path) -> TrainingState:
    with open_tensors(path) as file:
        values = _values(file)
        state = TrainingState({name: file.read(name) for name in file.stored}, values, path)
    broken = non_finite(state.tensors)
    if broken is not None:
        raise CheckpointError(f"{path}: cannot be resumed: {printable(broken, 100)} is infinite or NaN.")
    return state


def _values(file: TensorFile) -> dict[str, Any]:
    """The training state in a header, an object whose history is one."""
    if STATE_KEY not in file.metadata:
        raise CheckpointError(
            f"{file.path}: weights without a training state, expected a checkpoint; use it with --weights."
        )
    try:
        values = parsed_json(file.metadata[STATE_KEY])
        if not isinstance(values, dict) or not is_history(values.get("history", [])):
            raise ValueError("not an object with the history of a run")
    except ValueError as error:
        raise CheckpointError(
            f"{file.path}: damaged checkpoint: its training state makes no sense "
            f"({printable(str(error), 200)})."
        ) from None
    return values


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state as tensors named `INDEX/NAME`."""
    return {
        f"{index}/{name}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Restore what `optimizer_tensors` returned; the groups' settings stay the optimizer's own.

    Raises `CheckpointError` when they belong to an optimizer of another kind or of other weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        weight = weights[int(index)] if index.isdecimal() and int(index) < len(weights) else None
        if weight is None or (value.ndim and value.shape != weight.shape):
            raise CheckpointError("the checkpoint's optimizer belongs to another model; start a new run.")
        # In the memory layout of its weight: in a file all tensors are contiguous.
        laid_out = torch.empty_like(weight).copy_(value) if value.ndim else value
        state.setdefault(int(index), {})[name] = laid_out
    if any(entries.keys() != _STATE_OF[type(optimizer)] for entries in state.values()):
        raise CheckpointError(
            f"the checkpoint's optimizer is no {type(optimizer).__name__} of this version; start a new run."
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
