"""What a training run says of itself: the header before its first epoch, pictures, and its weights files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError, DataError, MissingExtraError
from yolofast.files import write_json
from yolofast.printable import command_line, printable
from yolofast.result_pictures import optional_picture
from yolofast.runs import BATCH_NAME, DATA_FLOW_NAME, LABELS_NAME
from yolofast.types import Batch

if TYPE_CHECKING:
    from yolofast.load import DataFlowMonitor, YOLODataset
    from yolofast.train import Trainer, TrainingMonitor

RESULTS_NAME = "results.png"
BATCH_PICTURES = 3
MAX_NAMES_SHOWN = 8


def training_header(
    config: YOLOConfig, trainer: Trainer, train: YOLODataset, valid: YOLODataset
) -> list[str]:
    """What is trained on what and where, one line each; `config` has the settings that are used."""
    import torch

    settings, dataset = config.training, config.dataset
    device = str(trainer.device)
    if trainer.device.type == "cuda":
        device += f" ({torch.cuda.get_device_name(trainer.device)})"
    parameters = sum(p.numel() for p in trainer.model.parameters())
    names = ", ".join(train.class_names[:MAX_NAMES_SHOWN])
    more = "" if len(train.class_names) <= MAX_NAMES_SHOWN else ", ..."
    rate, asked = trainer.rate, settings.warmup_epochs
    is_capped = rate.warmup_steps < round(asked * rate.steps_per_epoch)
    capped = f" (--warmup-epochs {asked:g} is too long for this run)" if is_capped else ""
    shape = "rectangular" if dataset.rect else "multi-scale" if dataset.multi_scale else "square"
    length = f"{settings.epochs}" if settings.time is None else f"as many as {settings.time:g} h allow"
    chosen = [train.data.names[number] for number in train.classes or ()]
    only = f"; only boxes of {', '.join(chosen)}" if chosen else ""
    return [
        f"run        {config.logging.run_dir}",
        f"device     {device}, {str(trainer.amp or torch.float32).removeprefix('torch.')}",
        f"model      {config.model.model}, {parameters / 1e6:.2f} M parameters",
        f"data       {train.data.path}",
        f"images     {len(train)} for training, {len(valid)} for validation",
        f"classes    {len(train.class_names)}: {names}{more}{only}",
        f"batch      {settings.batch} images, {dataset.imgsz} px, {shape}",
        f"epochs     {length}, of {len(trainer.loader)} batches each",
        f"optimizer  {settings.optimizer}, lr {settings.lr0:.3g}, warm-up "
        f"{rate.warmup_steps / rate.steps_per_epoch:.3g} epochs{capped}",
    ]


def weights_metadata(config: YOLOConfig) -> dict[str, str]:
    """What the weights files of a run say of it, besides their model: imgsz, and the settings as JSON.

    Settings that are paths are left out: they are of one machine.
    """
    settings = {
        section: {name: value for name, value in values.items() if not isinstance(value, Path)}
        for section, values in asdict(config).items()
        if section not in ("logging", "export")
    }
    return {"imgsz": str(config.dataset.imgsz), "settings": json.dumps(settings)}


def check_same_classes(header: Mapping[str, str], names: Sequence[str], data: Path, weights: Path) -> None:
    """Raise `CheckpointError` when the run that is resumed was trained on other classes than `names`."""
    try:
        saved = [str(name) for name in json.loads(header.get("class_names", "[]"))]
    except (ValueError, TypeError, RecursionError):  # of a header that was edited
        saved = ["unreadable names"]
    if saved != list(names):
        raise CheckpointError(
            f"{data}: its classes are now {', '.join(names)}, but this run was trained on "
            f"{printable(', '.join(saved), 1000)}. Start a new run with --weights {command_line(weights)}, "
            "which takes classes over by name."
        )


def interrupted_line(folder: Path, epoch: int) -> str:
    """What to say when a run is interrupted after `epoch`, the last that was saved; 0 = none."""
    if not epoch:
        return "interrupted in epoch 1: nothing is saved yet"
    command = command_line("yolofast", "train", "--resume", folder)
    return f"interrupted: saved epoch {epoch}; continue with: {command}"


def plot_history(monitor: TrainingMonitor) -> None:
    """results.png of the epochs that were trained, next to results.csv; nothing without any."""
    from yolofast.evaluate.plots import plot_training

    if monitor.history and monitor.directory is not None:
        path = monitor.directory / RESULTS_NAME
        with optional_picture(path):
            plot_training(monitor.history, path)


def write_data_flow(folder: Path, flow: DataFlowMonitor) -> None:
    """Where the loader's time went, as JSON and, where matplotlib is installed, as a picture."""
    write_json(folder / DATA_FLOW_NAME, flow.report())
    path = (folder / DATA_FLOW_NAME).with_suffix(".png")
    with optional_picture(path), contextlib.suppress(MissingExtraError, DataError):  # too few batches
        flow.plot(path)


class RunPictures:
    """Pictures in a run's folder of what the network gets to see, drawn when the run begins."""

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        self.folder, self.class_names = folder, class_names

    def add_labels(self, dataset: YOLODataset) -> None:
        """labels.png: how many boxes of which class, where they lie and how large they are."""
        from yolofast.evaluate.training_pictures import plot_labels

        labels, path = dataset.index.labels, self.folder / LABELS_NAME
        with optional_picture(path):
            plot_labels(labels.rows, labels.offsets, self.class_names, path)

    def add_batch(self, epoch: int, number: int, batch: Batch) -> None:
        """train_batch1.png and its successors: the first batches, as the network gets them, with boxes."""
        from yolofast.evaluate.training_pictures import plot_batch

        if epoch == 1 and number <= BATCH_PICTURES:
            path = self.folder / BATCH_NAME.format(number)
            with optional_picture(path):
                plot_batch(batch, self.class_names, path)
