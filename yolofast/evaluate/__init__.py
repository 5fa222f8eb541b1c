"""Evaluation and prediction: COCO metrics, predictions as files, and plots.

Each name is imported from its module when it is first used (PEP 562): metrics need neither OpenCV nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.lazy_names import lazy_names

if TYPE_CHECKING:
    from .coco_files import evaluate_coco
    from .coco_metrics import CocoMetrics
    from .confusion import ConfusionMatrix
    from .drawing import plot_detections
    from .error_grid import JudgedImage, plot_errors
    from .evaluation import Evaluation, Totals
    from .evaluator import YOLOEvaluator
    from .plots import plot_confidence_curves, plot_pr_curves, plot_prediction_grid, plot_training
    from .predict import predict_batches
    from .predictions import coco_results

__all__ = [
    "CocoMetrics",
    "ConfusionMatrix",
    "Evaluation",
    "JudgedImage",
    "Totals",
    "YOLOEvaluator",
    "coco_results",
    "evaluate_coco",
    "plot_confidence_curves",
    "plot_detections",
    "plot_errors",
    "plot_pr_curves",
    "plot_prediction_grid",
    "plot_training",
    "predict_batches",
]

_HOMES = {
    "coco_files": ("evaluate_coco",),
    "coco_metrics": ("CocoMetrics",),
    "confusion": ("ConfusionMatrix",),
    "drawing": ("plot_detections",),
    "error_grid": ("JudgedImage", "plot_errors"),
    "evaluation": ("Evaluation", "Totals"),
    "evaluator": ("YOLOEvaluator",),
    "plots": ("plot_confidence_curves", "plot_pr_curves", "plot_prediction_grid", "plot_training"),
    "predict": ("predict_batches",),
    "predictions": ("coco_results",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
