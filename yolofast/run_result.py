"""What a training run returns: its history, and the evaluation of its best epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import DataError
from yolofast.evaluate.box_metrics import BoxMetrics
from yolofast.evaluate.evaluation import Evaluation
from yolofast.train import TrainResult, best_row, fitness
from yolofast.train.history import Row


@dataclass(frozen=True, eq=False)
class RunResult(TrainResult):
    """The outcome of a training run, with the metrics of its best epoch as `YOLO.val` gives them.

    As a mapping it has the fields of `TrainResult` alone. `box`, `results_dict` and `speed` raise `DataError`
    when there is no evaluation.
    """

    evaluation: Evaluation | None = None
    """That of the best epoch; None if `train_model` resumed a run whose best epoch was before."""
    save_dir: Path | None = None
    """The run's folder, if it has one."""

    @property
    def box(self) -> BoxMetrics:
        """See `Evaluation.box`."""
        return self._evaluated().box

    @property
    def fitness(self) -> float:
        """`best_metric`."""
        return self.best_metric

    @property
    def results_dict(self) -> dict[str, float]:
        """See `Evaluation.results_dict`."""
        return self._evaluated().results_dict

    @property
    def speed(self) -> dict[str, float]:
        """See `Evaluation.speed`."""
        return self._evaluated().speed

    def _evaluated(self) -> Evaluation:
        if self.evaluation is None:
            raise DataError(
                "the best epoch was not evaluated now: it was trained before the run was resumed. Evaluate "
                "its weights: YOLO('.../best.safetensors').val(data)."
            )
        return self.evaluation


class BestEvaluation:
    """Keeps the evaluation of the best epoch, of those that come; `history` are the epochs before."""

    def __init__(self, history: Sequence[Row]) -> None:
        self._fitness = fitness(best_row(history)) if history else -math.inf
        self._epoch = 0
        self.evaluation: Evaluation | None = None

    def add(self, epoch: int, row: Row, evaluation: Evaluation) -> None:
        """Take the evaluation of an epoch; one of the same number replaces it (`val_first`)."""
        if epoch == self._epoch or fitness(row) >= self._fitness:
            self._fitness, self._epoch, self.evaluation = fitness(row), epoch, evaluation
