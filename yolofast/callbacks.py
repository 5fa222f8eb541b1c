"""Callbacks: functions of the user that are called at named moments of a training.

    def stop_when_good(event):
        if event.metrics["map50"] > 0.9:
            event.stop()

    callbacks = Callbacks()
    callbacks.add("on_fit_epoch_end", stop_when_good)

Each gets a `TrainEvent`, which says where the training is. A callback may read the models, but what it
changes in them is trained on. An exception ends the training: see `Trainer.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast, get_args

from yolofast.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import nn

EventName = Literal[
    "on_train_start",
    "on_train_epoch_start",
    "on_train_batch_end",
    "on_train_epoch_end",
    "on_val_end",
    "on_model_save",
    "on_fit_epoch_end",
    "on_train_end",
]
"""The moments of a training, in their order: once before the first epoch; for each epoch before it, after
each batch, after the last batch, after the validation, when its checkpoint is written, and when all of this
is done; once after the last epoch."""

NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """A moment of a training, as a callback gets it."""

    name: EventName
    epoch: int
    """The epoch that is trained, counted from 1; at on_train_start the first, at on_train_end the last."""
    epochs: int
    """Epochs of the whole run."""
    batch: int
    """Number of the batch in its epoch, counted from 1; 0 at moments that are not those of a batch."""
    batches: int
    """Batches in an epoch."""
    losses: Mapping[str, float]
    """box, cls and dfl, means over images: at on_train_batch_end of the batch, after the last batch of the
    epoch; empty before."""
    metrics: Mapping[str, float]
    """What is known of the epoch, names as in results.csv: from on_train_epoch_end on train_box, ... and lr,
    from on_val_end on val_loss, map50, map50_95, ..., from on_model_save on all; empty before."""
    model: nn.Module
    """The model that is trained."""
    averaged: nn.Module
    """Its moving average, which is validated and saved."""
    saved: Path | None
    """The latest checkpoint that was written; None before the first, or without a `CheckpointManager`."""
    save_dir: Path | None
    """Folder of the run; None when the run has none."""
    _stop: Callable[[], None] = field(repr=False)

    def stop(self) -> None:
        """End the training once this epoch is validated and saved; at on_train_start after the first one."""
        self._stop()


Callback = Callable[[TrainEvent], object]
"""Takes the moment; what it returns is ignored."""


class Callbacks:
    """The functions that are called at each moment (`EventName`), in the order in which they were added."""

    def __init__(self) -> None:
        self._functions: dict[EventName, list[Callback]] = {}

    def add(self, event: str, function: Callback) -> None:
        """Call `function` at `event`. Raises `ConfigError` for an unknown event."""
        self._functions.setdefault(_checked(event), []).append(function)

    def clear(self, event: str | None = None) -> None:
        """Forget the functions of `event`; omitted means all. Raises `ConfigError` for an unknown event."""
        if event is None:
            self._functions.clear()
        else:
            self._functions.pop(_checked(event), None)

    def at(self, event: EventName) -> tuple[Callback, ...]:
        """The functions to call at `event`."""
        return tuple(self._functions.get(event, ()))


def _checked(event: str) -> EventName:
    known = get_args(EventName)
    if event not in known:
        raise ConfigError(
            f"callback: got the unknown event '{event}'.{nearest(event, known)} Known: {', '.join(known)}."
        )
    return cast(EventName, event)
