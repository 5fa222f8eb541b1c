"""Which epoch is best, and when a run is over."""

from __future__ import annotations

import math

import pytest

from yolofast.train import best_row, fitness, is_finished
from yolofast.train.history import epochs_without_gain, expected_epochs


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


def timed(*seconds: float) -> list[dict[str, float]]:
    return [{"epoch": float(n), "map50_95": n / 100, "epoch_s": s} for n, s in enumerate(seconds, start=1)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((), 100),  # nothing is measured yet
        ((600.0,), 6),
        ((1200.0,), 3),
        ((1000.0,), 4),  # the fourth begins before the hour is over
        ((1200.0, 600.0, 600.0), 5),  # 20 minutes are left, an epoch takes 10
        ((3599.0,), 2),
        ((3600.0,), 1),
        ((3000.0, 3000.0), 2),
        ((0.0,), 100),
    ],
)
def test_a_time_limit_gives_the_number_of_epochs(seconds: tuple[float, ...], expected: int) -> None:
    assert expected_epochs(timed(*seconds), epochs=100, hours=1.0) == expected
    assert expected_epochs(timed(*seconds), epochs=100, hours=None) == 100


def test_a_time_limit_ends_a_run_whatever_its_number_of_epochs() -> None:
    rows = timed(1800.0, 1799.0)
    assert not is_finished(rows, epochs=1, patience=0, hours=1.0)
    assert is_finished([*rows, *timed(1.0)], epochs=100, patience=0, hours=1.0)
    waiting = [{**row, "map50_95": 0.0} for row in rows]
    assert is_finished(waiting, epochs=100, patience=1, hours=1.0)  # patience counts as well
