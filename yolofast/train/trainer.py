"""The training loop: epochs, each followed by validation and a checkpoint."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from yolofast.callbacks import NOTHING, Callbacks, EventName, TrainEvent
from yolofast.config import TrainingConfig
from yolofast.errors import CheckpointError, YolofastError
from yolofast.printable import printable
from yolofast.tensor_file import non_finite
from yolofast.train.amp import mixed_precision
from yolofast.train.batches import TrainLoader, epoch_batches
from yolofast.train.checkpoint import (
    CheckpointManager,
    Tensors,
    TrainingState,
    load_optimizer,
    optimizer_tensors,
    with_prefix,
)
from yolofast.train.device import deterministic_algorithms, restore_threads, select_device
from yolofast.train.ema import ModelEma
from yolofast.train.frozen import keep_frozen_statistics
from yolofast.train.history import (
    LOSSES,
    MEASURED,
    Row,
    best_row,
    epochs_without_gain,
    expected_epochs,
    fitness,
    is_finished,
    train_loss,
)
from yolofast.train.monitor import TrainingMonitor, peak_memory_mb
from yolofast.train.optim import LearningRate, build_optimizer, resolved
from yolofast.train.run_state import check_run_state
from yolofast.types import Batch

NO_GAIN_HINT_EPOCHS = 5
"""After so many epochs, or the warm-up, an mAP that is still 0 deserves a word."""
_GROUPS = {"model": "weights", "ema": "averaged weights", "optimizer": "optimizer's averages"}
"""What the tensors of a state are, for messages."""
LAYOUT = torch.channels_last
"""Faster than contiguous on tensor cores and on CPUs: size n at 320 px on two Zen 4 cores takes 0.76 s per
step against 0.96 s in float32, 0.45 s against 0.50 s in bfloat16."""
Validate = Callable[[nn.Module], Mapping[str, float]]
"""The averaged model to metrics, such as map50_95 and val_loss."""
OnBatch = Callable[[int, int, Batch], None]
"""Takes the epoch, the batch's number in it (both counted from 1), and the batch, before it is trained."""
OnPlan = Callable[[int], None]
"""Takes the number of epochs that the run will have, before every epoch: with a time limit it changes."""


@dataclass(frozen=True, eq=False)
class TrainResult(Mapping[str, Any]):
    """The outcome of a training run. Also reads as a mapping of its fields: `result["best_metric"]`."""

    training_history: list[dict[str, float]]
    """Metrics of each epoch, names as in results.csv; `epoch` counts from 1."""
    best_metric: float
    """The best `fitness`: mAP50-95."""
    final_epoch: int
    """The number of the last epoch, counted from 1: how many were trained."""

    def __getitem__(self, name: str) -> Any:
        if name not in iter(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(TrainResult))

    def __len__(self) -> int:
        return len(fields(TrainResult))


class Trainer:
    """Trains a model whose `model(images, targets)` returns the losses (box, cls, dfl) as a tensor [3].

    A model that has a `progress` gets the share of the training that is done in it before every epoch: 0 in
    the first, 1 in the last. Its loss may depend on it. One that has a `default_optimizer` says what the
    optimizer `auto` means for it.

    model        any such module; images float [B, 3, H, W] in 0..1, targets float32 [N, 6]
    loader       yields `Batch`es of torch tensors and has `set_epoch`
    config       `TrainingConfig`
    num_classes  sets the default learning rate of AdamW
    fine_tuning  the model has trained weights; sets that rate, too
    validate     called with the averaged model after every epoch; returns metrics for the history:
                 `map50_95` decides the best epoch and `val_loss` drives the plateau schedule
    checkpoints  saves the state after every epoch; with `config.resume` training resumes from its latest
    monitor      receives the metrics of every epoch, and reports
    progress     show a bar for every epoch
    on_batch     sees every batch before it is trained
    on_plan      is told before every epoch how many the run will have
    callbacks    called at their moments, see `callbacks.EventName`; those of a validation or a checkpoint
                 only with `validate` or `checkpoints`

    With a time limit (`config.time`) the number of epochs is an estimate, made anew after every epoch
    (`expected_epochs`); what depends on the length of the run (learning rate, warm-up, `progress`) follows
    it. The time is that of the epochs in the history, so a resumed run goes on with what it had used.

    After construction, `config` has the optimizer and peak learning rate that were left open (`resolved`),
    and `epoch` is the number of epochs done: 0, or those of the run that is resumed. Raises `ConfigError` for
    a device that is not there, `CheckpointError` when a checkpoint cannot be read or is of another run. A run
    that is resumed on a CPU sets the number of torch's threads, of this process, to what the run had.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: TrainLoader,
        config: TrainingConfig,
        *,
        num_classes: int,
        fine_tuning: bool = False,
        validate: Validate | None = None,
        checkpoints: CheckpointManager | None = None,
        monitor: TrainingMonitor | None = None,
        progress: bool = True,
        on_batch: OnBatch | None = None,
        on_plan: OnPlan | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.device = select_device(config.device)
        self.amp = mixed_precision(config.amp, self.device)
        self.model = model.to(self.device).to(memory_format=LAYOUT)  # type: ignore[call-overload]
        self.loader, self.validate, self.checkpoints = loader, validate, checkpoints
        self.monitor, self.progress = monitor or TrainingMonitor(), progress
        self.on_batch, self.on_plan = on_batch, on_plan
        self.callbacks = callbacks or Callbacks()
        state = checkpoints.load_latest() if config.resume and checkpoints is not None else None
        if state is not None:
            check_run_state(state.values, state.path)
        self.config = resolved(
            config,
            num_classes=num_classes,
            fine_tuning=fine_tuning,
            steps=len(loader) * config.epochs,
            resumed=state.values.get("optimizer", "").lower() or None if state is not None else None,
            default=getattr(model, "default_optimizer", "auto"),
        )
        self.optimizer = build_optimizer(model, self.config)
        self.rate = LearningRate(self.config, len(loader), peak=self.optimizer.param_groups[0]["lr"])
        self.ema = ModelEma(self.model, config.ema_decay, config.ema_tau)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.epoch = 0
        self._saved: Path | None = None  # the checkpoint of `epoch`
        self._told_about_the_rest = False
        self._stopped = False  # by a callback
        self.monitor.history = []
        if state is not None:
            self._resume(state)
        self.rate.epochs = self.epochs

    @property
    def epochs(self) -> int:
        """How many epochs the run will have, unless it stops early: as configured, or as the time allows."""
        return expected_epochs(self.history, epochs=self.config.epochs, hours=self.config.time)

    @property
    def history(self) -> Sequence[Row]:
        """One row of metrics per epoch that is done."""
        return self.monitor.history

    def is_over(self) -> bool:
        """Whether there is nothing left to train: see `fit`."""
        settings = self.config
        return is_finished(
            self.history, epochs=settings.epochs, patience=settings.patience, hours=settings.time
        )

    def fit(self) -> TrainResult:
        """Train to the last epoch or the time limit, or until `patience` epochs brought no better mAP50-95.

        A callback may stop it earlier (`TrainEvent.stop`). A run that is over already stays as it is, and
        calls no callback. Raises `YolofastError` when the loss or the weights are no longer finite,
        `CheckpointError` when a checkpoint cannot be written, and what a callback raises, with a note that
        says of which moment it was; the last checkpoint then is that of the epoch before, or from
        on_model_save on that of the epoch itself.
        """
        trained_before, self._stopped = self.epoch, False
        if self.config.resume:
            self.monitor.report(self._resumed_line())
        with contextlib.ExitStack() as stack:
            if self.progress:
                stack.enter_context(logging_redirect_tqdm())
            if self.config.deterministic:
                stack.enter_context(deterministic_algorithms())
            self._train_epochs()
        if self._stopped and not self.is_over():
            self.monitor.report(f"stopped by a callback after epoch {self.epoch} of {self.epochs}")
        elif trained_before < self.epoch < self.epochs:
            self.monitor.report(f"early stopping: no better mAP50-95 for {self.config.patience} epochs")
        elif trained_before < self.epoch and self.config.time is not None:
            self.monitor.report(f"time limit of {self.config.time:g} h reached in epoch {self.epoch}")
        best = fitness(best_row(self.history)) if self.history else -math.inf
        return TrainResult(list(self.monitor.history), best, self.epoch)

    def _train_epochs(self) -> None:
        if self.is_over():
            return
        self._call("on_train_start", self.epoch + 1)
        if self.config.val_first and not self.epoch:
            self._validate_first()
        self._run_epoch()
        while not (self.is_over() or self._stopped):
            self._run_epoch()
        self._call("on_train_end", self.epoch, metrics=self.history[-1])

    def _validate_first(self) -> None:
        """Report the metrics of the initial weights."""
        if self.validate is not None:
            row = self.validate(self.ema.model)
            scores = f"mAP50 {row['map50']:.4f}, mAP50-95 {row['map50_95']:.4f}"
            self.monitor.report(f"before training: {scores}")

    def _run_epoch(self) -> None:
        """Train, validate, record and save one epoch."""
        started = time.perf_counter()
        row = self._train_epoch()
        self._check_state()
        trained = time.perf_counter() - started
        self._call("on_train_epoch_end", self.epoch + 1, metrics=row)
        if self.validate is not None:
            row |= self.validate(self.ema.model)
            self._call("on_val_end", self.epoch + 1, metrics=row)
        self.rate.plateau.step(row.get("val_loss", train_loss(row)))
        row["images_per_s"] = row.pop("images") / trained
        row["epoch_s"] = time.perf_counter() - started
        row["memory_mb"] = peak_memory_mb(self.device)
        self.epoch += 1
        expected = expected_epochs([*self.history, row], epochs=self.config.epochs, hours=self.config.time)
        self.monitor.log_metrics(self.epoch, row, epochs=expected)
        if self.checkpoints is not None:
            is_best = best_row(self.history) is self.history[-1]
            period = self.config.save_period
            keep = self.epoch if period and self.epoch % period == 0 else None
            self.checkpoints.save(
                self._state(), is_best=is_best, description=self._description(), keep_epoch=keep
            )
            self._saved = self.checkpoints.last
            self._call("on_model_save", self.epoch, metrics=self.history[-1])
        self._call("on_fit_epoch_end", self.epoch, metrics=self.history[-1])
        self._hint_at_no_gain()

    def _train_epoch(self) -> dict[str, float]:
        self._call("on_train_epoch_start", self.epoch + 1)
        self.model.train()
        self.rate.epochs = self.epochs
        if self.on_plan is not None:
            self.on_plan(self.epochs)
        if hasattr(self.model, "progress"):
            self.model.progress = self.epoch / max(1, self.epochs - 1)
        keep_frozen_statistics(self.model)
        self.loader.set_epoch(self.epoch)
        totals = torch.zeros(3, device=self.device)
        rate, images, accumulated = 0.0, 0, 0
        first_step = self.epoch * len(self.loader)
        title = f"epoch {self.epoch + 1}/{self.epochs}"
        with tqdm(
            epoch_batches(self.loader),
            total=len(self.loader),
            desc=title,
            unit="batch",
            leave=False,
            mininterval=1.0,
            disable=not self.progress,
        ) as batches:
            for number, (batch, is_last) in enumerate(batches, start=1):
                if self.on_batch is not None:
                    self.on_batch(self.epoch + 1, number, batch)
                rate = self.rate.apply(self.optimizer, first_step + number - 1)
                losses = self._backward(batch, first_step + number)
                totals += losses * len(batch)
                images += len(batch)
                accumulated += len(batch)
                if accumulated >= self.config.nbs or is_last:
                    self._update()
                    accumulated = 0
                self._call("on_train_batch_end", self.epoch + 1, number, losses)
                if is_last:
                    self._tell_about_the_rest(len(batch), joined=number < len(self.loader))
        mean = (totals / images).tolist()
        return {
            **{f"train_{name}": value for name, value in zip(LOSSES, mean, strict=True)},
            "lr": rate,
            "images": float(images),
        }

    def _backward(self, batch: Batch, step: int) -> torch.Tensor:
        """Accumulate the gradients of one batch; returns the losses [3], detached."""
        images = batch.images.to(self.device, non_blocking=True)
        scaled = images.is_floating_point()  # to 0..1, by the loader
        images = images.to(torch.float32, memory_format=LAYOUT)
        images = images if scaled else images.div_(255)
        targets = batch.targets.to(self.device, non_blocking=True)
        context = torch.autocast(self.device.type, dtype=self.amp) if self.amp else contextlib.nullcontext()
        with context:
            losses = self.model(images, targets)
        total = losses.sum()
        if not math.isfinite(total.item()):
            raise YolofastError(self._advice_on_divergence(f"the loss became {total.item()}", step))
        # The sum over images, not the mean: the usual learning rates assume it.
        self.scaler.scale(total * len(batch)).backward()
        detached: torch.Tensor = losses.detach()
        return detached

    def _update(self) -> None:
        self.scaler.unscale_(self.optimizer)
        if self.config.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.update(self.model)

    def _check_state(self) -> None:
        """Raise `YolofastError` when the last steps broke the state: the checkpoint before them must stay."""
        broken = non_finite(self._tensors())
        if broken is not None:
            problem = f"the {_GROUPS[broken.partition('/')[0]]} became infinite or NaN"
            raise YolofastError(self._advice_on_divergence(problem, (self.epoch + 1) * len(self.loader)))

    def _call(
        self,
        name: EventName,
        epoch: int,
        batch: int = 0,
        losses: torch.Tensor | None = None,
        *,
        metrics: Row = NOTHING,
    ) -> None:
        """Call the callbacks of a moment; `losses` [3] are those of a batch, else they are in `metrics`."""
        functions = self.callbacks.at(name)
        if not functions:
            return
        values = losses.tolist() if losses is not None else [metrics.get(f"train_{part}") for part in LOSSES]
        event = TrainEvent(
            name=name,
            epoch=epoch,
            epochs=self.epochs,
            batch=batch,
            batches=len(self.loader),
            losses={part: value for part, value in zip(LOSSES, values, strict=True) if value is not None},
            metrics={key: value for key, value in metrics.items() if key != "images"},
            model=self.model,
            averaged=self.ema.model,
            saved=self._saved,
            save_dir=self.monitor.directory,
            _stop=self._stop,
        )
        for function in functions:
            try:
                function(event)
            except Exception as error:
                saved = f"saved in {self._saved}" if self._saved is not None else "none"
                error.add_note(f"raised by a callback of {name}, epoch {epoch}; checkpoint: {saved}")
                raise

    def _stop(self) -> None:
        self._stopped = True

    # ------------------------------------------------------------ what is said

    def _resumed_line(self) -> str:
        epochs = self.epochs
        if not self.epoch:
            return "nothing to resume: this run has no checkpoint yet, so it starts at epoch 1"
        if self.config.time is not None and self.epoch >= epochs:
            return (
                f"this run finished after {self.epoch} epochs in {self.config.time:g} h; give more --time "
                "to continue it"
            )
        if self.epoch >= epochs:
            return f"this run finished after {self.epoch} epochs; give more --epochs to continue it"
        if self.is_over():
            return (
                f"this run stopped early after {self.epoch} of {epochs} epochs (no better mAP50-95 for "
                f"{epochs_without_gain(self.history)}); give a larger --patience to continue it"
            )
        return f"resumed after epoch {self.epoch} of {epochs}"

    def _tell_about_the_rest(self, images: int, *, joined: bool) -> None:
        """Say once what became of a last batch of one image: see `epoch_batches`."""
        alone = images == 1 and self.config.batch > 1 and len(self.loader) > 1
        if self._told_about_the_rest or not (joined or alone):
            return
        self._told_about_the_rest = True
        fate = f"is trained with the one before, {images} images together" if joined else "is trained alone"
        why = "" if joined else ", because its size is another"
        self.monitor.report(f"the last batch of an epoch has a single image, which {fate}{why}")

    def _hint_at_no_gain(self) -> None:
        """Say once, when the warm-up should be over, that no object was found in any epoch."""
        config = self.config
        due = min(self.epochs, max(NO_GAIN_HINT_EPOCHS, math.ceil(config.warmup_epochs) + 2))
        scores = [row.get("map50", math.nan) for row in self.history]
        if self.epoch == due and max(scores) < 0.0005:
            steps = self.epoch * len(self.loader)
            self.monitor.report(
                f"mAP50 is 0 up to epoch {self.epoch} (step {steps}). A few hundred steps without a hit are "
                "usual. If it stays so: do the boxes fit the objects, and are the classes right? "
                "train_batch1.png and labels.png (--plots) show it. Then train longer (--epochs) or start "
                "from trained --weights."
            )

    def _advice_on_divergence(self, what: str, step: int) -> str:
        advice = f"Lower --lr0 (now {self.config.lr0:g})"
        advice += " or try --amp off" if self.amp is not None else ""
        saved = f"epoch {self.epoch} is saved in {self._saved}"
        rest = f"and --resume: {saved}" if self._saved is not None else "and start again"
        return f"{what} in epoch {self.epoch + 1}, step {step}. {advice}, {rest}."

    # ------------------------------------------------------------ state

    def _description(self) -> dict[str, str]:
        """What the header of a weights file says about its epoch: the same for the same training."""
        row = {name: value for name, value in self.history[-1].items() if name not in MEASURED}
        metrics = {name: value if math.isfinite(value) else None for name, value in row.items()}
        return {"epoch": str(self.epoch), "metrics": json.dumps(metrics)}

    def _tensors(self) -> Tensors:
        return {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("ema", self.ema.model.state_dict()),
            **with_prefix("optimizer", optimizer_tensors(self.optimizer)),
        }

    def _state(self) -> TrainingState:
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return TrainingState(
            tensors=self._tensors() | with_prefix("rng", rng),
            values={
                "epoch": self.epoch,
                "ema_updates": self.ema.updates,
                "rate": self.rate.state_dict(),
                "scaler": self.scaler.state_dict(),
                "optimizer": type(self.optimizer).__name__,
                "history": self.monitor.history,
                "threads": torch.get_num_threads(),
                "freeze": self.config.freeze,
            },
        )

    def _resume(self, state: TrainingState) -> None:
        try:
            self._restore(state)
        except CheckpointError as error:
            raise CheckpointError(f"{state.path}: {error}") from None
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = printable(f"{type(error).__name__}: {error}", 200)
            raise CheckpointError(f"{state.path}: the training state cannot be restored: {reason}.") from None
        self._saved = state.path

    def _restore(self, state: TrainingState) -> None:
        values = state.values
        if values["optimizer"] != type(self.optimizer).__name__:
            raise CheckpointError(
                f"the checkpoint was made with {values['optimizer']}, this run uses "
                f"{type(self.optimizer).__name__}. Resume with the run's own settings."
            )
        if (frozen := values.get("freeze", 0)) != self.config.freeze:
            raise CheckpointError(
                f"the run was trained with --freeze {frozen}, got --freeze {self.config.freeze}. Resume "
                "without --freeze, or start a new run from its weights."
            )
        try:
            self.model.load_state_dict(state.group("model"))
            self.ema.model.load_state_dict(state.group("ema"))
        except RuntimeError as error:
            reason = printable((str(error).splitlines()[1:2] or [str(error)])[0].strip(), 200)
            raise CheckpointError(f"the checkpoint belongs to another model: {reason}") from None
        load_optimizer(self.optimizer, state.group("optimizer"))
        rng = state.group("rng")
        torch.set_rng_state(rng["cpu"])
        if "cuda" in rng and self.device.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], self.device)
        if (threads := values.get("threads")) is not None and self.device.type == "cpu":
            restore_threads(threads, self.monitor.report)
        self.epoch = values["epoch"]
        self.ema.updates = values["ema_updates"]
        self.rate.load_state_dict(values["rate"])
        if values["scaler"]:  # there is none in a run that began without float16
            self.scaler.load_state_dict(values["scaler"])
        self.monitor.resume(values["history"])
