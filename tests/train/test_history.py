"""Which epoch is best, and when a run is over."""

from __future__ import annotations

import math

import pytest

from yolofast.train import best_row, fitness, is_finished
from yolofast.train.history import epochs_without_gain


def history(*scores: float) -> list[dict[str, float]]:
    return [{"epoch": float(n), "map50_95": score} for n, score in enumerate(scores, start=1)]


@pytest.mark.parametrize(
    ("scores", "best"),
    [((0.1, 0.3, 0.2), 2), ((0.0, 0.0, 0.0), 3), ((0.5, 0.5, 0.1), 2), ((0.0, 0.1, 0.0), 2)],
)
def test_the_latest_of_the_best_epochs_counts(scores: tuple[float, ...], best: int) -> None:
    """So mAP 0 in the first epochs does not keep the first weights."""
    assert best_row(history(*scores))["epoch"] == best


@pytest.mark.parametrize(
    ("scores", "waited"), [((0.0,), 0), ((0.0, 0.0, 0.0), 2), ((0.1, 0.3, 0.3), 1), ((0.1, 0.2, 0.3), 0)]
)
def test_patience_counts_epochs_that_gained_nothing(scores: tuple[float, ...], waited: int) -> None:
    """An equal score is none: a run at mAP 0, or at its ceiling, comes to its end."""
    assert epochs_without_gain(history(*scores)) == waited


def test_a_run_is_over_at_its_last_epoch_or_when_patience_ran_out() -> None:
    rows = history(0.5, 0.4, 0.3)
    assert is_finished(rows, epochs=3, patience=0)
    assert is_finished(rows, epochs=9, patience=2)
    assert not is_finished(rows, epochs=9, patience=3)
    assert not is_finished(rows, epochs=9, patience=0)
    assert not is_finished([], epochs=1, patience=1)


def test_without_map_the_loss_decides_and_nan_is_worst() -> None:
    assert fitness({"map50_95": math.nan, "val_loss": 2.0}) == -2.0
    assert fitness({"train_box": 1.0, "train_cls": 2.0, "train_dfl": 3.0}) == -6.0
    assert fitness({"map50_95": math.nan, "val_loss": math.nan}) == -math.inf
    assert best_row([{"val_loss": 3.0}, {"val_loss": math.nan}]) == {"val_loss": 3.0}
