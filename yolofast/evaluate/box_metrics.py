"""BoxMetrics: the metrics of an evaluation under the names that users of Ultralytics' `metrics.box` read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolofast.types import ClassMetrics, Metrics


@dataclass(frozen=True, slots=True)
class BoxMetrics:
    """A view of `Metrics`: nothing is computed that is not in it.

    Values of classes (`p`, `r`, `f1`, `ap50`, `ap`) are arrays over the classes that have ground truth,
    `ap_class_index`; those of `maps` are over all classes.
    """

    metrics: Metrics

    @property
    def map(self) -> float:
        """mAP50-95."""
        return self.metrics.map50_95

    @property
    def map50(self) -> float:
        """mAP at IoU 0.50."""
        return self.metrics.map50

    @property
    def map75(self) -> float:
        """mAP at IoU 0.75; NaN without ground truth."""
        value = float(self.metrics.stats[2])
        return float("nan") if value == -1 else value

    @property
    def mp(self) -> float:
        """Mean precision over classes, at the confidence with the best mean F1."""
        return self.metrics.precision

    @property
    def mr(self) -> float:
        """Mean recall, as `mp`."""
        return self.metrics.recall

    @property
    def maps(self) -> NDArray[np.float64]:
        """mAP50-95 of every class [num_classes]; of a class without ground truth it is `map`."""
        found = np.array([c.ap50_95 for c in self.metrics.classes], np.float64)
        return np.where(np.isnan(found), self.map, found)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.metrics.classes)

    @property
    def ap_class_index(self) -> NDArray[np.int64]:
        """Numbers of the classes that have ground truth, ascending."""
        return np.array([i for i, c in enumerate(self.metrics.classes) if c.boxes], np.int64)

    @property
    def p(self) -> NDArray[np.float64]:
        """Precision per class."""
        return self._of_classes("precision")

    @property
    def r(self) -> NDArray[np.float64]:
        """Recall per class."""
        return self._of_classes("recall")

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 per class."""
        return self._of_classes("f1")

    @property
    def ap50(self) -> NDArray[np.float64]:
        """AP at IoU 0.50 per class."""
        return self._of_classes("ap50")

    @property
    def ap(self) -> NDArray[np.float64]:
        """AP50-95 per class."""
        return self._of_classes("ap50_95")

    def mean_results(self) -> list[float]:
        """[mp, mr, map50, map]."""
        return [self.mp, self.mr, self.map50, self.map]

    def class_result(self, index: int) -> tuple[float, float, float, float]:
        """(precision, recall, AP50, AP50-95) of the class at `index` of `ap_class_index`."""
        found = self._with_boxes()[index]
        return found.precision, found.recall, found.ap50, found.ap50_95

    def _with_boxes(self) -> list[ClassMetrics]:
        return [c for c in self.metrics.classes if c.boxes]

    def _of_classes(self, name: str) -> NDArray[np.float64]:
        return np.array([getattr(c, name) for c in self._with_boxes()], np.float64)
