"""How good a detector is: COCO metrics, saved predictions, and pictures to look at."""

from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.evaluate.drawing import draw_detections
from yolofast.evaluate.evaluator import Evaluation, Totals, YOLOEvaluator
from yolofast.evaluate.plots import plot_pr_curves, plot_prediction_grid, plot_training
from yolofast.evaluate.predict import predict_images
from yolofast.evaluate.predictions import coco_results

__all__ = [
    "CocoMetrics",
    "Evaluation",
    "Totals",
    "YOLOEvaluator",
    "coco_results",
    "draw_detections",
    "plot_pr_curves",
    "plot_prediction_grid",
    "plot_training",
    "predict_images",
]
