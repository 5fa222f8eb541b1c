"""The training loop on a model small enough to follow by hand."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from yolofast.config import TrainingConfig
from yolofast.errors import CheckpointError, ConfigError, YolofastError
from yolofast.pipeline import print_line
from yolofast.tensor_file import write_tensors
from yolofast.train import CheckpointManager, Trainer, TrainingMonitor, mixed_precision, select_device
from yolofast.train.monitor import duration
from yolofast.types import Batch

CPU = torch.device("cpu")


class Mean(nn.Module):
    """Fits the mean brightness of the images: box loss (w - mean)^2, other losses 0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1))

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = ((self.w - images.mean()) ** 2).sum()
        return torch.stack([loss, loss * 0, loss * 0])


class Loader:
    """By default four batches of two images of brightness 51 (0.2).

    `sides` gives each batch's image size, `values` its brightness; every image has one box.
    """

    def __init__(
        self,
        brightness: float = 51,
        counts: Sequence[int] = (2, 2, 2, 2),
        sides: Sequence[int] = (),
        values: Sequence[float] = (),
    ) -> None:
        self.epochs: list[int] = []
        self.counts, self.sides = counts, sides or [4] * len(counts)
        self.values = values or [brightness] * len(counts)

    def __len__(self) -> int:
        return len(self.counts)

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self) -> Iterator[Batch]:
        for number, (count, side, value) in enumerate(zip(self.counts, self.sides, self.values, strict=True)):
            targets = torch.tensor([[i, 0, 0.5, 0.5, 0.5, 0.5] for i in range(count)])
            paths = tuple(f"{number}-{i}" for i in range(count))
            images = torch.full((count, 3, side, side), value)
            yield Batch(images, targets, paths, torch.full((count, 2), side))


def config(**changes: Any) -> TrainingConfig:
    options: dict[str, Any] = {"epochs": 6, "device": "cpu", "optimizer": "sgd", "lr0": 0.1, "amp": "off"}
    return TrainingConfig(**options | {"warmup_epochs": 0.0, "momentum": 0.0, "weight_decay": 0.0} | changes)


def trainer(settings: TrainingConfig, **options: Any) -> Trainer:
    model, loader = options.pop("model", None) or Mean(), options.pop("loader", None) or Loader()
    return Trainer(model, loader, settings, num_classes=1, **options)


def scores(*values: float) -> Callable[[nn.Module], dict[str, float]]:
    """A `validate` that gives these mAPs, epoch by epoch."""
    left = iter(values)
    return lambda _: {"map50": (score := next(left)), "map50_95": score, "val_loss": 1.0}


def test_it_learns_and_reports_every_epoch(tmp_path: Path) -> None:
    loader = Loader()
    made = trainer(config(), loader=loader, monitor=TrainingMonitor(tmp_path))
    result = made.fit()
    assert made.model.w.item() == pytest.approx(0.2, abs=1e-3)
    assert loader.epochs == list(range(6))
    assert result.final_epoch == 6
    assert [row["epoch"] for row in result.training_history] == [1, 2, 3, 4, 5, 6]
    losses = [row["train_box"] for row in result.training_history]
    assert losses == sorted(losses, reverse=True)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert len(lines) == 7
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4", "5", "6"]


def test_the_result_reads_as_an_object_and_as_a_mapping() -> None:
    result = trainer(config(epochs=2)).fit()
    assert dict(result) == {
        "training_history": result.training_history,
        "best_metric": result.best_metric,
        "final_epoch": 2,
    }
    assert "best_metric" in result
    assert "resume" not in result
    with pytest.raises(KeyError):
        result["resume"]


def test_images_that_are_scaled_already_are_used_unchanged() -> None:
    made = trainer(config(), loader=Loader(brightness=0.2))
    made.fit()
    assert made.model.w.item() == pytest.approx(0.2, abs=1e-3)


def test_gradients_are_summed_up_to_the_nominal_batch() -> None:
    """Two batches of two summed to nbs 4 make one step of the same size as plain SGD on four."""
    made = trainer(config(epochs=1, nbs=4, lrf=1.0))
    made.fit()
    w = 0.0
    for _ in range(2):  # 4 batches = 2 steps; gradient = 2 batches x 2 images x 2 (w - 0.2)
        w -= 0.1 * 2 * 2 * 2 * (w - 0.2)
    assert made.model.w.item() == pytest.approx(w, rel=1e-5)
    assert made.ema.updates == 2


def test_gradient_clipping_bounds_the_step() -> None:
    made = trainer(config(epochs=1, clip_norm=0.01, lrf=1.0))
    made.fit()
    assert made.model.w.item() == pytest.approx(4 * 0.1 * 0.01, rel=1e-4)


class Progressing(Mean):
    """Keeps the progress that it was trained with, one number for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = 0.5
        self.seen: list[float] = []

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.seen.append(self.progress)
        return super().forward(images, targets)


@pytest.mark.parametrize(("epochs", "wanted"), [(5, [0, 0.25, 0.5, 0.75, 1]), (2, [0, 1]), (1, [0])])
def test_the_model_is_told_the_progress_before_every_epoch(epochs: int, wanted: list[float]) -> None:
    model = Progressing()
    loader = Loader(counts=(2, 2))
    Trainer(model, loader, config(epochs=epochs), num_classes=1, progress=False).fit()
    assert model.seen == [value for value in wanted for _ in range(2)]


def test_the_progress_of_a_resumed_run_is_that_of_its_epochs(tmp_path: Path) -> None:
    """Also when the run was made longer: it is a function of the epoch and the number of epochs."""
    Trainer(
        Progressing(),
        Loader(counts=(2,)),
        config(epochs=3),
        num_classes=1,
        progress=False,
        checkpoints=CheckpointManager(tmp_path),
    ).fit()
    model = Progressing()
    settings = config(epochs=5, resume=True)
    Trainer(
        model,
        Loader(counts=(2,)),
        settings,
        num_classes=1,
        progress=False,
        checkpoints=CheckpointManager(tmp_path),
    ).fit()
    assert model.seen == [0.75, 1.0]


def test_patience_stops_and_best_is_kept(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    made = trainer(config(patience=2), checkpoints=manager, validate=scores(0.1, 0.5, 0.4, 0.3, 0.2, 0.1))
    result = made.fit()
    assert result.best_metric == 0.5
    assert result.final_epoch == 4
    assert manager.best.exists()


def test_a_validation_split_without_boxes_still_leaves_a_best_model(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    validate = lambda _: {"map50_95": math.nan, "val_loss": 1.0}  # noqa: E731
    trainer(config(epochs=2), checkpoints=manager, validate=validate).fit()
    assert manager.best.exists()


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize(("maps", "best"), [((0.0, 0.0, 0.0), 3), ((0.2, 0.4, 0.4), 3), ((0.2, 0.4, 0.3), 2)])
def test_of_equal_epochs_the_later_one_is_kept(tmp_path: Path, maps: tuple[float, ...], best: int) -> None:
    manager = CheckpointManager(tmp_path)
    trainer(config(epochs=3), checkpoints=manager, validate=scores(*maps)).fit()
    found = header(manager.best)
    assert found["epoch"] == str(best)
    assert json.loads(found["metrics"])["map50_95"] == maps[best - 1]
    assert header(manager.last)["epoch"] == "3"


def test_a_run_that_stopped_early_stays_finished(tmp_path: Path) -> None:
    manager, lines = CheckpointManager(tmp_path), list[str]()
    monitor = TrainingMonitor(report=lines.append)
    first = trainer(config(patience=2), checkpoints=manager, validate=scores(0.5, 0.4, 0.3)).fit()
    resumed = config(patience=2, resume=True)
    again = trainer(resumed, checkpoints=manager, monitor=monitor, validate=scores()).fit()
    assert again.final_epoch == first.final_epoch == 3
    assert again.best_metric == 0.5
    assert lines == [
        "this run stopped early after 3 of 6 epochs (no better mAP50-95 for 2); give a larger --patience "
        "to continue it"
    ]
    longer = config(patience=4, resume=True)
    assert trainer(longer, checkpoints=manager, validate=scores(0.6, 0.5, 0.5)).fit().final_epoch == 6


def test_auto_stays_what_it_was_when_a_run_gets_longer(tmp_path: Path) -> None:
    """10,001 steps and more are SGD in a new run."""
    manager = CheckpointManager(tmp_path)
    open_ended = config(optimizer="auto", lr0=None, epochs=1)
    first = trainer(open_ended, checkpoints=manager)
    first.fit()
    longer = replace(open_ended, epochs=3000, resume=True)
    made = trainer(longer, checkpoints=manager)
    assert isinstance(made.optimizer, torch.optim.AdamW)
    assert (made.config.optimizer, made.config.lr0) == ("adamw", first.config.lr0)
    assert made.epoch == 1
    assert isinstance(trainer(replace(longer, resume=False)).optimizer, torch.optim.SGD)


def test_a_run_without_float16_is_resumed_on_a_device_with_it(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    trainer(config(epochs=1), checkpoints=manager).fit()
    made = trainer(config(epochs=2), checkpoints=manager)
    made.scaler = torch.amp.GradScaler("cpu", enabled=True)
    state = manager.load_latest()
    assert state is not None
    made._restore(state)
    assert made.epoch == 1


def test_rows_of_earlier_versions_are_numbered_from_1(tmp_path: Path) -> None:
    monitor = TrainingMonitor(tmp_path)
    monitor.resume([{"epoch": 0.0, "map50": 0.1}, {"epoch": 1.0, "map50": 0.2}])
    rows = (tmp_path / "results.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "2"]


def test_the_training_loss_is_that_of_the_images() -> None:
    """A short batch counts by its images: (0 - 0)^2 for three of four, (0 - 1)^2 for one."""
    made = trainer(config(epochs=1, lr0=1e-30), loader=Loader(counts=(3, 1), sides=(4, 8), values=(0.0, 1.0)))
    assert made.fit().training_history[0]["train_box"] == pytest.approx(0.25)


class Norm(nn.Module):
    """A batch norm over maps of one cell for images of 4 pixels; counts its batches and their boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 4, stride=4), nn.BatchNorm2d(2)
        self.seen: list[tuple[int, list[int]]] = []

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(images), targets[:, 0].int().tolist()))
        loss = self.norm(self.conv(images)).square().mean()
        return torch.stack([loss, loss * 0, loss * 0])


def test_a_last_batch_of_one_image_joins_the_one_before() -> None:
    model, lines = Norm(), list[str]()
    monitor = TrainingMonitor(report=lines.append)
    trainer(config(epochs=2), model=model, loader=Loader(counts=(2, 2, 1)), monitor=monitor).fit()
    assert model.seen == [(2, [0, 1]), (3, [0, 1, 2])] * 2
    said = [line for line in lines if "single image" in line]
    assert said == [
        "the last batch of an epoch has a single image, which is trained with the one before, "
        "3 images together"
    ]


def test_a_last_image_of_another_size_is_trained_alone() -> None:
    model, lines = Norm(), list[str]()
    monitor = TrainingMonitor(report=lines.append)
    loader = Loader(counts=(2, 2, 1), sides=(4, 4, 8))
    trainer(config(epochs=1), model=model, loader=loader, monitor=monitor).fit()
    assert [count for count, _ in model.seen] == [2, 2, 1]
    assert sum("trained alone, because its size is another" in line for line in lines) == 1


@pytest.mark.parametrize("counts", [(2, 2), (3,), (4, 3)])
def test_other_last_batches_are_left_as_they_are(counts: tuple[int, ...]) -> None:
    model, lines = Norm(), list[str]()
    monitor = TrainingMonitor(report=lines.append)
    trainer(config(epochs=1), model=model, loader=Loader(counts=counts), monitor=monitor).fit()
    assert [count for count, _ in model.seen] == list(counts)
    assert not any("single image" in line for line in lines)


def test_every_batch_is_shown_before_it_is_trained() -> None:
    seen: list[tuple[int, int, int]] = []
    trainer(config(epochs=2), on_batch=lambda *at: seen.append((*at[:2], len(at[2])))).fit()
    assert seen == [(epoch, number, 2) for epoch in (1, 2) for number in (1, 2, 3, 4)]


def test_a_map_that_stays_0_is_explained_once() -> None:
    lines: list[str] = []
    monitor = TrainingMonitor(report=lines.append)
    trainer(config(epochs=8), monitor=monitor, validate=scores(*[0.0] * 8)).fit()
    hints = [line for line in lines if "mAP50 is 0 up to epoch 5 (step 20)" in line]
    assert len(hints) == 1
    assert lines.index(hints[0]) == 5, "after the fifth epoch's line"
    lines.clear()
    trainer(config(epochs=8), monitor=monitor, validate=scores(0.0, 0.1, *[0.0] * 6)).fit()
    assert not any("mAP50 is 0" in line for line in lines)


def test_lines_say_the_epoch_and_how_long_the_rest_takes() -> None:
    lines: list[str] = []
    trainer(config(epochs=3), monitor=TrainingMonitor(log_interval=2, report=lines.append)).fit()
    assert [line.split()[1] for line in lines] == ["1/3", "3/3"]
    assert lines[0].endswith("s left")
    assert "left" not in lines[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (99.4, "99 s"), (150, "2 min"), (5940, "99 min"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_can_be_switched_off(progress: bool, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(config(epochs=1), progress=progress).fit()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("epoch 1/1" in shown.err) == progress
    assert bool(shown.err) == progress


def test_a_second_run_does_not_go_on_with_the_first_ones_history() -> None:
    monitor = TrainingMonitor()
    for _ in range(2):
        assert trainer(config(epochs=2), monitor=monitor).fit().final_epoch == 2
        assert len(monitor.history) == 2


class Breaks(Loader):
    """Infinitely bright from the given epoch on."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.breaks_in = epoch

    def set_epoch(self, epoch: int) -> None:
        if epoch + 1 == self.breaks_in:
            self.values = [math.inf] * 4


@pytest.mark.parametrize(
    ("epoch", "saves", "message"),
    [
        (1, True, r"in epoch 1, step 1\. Lower --lr0 \(now 0\.1\), and start again\."),
        (
            3,
            True,
            r"in epoch 3, step 9\. Lower --lr0 \(now 0\.1\), and --resume: epoch 2 is saved in .*last\.safe",
        ),
        (3, False, r"in epoch 3, step 9\. Lower --lr0 \(now 0\.1\), and start again\."),
    ],
)
def test_a_loss_that_is_not_finite_stops_with_advice_that_is_true(
    tmp_path: Path, epoch: int, saves: bool, message: str
) -> None:
    checkpoints = CheckpointManager(tmp_path) if saves else None
    with pytest.raises(YolofastError, match=r"the loss became (nan|inf) " + message):
        trainer(config(), loader=Breaks(epoch), checkpoints=checkpoints).fit()


def test_weights_that_the_last_step_broke_are_not_saved(tmp_path: Path) -> None:
    """The loss is still that of the step before: only the next epoch would notice, too late to resume."""
    checkpoints = CheckpointManager(tmp_path)
    advice = r"the weights became infinite or NaN in epoch 1, step 1\..* \(now 1e\+38\), and start again"
    with pytest.raises(YolofastError, match=advice):
        trainer(config(lr0=1e38), loader=Loader(10.0, counts=(2,)), checkpoints=checkpoints).fit()
    assert not checkpoints.last.exists()
    trainer(config(epochs=1, lr0=1e-3), loader=Loader(10.0, counts=(2,)), checkpoints=checkpoints).fit()
    with pytest.raises(YolofastError, match=r"in epoch 2, step 2\..* and --resume: epoch 1 is saved"):
        trainer(
            config(epochs=3, lr0=1e38, resume=True), loader=Loader(10.0, counts=(2,)), checkpoints=checkpoints
        ).fit()
    resumed = trainer(
        config(epochs=3, lr0=1e-3, resume=True), loader=Loader(10.0, counts=(2,)), checkpoints=checkpoints
    )
    assert resumed.fit().final_epoch == 3


@pytest.mark.parametrize("part", ["averaged weights", "optimizer's averages"])
def test_a_state_that_a_step_broke_is_not_saved(tmp_path: Path, part: str) -> None:
    """The weights are still finite: the run would go on from it, and never recover."""
    checkpoints = CheckpointManager(tmp_path)

    def breaks(epoch: int, number: int, batch: Batch) -> None:
        if (epoch, number) == (3, 4):
            entry = made.optimizer.state[made.model.w]["exp_avg_sq"]
            (made.ema.model.w.data if part == "averaged weights" else entry).fill_(math.inf)

    made = trainer(config(optimizer="adamw"), checkpoints=checkpoints, on_batch=breaks)
    advice = rf"the {part} became infinite or NaN in epoch 3.*epoch 2 is saved in {checkpoints.last}\."
    with pytest.raises(YolofastError, match=advice):
        made.fit()
    state = checkpoints.load_latest()
    assert state is not None
    assert state.values["epoch"] == 2
    assert len(made.history) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": "1"}, "the training state has epoch '1', expected a whole number"),
        ({"epoch": True}, "has epoch True"),
        ({"epoch": 2}, "1 rows of history, expected one for each of its 2 epochs"),
        ({"ema_updates": -1}, "has ema_updates -1"),
        ({"rate": [1]}, r"has rate \[1\], expected numbers by name"),
        ({"rate": {}}, "cannot be restored: KeyError"),
        ({"scaler": {"scale": "\x1b"}}, r"has scaler {'scale': '\\x1b'}"),
        ({"optimizer": None}, "has optimizer None, expected SGD, AdamW or MuSGD"),
        ({"optimizer": "a:w"}, "has optimizer 'a:w', expected SGD, AdamW or MuSGD"),
        ({"history": [{"epoch": None}]}, "makes no sense"),
        ({"threads": 0}, "has threads 0"),
        ({"tensors": {"rng/cpu": torch.zeros(3)}}, "cannot be restored: TypeError"),
        ({"tensors": {"rng/cpu": torch.zeros(3, dtype=torch.uint8)}}, "cannot be restored: RuntimeError"),
        ({"tensors": {"model/w": torch.zeros(3)}}, "belongs to another model"),
    ],
)
def test_a_state_of_wrong_types_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    manager = CheckpointManager(tmp_path)
    trainer(config(epochs=1), checkpoints=manager).fit()
    saved = manager.load_latest()
    assert saved is not None
    tensors = saved.tensors | changes.pop("tensors", {})
    text = json.dumps(saved.values | changes)
    write_tensors(manager.last, tensors, {"yolofast_training": text})
    with pytest.raises(CheckpointError, match=message) as caught:
        trainer(config(resume=True), checkpoints=manager)
    assert str(manager.last) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def threads() -> Iterator[None]:
    """Gives torch its number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_run_is_resumed_on_as_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    manager, lines = CheckpointManager(tmp_path), list[str]()
    torch.set_num_threads(3)
    trainer(config(epochs=1), checkpoints=manager).fit()
    torch.set_num_threads(1)
    monitor = TrainingMonitor(report=lines.append)
    trainer(config(resume=True), checkpoints=manager, monitor=monitor)
    assert torch.get_num_threads() == 3
    assert lines == ["torch uses 3 threads instead of 1, as this run did before"]
    trainer(config(resume=True), checkpoints=manager, monitor=monitor)
    assert len(lines) == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    torch.set_num_threads(2)
    trainer(config(resume=True), checkpoints=manager, monitor=monitor)
    assert torch.get_num_threads() == 2
    assert "used 3 torch threads before and uses 2 now" in lines[1]


def test_lines_and_warnings_do_not_run_into_the_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an epoch whose last batch joins the one before (said) and whose loader warns."""
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(sys.stderr)])
    monitor = TrainingMonitor(report=print_line)

    class Warns(Loader):
        def __iter__(self) -> Iterator[Batch]:
            logging.getLogger("loader").warning("replaced by another image: a.jpg")
            yield from super().__iter__()

    trainer(config(epochs=1), loader=Warns(counts=(2, 1)), monitor=monitor).fit()
    shown = re.split(r"[\r\n]+", capsys.readouterr().err)
    assert "replaced by another image: a.jpg" in shown
    assert any(line.startswith("the last batch of an epoch has a single image") for line in shown)


def test_resume_needs_the_same_optimizer(tmp_path: Path) -> None:
    manager = CheckpointManager(tmp_path)
    trainer(config(epochs=1), checkpoints=manager).fit()
    with pytest.raises(CheckpointError, match="made with SGD, this run uses AdamW"):
        trainer(config(optimizer="adamw", resume=True), checkpoints=manager).fit()


def test_resume_without_a_checkpoint_starts_at_the_beginning(tmp_path: Path) -> None:
    assert (
        trainer(config(epochs=1, resume=True), checkpoints=CheckpointManager(tmp_path)).fit().final_epoch == 1
    )


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "99"])
def test_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device: got '{name}'"):
        select_device(name)


def test_mixed_precision_policy() -> None:
    assert mixed_precision("off", CPU) is None
    assert mixed_precision("on", CPU) is torch.bfloat16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert mixed_precision("auto", CPU) is (torch.bfloat16 if native else None)


class Slow:
    """A `validate` that takes so many seconds by a clock of its own, epoch by epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
        self.now, self.seconds = 0.0, iter(seconds)
        monkeypatch.setattr("yolofast.train.trainer.time.perf_counter", self._tick)

    def _tick(self) -> float:
        self.now += 0.001
        return self.now

    def __call__(self, _: nn.Module) -> dict[str, float]:
        self.now += next(self.seconds)
        return {"map50": 0.1, "map50_95": self.now / 1e6, "val_loss": 1.0}


class WithProgress(Mean):
    """Notes the share of the training that is done, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[float] = []

    @property
    def progress(self) -> float:
        return self.shares[-1] if self.shares else 0.0

    @progress.setter
    def progress(self, share: float) -> None:
        self.shares.append(share)


def test_a_time_limit_ends_training_and_the_schedule_follows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Epochs of 15 minutes in one hour: four, though 2 were asked for, and the rate falls over four."""
    planned: list[int] = []
    lines: list[str] = []
    model = WithProgress()
    made = trainer(
        config(epochs=2, time=1.0, lrf=0.0),
        model=model,
        loader=Loader(counts=(2,) * 10),
        validate=Slow(monkeypatch, *[900.0] * 9),
        checkpoints=CheckpointManager(tmp_path),
        monitor=TrainingMonitor(report=lines.append),
        on_plan=planned.append,
    )
    result = made.fit()
    assert result.final_epoch == 4
    assert planned == [2, 4, 4, 4]
    assert model.shares == pytest.approx([0, 1 / 3, 2 / 3, 1])
    rates = [row["lr"] for row in result.training_history]
    assert rates == pytest.approx([0.1 * (1 - 9 / 20), *(0.1 * (1 - (10 * e + 9) / 40) for e in (1, 2, 3))])
    assert lines[-1] == "time limit of 1 h reached in epoch 4"
    assert "epoch   1/4" in lines[0]
    assert "45 min left" in lines[0]


def test_a_resumed_run_has_used_the_time_that_it_had_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkpoints = CheckpointManager(tmp_path)
    first = trainer(
        config(epochs=50, time=0.5), validate=Slow(monkeypatch, *[900.0] * 9), checkpoints=checkpoints
    )
    assert first.fit().final_epoch == 2
    lines: list[str] = []
    over = trainer(
        config(epochs=50, time=0.5, resume=True),
        checkpoints=checkpoints,
        monitor=TrainingMonitor(report=lines.append),
    )
    assert over.is_over()
    assert over.fit().final_epoch == 2
    assert lines == ["this run finished after 2 epochs in 0.5 h; give more --time to continue it"]
    more = trainer(
        config(epochs=50, time=1.0, resume=True),
        validate=Slow(monkeypatch, *[600.0] * 9),
        checkpoints=checkpoints,
        monitor=TrainingMonitor(report=lines.append),
    )
    assert more.epochs == 4
    assert more.fit().final_epoch == 5  # the half hour that is left has three epochs of ten minutes
    assert "resumed after epoch 2 of 4" in lines


def test_patience_ends_a_run_with_a_time_limit() -> None:
    lines: list[str] = []
    made = trainer(
        config(time=100.0, patience=2),
        validate=scores(0.5, 0.4, 0.3, 0.2),
        monitor=TrainingMonitor(report=lines.append),
    )
    assert made.fit().final_epoch == 3
    assert lines[-1] == "early stopping: no better mAP50-95 for 2 epochs"
