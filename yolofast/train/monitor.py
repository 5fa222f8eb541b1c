"""TrainingMonitor: the metrics of a run, in the log and in results.csv."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from yolofast.files import write_text
from yolofast.process_memory import peak_resident_mib

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


class TrainingMonitor:
    """Writes one row per epoch to `directory/results.csv` and logs a line every `log_interval` epochs.

    directory     folder of results.csv; None = log only
    log_interval  log every N epochs (results.csv has every epoch)
    """

    def __init__(self, directory: Path | None = None, log_interval: int = 1) -> None:
        self.directory = directory
        self.log_interval = log_interval
        self.history: list[dict[str, float]] = []

    def resume(self, history: Sequence[Mapping[str, float]]) -> None:
        """Start from the history of a resumed run; rows of epochs after its checkpoint are dropped."""
        self.history = [dict(row) for row in history]
        self._write()

    def log_metrics(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch (counted from 0); `COLUMNS` lists the names that results.csv has."""
        row = {"epoch": float(epoch), **metrics}
        self.history.append(row)
        self._write()
        if epoch % self.log_interval == 0:
            _log.info(
                "epoch %3d  loss %.3f  val %.3f  mAP50 %.3f  mAP50-95 %.3f  lr %.2e  %.1f img/s  %.1f s",
                epoch + 1,
                sum(row.get(k, math.nan) for k in ("train_box", "train_cls", "train_dfl")),
                *(row.get(k, math.nan) for k in ("val_loss", "map50", "map50_95", "lr")),
                *(row.get(k, math.nan) for k in ("images_per_s", "epoch_s")),
            )

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
    return str(int(value) + 1) if name == "epoch" else f"{value:.6g}"
