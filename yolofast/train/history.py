"""The history of a run, one row of metrics per epoch: which epoch is best, and how long ago.

`epoch` counts from 1 in everything that a run says or writes: the history, results.csv, checkpoints, weights,
messages and plots. Epoch N of a run is the Nth pass over the images, and a checkpoint of epoch N was saved
after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

LOSSES = ("box", "cls", "dfl")
MEASURED = ("images_per_s", "epoch_s", "memory_mb")
"""Metrics of an epoch that are never the same twice."""
RECENT_EPOCHS = 5

Row = Mapping[str, float]
"""Metrics of an epoch, names as in results.csv."""


def fitness(row: Row) -> float:
    """How good an epoch is: its mAP50-95.

    The negative loss if there is no mAP, because nothing was validated or the split has no boxes.
    """
    score = row.get("map50_95", math.nan)
    if math.isnan(score):
        score = -row.get("val_loss", train_loss(row))
    return -math.inf if math.isnan(score) else score


def train_loss(row: Row) -> float:
    """The sum of the training losses of an epoch; NaN where they were not recorded."""
    return sum(row.get(f"train_{name}", math.nan) for name in LOSSES)


def best_row(history: Sequence[Row]) -> Row:
    """The row of the best epoch; of equal ones the latest, which was trained longest.

    So a run that begins with epochs of mAP 0 does not keep its first one. Raises ValueError for no rows.
    """
    return max(reversed(history), key=fitness)


def epochs_without_gain(history: Sequence[Row]) -> int:
    """Epochs since the last one that was better than all before it."""
    best, at = -math.inf, 0
    for number, row in enumerate(history, start=1):
        if fitness(row) > best:
            best, at = fitness(row), number
    return len(history) - at


def usual_seconds(history: Sequence[Row]) -> float:
    """The time of an epoch: the median of the latest, because the first one is slower; 0 for no rows."""
    return median(row.get("epoch_s", 0.0) for row in history[-RECENT_EPOCHS:]) if history else 0.0


def seconds_left(history: Sequence[Row], hours: float) -> float:
    """What the epochs that are done leave of a time limit; not above 0 when it is reached."""
    return hours * 3600 - sum(row.get("epoch_s", 0.0) for row in history)


def expected_epochs(history: Sequence[Row], *, epochs: int, hours: float | None) -> int:
    """The number of epochs that a run will have had: `epochs`, or as many as a limit of `hours` allows.

    With a limit it is those done, and how often the usual time of an epoch begins in the time that is left:
    the epoch that reaches the limit is the last. Until one is measured it is `epochs`.
    """
    usual = usual_seconds(history)
    if hours is None or usual < 1e-6:
        return epochs
    return len(history) + max(0, math.ceil(seconds_left(history, hours) / usual))


def is_finished(history: Sequence[Row], *, epochs: int, patience: int, hours: float | None = None) -> bool:
    """Whether a run is over: it has all its epochs, or the last `patience` gained nothing (0 = no limit).

    With a limit of `hours`, that decides instead of the number of epochs.
    """
    reached = len(history) >= epochs if hours is None else seconds_left(history, hours) <= 0
    return reached or 0 < patience <= epochs_without_gain(history)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number that fits into a float; NaN does."""
    return type(value) is float or (type(value) is int and abs(value) < 2**63)


def is_history(rows: Any) -> bool:
    """Whether a value of JSON is a history: a list of metrics by name, with seconds that can be counted."""
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and all(map(is_number, row.values()))
        and 0 <= row.get("epoch_s", 0) < math.inf  # NaN is not
        for row in rows
    )
