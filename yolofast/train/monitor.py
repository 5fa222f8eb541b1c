"""TrainingMonitor: the metrics of a run, in the log and in results.csv."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from yolofast.files import write_text
from yolofast.process_memory import peak_resident_mib
from yolofast.stopwatch import Report
from yolofast.train.history import train_loss, usual_seconds

_log = logging.getLogger(__name__)

COLUMNS = (
    "epoch",
    "train_box",
    "train_cls",
    "train_dfl",
    "val_box",
    "val_cls",
    "val_dfl",
    "val_loss",
    "precision",
    "recall",
    "map50",
    "map50_95",
    "lr",
    "images_per_s",
    "epoch_s",
    "memory_mb",
)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: of the GPU on CUDA, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_resident_mib()


OnEpoch = Callable[[Mapping[str, float]], object]
"""Takes the metrics of an epoch by name: epoch (from 1), loss, map50, map50_95, lr, ..."""


class TrainingMonitor:
    """Writes one row per epoch to `directory/results.csv` and reports a line every `log_interval` epochs.

    directory     folder of results.csv; None = report only
    log_interval  report every N epochs (results.csv has every epoch)
    report        takes the lines for people, those of the trainer too; omitted means they are logged
    on_epoch      called with the row of every epoch, once it is in results.csv; what it raises ends training
    """

    def __init__(
        self,
        directory: Path | None = None,
        log_interval: int = 1,
        report: Report = _log.info,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.directory = directory
        self.log_interval = log_interval
        self.report = report
        self.on_epoch = on_epoch
        self.history: list[dict[str, float]] = []

    def resume(self, history: Sequence[Mapping[str, float]]) -> None:
        """Start from the history of a resumed run; rows of epochs after its checkpoint are dropped.

        There is a row per epoch, so they are numbered anew: earlier versions counted from 0.
        """
        self.history = [{**row, "epoch": float(number)} for number, row in enumerate(history, start=1)]
        self._write()

    def log_metrics(self, epoch: int, metrics: Mapping[str, float], *, epochs: int | None = None) -> None:
        """Record the metrics of an epoch (counted from 1); `COLUMNS` lists the names that results.csv has.

        With the number of `epochs` of the run, the line also says how long the rest takes.
        """
        row = {"epoch": float(epoch), **metrics}
        self.history.append(row)
        self._write()
        if self.on_epoch is not None:
            self.on_epoch(dict(row))
        if (epoch - 1) % self.log_interval and epoch != epochs:
            return
        val, map50, map50_95, rate, speed, seconds = (
            row.get(k, math.nan) for k in ("val_loss", "map50", "map50_95", "lr", "images_per_s", "epoch_s")
        )
        line = (
            f"epoch {epoch:3d}{f'/{epochs}' if epochs else ''}  loss {train_loss(row):.3f}  val {val:.3f}  "
            f"mAP50 {map50:.3f}  mAP50-95 {map50_95:.3f}  lr {rate:.2e}  {speed:.1f} img/s  {seconds:.1f} s"
        )
        left = (epochs or epoch) - epoch
        self.report(f"{line}  {duration(left * usual_seconds(self.history))} left" if left else line)

    def _write(self) -> None:
        if self.directory is None:
            return
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.history:
            writer.writerow([_cell(name, row.get(name)) for name in COLUMNS])
        write_text(self.directory / "results.csv", lines.getvalue())


def _cell(name: str, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if name == "epoch" else f"{value:.6g}"


def duration(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
