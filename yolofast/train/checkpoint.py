"""Checkpoints: everything a run needs to resume, in one safetensors file with a JSON header.

`last.safetensors` holds weights (`model/`), averaged weights (`ema/`), optimizer and RNG tensors;
the rest (epoch, schedule, history, config) is JSON in the file's header. One file, flushed to disk
under a temporary name and then renamed: a reader sees the old checkpoint or the new one, never
half of one. The one before is kept as `previous.safetensors`, in case the disk damages the last.
`best.safetensors` is the averaged model alone, ready for inference.
"""

from __future__ import annotations

import contextlib
import json
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from yolofast.errors import CheckpointError
from yolofast.files import atomic_file

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
_STATE_KEY, _CHECKSUM_KEY = "yolofast_training", "yolofast_crc32"
_log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class TrainingState:
    """The state of a run between two epochs.

    `tensors` are named `model/...`, `ema/...`, `optimizer/...`, `rng/...`; `values` is JSON.
    """

    tensors: Tensors
    values: dict[str, Any]

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
        self, state: TrainingState, *, is_best: bool, description: Mapping[str, str] | None = None
    ) -> None:
        """Write `last`, and `best` from the averaged weights when `is_best`.

        `description` goes into both headers, next to the model's metadata. Raises `CheckpointError` when they
        cannot be written; the earlier checkpoints are then kept.
        """
        described = self.model_metadata | dict(description or {})
        if is_best:
            with atomic_file(self.best, CheckpointError, sync=True) as temporary:
                _write(temporary, state.group("ema"), described)
        with atomic_file(self.last, CheckpointError, sync=True) as temporary:
            _write(temporary, state.tensors, described | _header_of(state))
            if self.last.exists():
                self.last.replace(self.directory / PREVIOUS)
        for leftover in self.directory.glob(".*.safetensors.*.tmp"):  # of a run that was killed
            leftover.unlink()

    def load_latest(self) -> TrainingState | None:
        """The last intact checkpoint, or None when the run has none.

        A damaged `last` is logged and the one before it is used. Raises `CheckpointError` when
        there are checkpoints and none can be read.
        """
        problems = []
        for path in self._found():
            try:
                state = _read(path)
            except CheckpointError as error:
                _log.warning("%s", error)
                problems.append(str(error))
                continue
            return state
        if problems:
            raise CheckpointError("no checkpoint can be read: " + " ".join(problems))
        return None

    def latest_header(self) -> dict[str, str] | None:
        """The header of the last checkpoint that can be opened, or None; its tensors are not read."""
        for path in self._found():
            with contextlib.suppress(OSError, SafetensorError), safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if _STATE_KEY in metadata:
                    return dict(metadata)
        return None

    def history(self) -> list[dict[str, float]]:
        """The rows of the epochs that are saved, from the last checkpoint that can be opened."""
        header = self.latest_header()
        rows: list[dict[str, float]] = json.loads(header[_STATE_KEY]).get("history", []) if header else []
        return rows

    def _found(self) -> list[Path]:
        """The checkpoints that are there, newest first."""
        return [path for path in (self.last, self.directory / PREVIOUS) if path.exists()]


def _header_of(state: TrainingState) -> dict[str, str]:
    return {_STATE_KEY: json.dumps(state.values), _CHECKSUM_KEY: _checksum(state.tensors)}


def _write(path: Path, tensors: Tensors, metadata: Mapping[str, str]) -> None:
    stored = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    try:
        save_file(stored, path, metadata=dict(metadata))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written: {error}. Free some disk space."
        ) from None


def _read(path: Path) -> TrainingState:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _STATE_KEY not in metadata:
                raise CheckpointError(
                    f"{path}: weights without a training state, expected a checkpoint; use it with --weights."
                )
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if metadata.get(_CHECKSUM_KEY) != _checksum(tensors):
            raise CheckpointError(f"{path}: damaged checkpoint: the checksum of its tensors does not match.")
        return TrainingState(tensors, json.loads(metadata[_STATE_KEY]))
    except (OSError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path}: damaged checkpoint: {error}.") from None


def _checksum(tensors: Tensors) -> str:
    """CRC-32 over names and bytes: a damaged disk can change tensors and leave the file readable."""
    total = 0
    for name in sorted(tensors):
        data = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        total = zlib.crc32(data.numpy().data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


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

    Raises `CheckpointError` when they belong to an optimizer of other weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/", 1)
        weight = weights[int(index)] if int(index) < len(weights) else None
        if weight is None or (value.ndim and value.shape != weight.shape):
            raise CheckpointError("the checkpoint's optimizer belongs to another model; start a new run.")
        # In the memory layout of its weight: in a file all tensors are contiguous.
        laid_out = torch.empty_like(weight).copy_(value) if value.ndim else value
        state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
