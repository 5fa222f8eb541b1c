"""Callbacks of a training: when they are called, with what, and what happens when they stop it or fail."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from train.test_trainer import config, scores, trainer

from yolofast.callbacks import Callbacks, EventName, TrainEvent
from yolofast.errors import ConfigError
from yolofast.train import CheckpointManager, TrainingMonitor

EVENTS = get_args(EventName)
PER_EPOCH = [
    "on_train_epoch_start",
    *["on_train_batch_end"] * 4,
    "on_train_epoch_end",
    "on_val_end",
    "on_model_save",
    "on_fit_epoch_end",
]


def recording(seen: list[TrainEvent]) -> Callbacks:
    """Callbacks of every moment that keep what they get."""
    callbacks = Callbacks()
    for name in EVENTS:
        callbacks.add(name, seen.append)
    return callbacks


def only(name: str, function) -> Callbacks:
    callbacks = Callbacks()
    callbacks.add(name, function)
    return callbacks


def test_moments_come_in_order_and_say_where_the_training_is(tmp_path: Path) -> None:
    seen: list[TrainEvent] = []
    manager = CheckpointManager(tmp_path / "weights")
    made = trainer(
        config(epochs=2),
        checkpoints=manager,
        validate=scores(0.1, 0.2),
        monitor=TrainingMonitor(tmp_path),
        callbacks=recording(seen),
    )
    result = made.fit()
    assert [event.name for event in seen] == ["on_train_start", *PER_EPOCH * 2, "on_train_end"]
    assert [event.epoch for event in seen] == [1, *[1] * 9, *[2] * 9, 2]
    assert [event.batch for event in seen if event.batch] == [1, 2, 3, 4] * 2
    assert {(event.epochs, event.batches, event.save_dir) for event in seen} == {(2, 4, tmp_path)}
    assert seen[0].model is made.model
    assert seen[0].averaged is made.ema.model
    first = {event.name: event for event in seen[:10]}
    assert first["on_train_epoch_start"].metrics == first["on_train_epoch_start"].losses == {}
    assert set(first["on_train_epoch_end"].metrics) == {"train_box", "train_cls", "train_dfl", "lr"}
    assert first["on_val_end"].metrics["map50"] == 0.1
    assert "epoch_s" not in first["on_val_end"].metrics
    assert first["on_fit_epoch_end"].metrics == first["on_model_save"].metrics == result.training_history[0]
    assert first["on_val_end"].saved is None
    assert first["on_model_save"].saved == manager.last


def test_losses_of_batches_average_to_those_of_the_epoch() -> None:
    seen: list[TrainEvent] = []
    trainer(config(epochs=1), callbacks=recording(seen)).fit()
    batches = [event.losses["box"] for event in seen if event.name == "on_train_batch_end"]
    epoch = next(event for event in seen if event.name == "on_train_epoch_end")
    assert batches == sorted(batches, reverse=True)
    assert epoch.losses["box"] == epoch.metrics["train_box"] == pytest.approx(sum(batches) / 4)
    assert "on_val_end" not in {event.name for event in seen}


def test_an_event_is_a_copy_of_the_history() -> None:
    made = trainer(config(epochs=2), callbacks=only("on_fit_epoch_end", lambda event: event.metrics.clear()))
    assert [row["epoch"] for row in made.fit().training_history] == [1, 2]


@pytest.mark.parametrize("moment", [name for name in EVENTS if name != "on_train_end"])
def test_a_callback_stops_the_training_after_its_epoch_and_the_run_resumes(
    moment: str, tmp_path: Path
) -> None:
    manager, lines = CheckpointManager(tmp_path), []
    stopping = only(moment, lambda event: event.stop())
    options = {"checkpoints": manager, "monitor": TrainingMonitor(report=lines.append)}
    result = trainer(config(), validate=scores(0.1), callbacks=stopping, **options).fit()
    assert result.final_epoch == 1
    assert lines[-1] == "stopped by a callback after epoch 1 of 6"
    assert [row["epoch"] for row in manager.history()] == [1]
    rest = scores(*[0.1] * 5)
    assert trainer(config(resume=True), validate=rest, **options).fit().final_epoch == 6


@pytest.mark.parametrize("moment", EVENTS)
def test_what_a_callback_raises_ends_the_training_with_a_sound_checkpoint(
    moment: str, tmp_path: Path
) -> None:
    whole = trainer(config(epochs=3), validate=scores(0.1, 0.2, 0.3))
    whole.fit()

    def breaks(event: TrainEvent) -> None:
        if event.epoch == (1 if moment == "on_train_start" else 2 if moment != "on_train_end" else 3):
            raise KeyError("mine")

    manager = CheckpointManager(tmp_path)
    made = trainer(
        config(epochs=3), validate=scores(0.1, 0.2, 0.3), checkpoints=manager, callbacks=only(moment, breaks)
    )
    with pytest.raises(KeyError, match="mine") as caught:
        made.fit()
    assert f"raised by a callback of {moment}" in caught.value.__notes__[0]
    saved = {"on_train_start": 0, "on_model_save": 2, "on_fit_epoch_end": 2, "on_train_end": 3}.get(moment, 1)
    assert len(manager.history()) == saved
    rest = scores(*[0.1, 0.2, 0.3][saved:])
    resumed = trainer(config(epochs=3, resume=True), validate=rest, checkpoints=manager)
    resumed.fit()
    assert torch.equal(resumed.model.w, whole.model.w)


def test_a_run_that_is_over_calls_nothing(tmp_path: Path) -> None:
    manager, seen = CheckpointManager(tmp_path), []
    trainer(config(epochs=1), checkpoints=manager).fit()
    trainer(config(epochs=1, resume=True), checkpoints=manager, callbacks=recording(seen)).fit()
    assert seen == []


def test_no_event_is_made_for_moments_without_a_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("yolofast.train.trainer.TrainEvent", lambda **_: made.append(1))
    trainer(config(epochs=2), callbacks=only("on_train_end", lambda _: None)).fit()
    assert len(made) == 1


def test_an_unknown_event_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"'on_epoch_end'. Did you mean 'on_.*epoch_end'\? Known: on_train_start"
    ):
        Callbacks().add("on_epoch_end", print)


def test_cleared_callbacks_are_not_called() -> None:
    seen: list[TrainEvent] = []
    callbacks = recording(seen)
    callbacks.clear("on_train_batch_end")
    trainer(config(epochs=1), callbacks=callbacks).fit()
    assert "on_train_batch_end" not in {event.name for event in seen}
    callbacks.clear()
    seen.clear()
    trainer(config(epochs=1), callbacks=callbacks).fit()
    assert seen == []


def test_deterministic_algorithms_are_used_while_training_only() -> None:
    used = []
    callbacks = only(
        "on_train_batch_end", lambda _: used.append(torch.are_deterministic_algorithms_enabled())
    )
    trainer(config(epochs=1, deterministic=True), callbacks=callbacks).fit()
    assert used == [True] * 4
    assert not torch.are_deterministic_algorithms_enabled()
