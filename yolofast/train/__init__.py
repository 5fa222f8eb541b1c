"""Training: one `Trainer` for any loader and any model that returns its losses."""

from yolofast.train.amp import mixed_precision
from yolofast.train.checkpoint import CheckpointManager, TrainingState
from yolofast.train.ema import ModelEma
from yolofast.train.monitor import TrainingMonitor
from yolofast.train.optim import LearningRate, build_optimizer
from yolofast.train.trainer import Trainer, TrainResult, fitness, select_device

__all__ = [
    "CheckpointManager",
    "LearningRate",
    "ModelEma",
    "TrainResult",
    "Trainer",
    "TrainingMonitor",
    "TrainingState",
    "build_optimizer",
    "fitness",
    "mixed_precision",
    "select_device",
]
