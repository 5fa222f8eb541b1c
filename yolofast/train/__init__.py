"""Training: one `Trainer` for any loader and any model that returns its losses."""

from yolofast.train.amp import mixed_precision
from yolofast.train.checkpoint import CheckpointManager, TrainingState
from yolofast.train.device import select_device
from yolofast.train.ema import ModelEma
from yolofast.train.history import best_row, fitness, is_finished
from yolofast.train.monitor import TrainingMonitor
from yolofast.train.optim import LearningRate, build_optimizer, resolved
from yolofast.train.trainer import Trainer, TrainResult

__all__ = [
    "CheckpointManager",
    "LearningRate",
    "ModelEma",
    "TrainResult",
    "Trainer",
    "TrainingMonitor",
    "TrainingState",
    "best_row",
    "build_optimizer",
    "fitness",
    "is_finished",
    "mixed_precision",
    "resolved",
    "select_device",
]
