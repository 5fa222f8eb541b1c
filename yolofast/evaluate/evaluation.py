"""Evaluation: the result of evaluating a detector, as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolofast.evaluate.box_metrics import BoxMetrics
from yolofast.evaluate.confusion import ConfusionMatrix
from yolofast.printable import printable
from yolofast.types import ClassMetrics, Metrics

COCO_METRICS = (
    ("AP", "0.50:0.95", "all", 100),
    ("AP50", "0.50", "all", 100),
    ("AP75", "0.75", "all", 100),
    ("APs", "0.50:0.95", "small", 100),
    ("APm", "0.50:0.95", "medium", 100),
    ("APl", "0.50:0.95", "large", 100),
    ("AR1", "0.50:0.95", "all", 1),
    ("AR10", "0.50:0.95", "all", 10),
    ("AR100", "0.50:0.95", "all", 100),
    ("ARs", "0.50:0.95", "small", 100),
    ("ARm", "0.50:0.95", "medium", 100),
    ("ARl", "0.50:0.95", "large", 100),
)
"""Name, IoU thresholds, area range and detection limit of each value in `Metrics.stats`."""


MAX_NAME_LENGTH = 60
"""Characters of a class name in the table."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts and times of an evaluation."""

    images: int
    boxes: int
    """Ground-truth boxes."""
    detections: int
    seconds: Mapping[str, float]
    """Time per stage: inference, nms, matching."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of one evaluation and the files it wrote."""

    class_metrics: dict[str, ClassMetrics]
    """Metrics per evaluated class, by class name."""
    overall_metrics: dict[str, float]
    """map50, map50_95, precision, recall, f1, confidence; and, if the model returns a loss, box, cls,
    dfl and their sum loss, as means over the images."""
    totals: Totals
    metrics: Metrics
    confusion: ConfusionMatrix
    """Predicted against true classes, at the confidence threshold of plots (`YOLOEvaluator.plot_conf`)."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Those that were written: predictions (COCO json), metrics (JSON), predictions_image (JPEG), pr_curves,
    curves, confusion_matrix and confusion_counts (PNG)."""

    def table(self) -> str:
        """The metrics as lines of text: all classes first, then each class."""
        m, classes = self.metrics, self.class_metrics.values()
        names = [printable(c.name, MAX_NAME_LENGTH) for c in classes]
        width = max([12, *map(len, names)])
        head = f"{'class':<{width}} {'images':>8} {'boxes':>8} {'P':>8} {'R':>8} {'mAP50':>8} {'mAP50-95':>9}"
        lines = [
            head,
            _line("all", width, m.images, m.boxes, m.precision, m.recall, m.map50, m.map50_95),
        ]
        lines += [
            _line(name, width, c.images, c.boxes, c.precision, c.recall, c.ap50, c.ap50_95)
            for name, c in zip(names, classes, strict=True)
        ]
        return "\n".join(lines)

    @property
    def map50(self) -> float:
        """Mean AP over classes at IoU 0.50."""
        return self.overall_metrics["map50"]

    @property
    def map50_95(self) -> float:
        """Mean AP over classes and IoU 0.50 to 0.95."""
        return self.overall_metrics["map50_95"]

    @property
    def box(self) -> BoxMetrics:
        """The same metrics by the names of Ultralytics' users: `box.map`, `box.map50`, `box.maps`, ..."""
        return BoxMetrics(self.metrics)

    @property
    def fitness(self) -> float:
        """mAP50-95, by which the best epoch of a training is chosen."""
        return self.map50_95

    @property
    def results_dict(self) -> dict[str, float]:
        """Precision, recall, mAP50, mAP50-95 and `fitness` under the keys of Ultralytics' results_dict."""
        names = ("precision", "recall", "mAP50", "mAP50-95")
        found = {f"metrics/{n}(B)": v for n, v in zip(names, self.box.mean_results(), strict=True)}
        return found | {"fitness": self.fitness}

    @property
    def speed(self) -> dict[str, float]:
        """Milliseconds per image: preprocess, inference, loss, postprocess (NMS).

        preprocess is 0, because the loader does it while the network runs; loss is 0, because it is part of
        inference.
        """
        per_image = {stage: 1e3 * s / max(1, self.totals.images) for stage, s in self.totals.seconds.items()}
        return {
            "preprocess": 0.0,
            "inference": per_image["inference"],
            "loss": 0.0,
            "postprocess": per_image["nms"],
        }

    @property
    def coco(self) -> dict[str, float]:
        """COCO's twelve metrics by name, as pycocotools computes them: -1 without ground truth.

        Objects are small, medium or large by the width times height of their box.
        """
        return {
            name: float(value) for (name, *_), value in zip(COCO_METRICS, self.metrics.stats, strict=True)
        }

    def coco_table(self) -> str:
        """COCO's twelve metrics as lines of text, in pycocotools' order."""
        head = f"{'COCO':<6} {'IoU':>9} {'area':>7} {'max dets':>9} {'value':>7}"
        lines = [
            f"{name:<6} {iou:>9} {area:>7} {limit:>9} {value:>7.3f}"
            for (name, iou, area, limit), value in zip(COCO_METRICS, self.metrics.stats, strict=True)
        ]
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """JSON values; NaN (a class without boxes has no AP) becomes None."""
        return {
            "overall": {k: _number(v) for k, v in self.overall_metrics.items()},
            "classes": {
                name: {
                    "images": c.images,
                    "boxes": c.boxes,
                    **{k: _number(getattr(c, k)) for k in ("precision", "recall", "f1", "ap50", "ap50_95")},
                }
                for name, c in self.class_metrics.items()
            },
            "coco": self.coco,
            "confusion": self.confusion.to_dict(),
            "images": self.totals.images,
            "boxes": self.totals.boxes,
            "detections": self.totals.detections,
            "seconds": dict(self.totals.seconds),
            "files": {k: str(v) for k, v in self.files.items()},
        }


def _line(name: str, width: int, images: int, boxes: int, *figures: float) -> str:
    shown = "".join(
        f" {'-' if math.isnan(f) else format(f, '.3f'):>{w}}"
        for f, w in zip(figures, (8, 8, 8, 9), strict=True)
    )
    return f"{name:<{width}} {images:>8} {boxes:>8}{shown}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
