"""What of a run's state is JSON, and whether a checkpoint's has the right types to be restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yolofast.errors import CheckpointError
from yolofast.printable import printable
from yolofast.train.history import is_history, is_number


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "epoch": (_is_count, "a whole number"),
    "ema_updates": (_is_count, "a whole number"),
    "rate": (_are_numbers, "numbers by name"),
    "scaler": (_are_numbers, "numbers by name"),
    "optimizer": (lambda value: value in ("SGD", "AdamW", "MuSGD"), "SGD, AdamW or MuSGD"),
    "history": (is_history, "a list of metrics by name"),
    "threads": (lambda value: _is_count(value) and value > 0, "a number above 0"),
    "freeze": (lambda value: _is_count(value) or value == "backbone", "a whole number or backbone"),
}
_OPTIONAL = ("threads", "freeze")


def check_run_state(values: Mapping[str, Any], path: Path | None) -> None:
    """Raise `CheckpointError` unless `values`, read from `path`, is the state of a run: see `Trainer`.

    `threads`, the number of torch's threads, and `freeze`, the layers that are not trained, are optional:
    earlier versions did not save them.
    """
    expected = {name: fits for name, fits in _EXPECTED.items() if name not in _OPTIONAL or name in values}
    for name, (fits, wanted) in expected.items():
        if not fits(values.get(name)):
            got = printable(repr(values[name]), 100) if name in values else "nothing"
            raise CheckpointError(f"{path}: the training state has {name} {got}, expected {wanted}.")
    if len(values["history"]) != values["epoch"]:
        raise CheckpointError(
            f"{path}: the training state has {len(values['history'])} rows of history, expected one for each "
            f"of its {values['epoch']} epochs."
        )
