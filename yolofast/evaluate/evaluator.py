"""YOLOEvaluator: runs a detector over a validation loader; returns metrics, writes predictions and plots."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, missing_extra
from yolofast.evaluate.coco_columns import columns_of
from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.evaluate.confusion import ConfusionMatrix
from yolofast.evaluate.detect import find_detections
from yolofast.evaluate.evaluation import Evaluation, Totals
from yolofast.evaluate.plots import (
    GRID_IMAGES,
    GridImage,
    plot_confidence_curves,
    plot_panels,
    plot_pr_curves,
)
from yolofast.evaluate.predict import DetectionModel, to_original
from yolofast.evaluate.predictions import CocoResults, coco_results
from yolofast.kernels import xywhn_to_xyxy
from yolofast.types import Batch, Detections, Letterbox

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PLOT_CONFIDENCE = 0.25
"""Detections below this score count for AP, but not in plots and the confusion matrix."""
LOSSES = ("box", "cls", "dfl")


class YOLOEvaluator:
    """Evaluates a detector on a loader's images, with boxes in pixels of the original images.

    model        torch module: float images [B, 3, H, W] in 0..1 -> raw [B, 4 + classes, A]; if it has
                 `with_loss(images, targets) -> (raw, sums [4])`, the loss is reported too: the sums of the
                 box, class and distribution terms over all batches, divided by that of the last value (at
                 least 1), so it does not depend on the batch size. The model is moved to `device` and put
                 into evaluation mode during the evaluation.
    class_names  one per class, in the order of the dataset's class numbers.
    conf         confidence threshold: near 0, because AP integrates over all scores.
    iou          NMS IoU threshold.
    max_det      max detections per image; AP itself follows COCO (100 per class and image).
    half         mixed precision: float16 on CUDA, bfloat16 on the CPU.
    """

    def __init__(
        self,
        model: DetectionModel,
        *,
        class_names: Sequence[str],
        device: str | torch.device = "cpu",
        conf: float = 0.001,
        iou: float = 0.7,
        max_det: int = 300,
        half: bool = False,
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.device = device
        self.conf, self.iou, self.max_det, self.half = conf, iou, max_det, half

    def evaluate_dataset(
        self,
        loader: Iterable[Batch],
        save_predictions: bool = False,
        save_dir: str | Path | None = None,
        progress: bool = True,
        *,
        plots: bool = True,
    ) -> Evaluation:
        """Run the model over `loader` (`Batch`es of torch tensors, letterboxed, not augmented).

        save_predictions  write to `save_dir`: predictions.json (COCO results, see `coco_results`),
                          predictions.png (up to 16 images, ground truth next to predictions),
                          pr_curves.png, curves.png (P, R and F1 over the confidence) and
                          confusion_matrix.png. `plots=False` omits the images; without matplotlib
                          only predictions.png is written, with a warning.

        Raises `DataError` for an empty loader, for targets or a model that do not fit the class names, and
        for a folder that cannot be written. The model's mode is restored in any case.
        """
        if save_predictions and save_dir is None:
            raise DataError("save_dir: missing, expected a folder, because save_predictions is on.")
        run = _Run(self, [] if save_predictions and plots else None)
        with self._evaluation_mode():
            if save_predictions and save_dir is not None:
                with coco_results(Path(save_dir) / "predictions.json") as results:
                    run.evaluate(loader, progress, results)
            else:
                run.evaluate(loader, progress, None)
        evaluation = run.finish()
        if not save_predictions or save_dir is None:
            return evaluation
        files = {"predictions": Path(save_dir) / "predictions.json"}
        if plots:
            files |= self._plot(run.panels or [], evaluation, Path(save_dir))
        return replace(evaluation, files=files)

    def _plot(self, panels: Sequence[GridImage], evaluation: Evaluation, folder: Path) -> dict[str, Path]:
        grid = plot_panels(panels, self.class_names, folder / "predictions.png")
        files = {"predictions_image": grid}
        if importlib.util.find_spec("matplotlib") is None:
            log.warning("%s", missing_extra("matplotlib", "plots", "Plotting curves and confusion matrix"))
        else:
            files["pr_curves"] = plot_pr_curves(evaluation.metrics, folder / "pr_curves.png")
            files["curves"] = plot_confidence_curves(evaluation.metrics, folder / "curves.png")
            files["confusion_matrix"] = evaluation.confusion.plot(folder / "confusion_matrix.png")
        return files

    @contextlib.contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        import torch

        kind = torch.device(self.device).type
        reduced = torch.float16 if kind == "cuda" else torch.bfloat16
        was_training = self.model.training
        self.model.to(self.device)
        self.model.train(False)
        try:
            with torch.no_grad(), torch.autocast(kind, reduced, enabled=self.half):
                yield
        finally:
            self.model.train(was_training)


class _Run:
    """One pass over a loader, and what it accumulates."""

    def __init__(self, evaluator: YOLOEvaluator, panels: list[GridImage] | None) -> None:
        self.evaluator = evaluator
        self.panels = panels
        self.metrics = CocoMetrics(len(evaluator.class_names), evaluator.class_names)
        self.confusion = ConfusionMatrix(evaluator.class_names, PLOT_CONFIDENCE)
        self.seconds = dict.fromkeys(("inference", "nms", "matching"), 0.0)
        self.images = self.boxes = self.detections = 0
        self.loss_sums = np.zeros(len(LOSSES) + 1)
        self.has_loss = hasattr(evaluator.model, "with_loss")

    def evaluate(self, loader: Iterable[Batch], progress: bool, results: CocoResults | None) -> None:
        from tqdm import tqdm

        for batch in tqdm(loader, desc="evaluate", unit="batch", disable=not progress, leave=False):
            self._batch(batch, results)
        if not self.images:
            raise DataError("evaluation: the loader has no images, expected at least one. Check the split.")

    def _batch(self, batch: Batch, results: CocoResults | None) -> None:
        run = self.evaluator
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        with self._timed("inference"):
            raw = self._infer(batch)
        if raw.shape[1] != 4 + len(run.class_names):
            raise DataError(
                f"the model predicts {raw.shape[1] - 4} classes, but the dataset has {len(run.class_names)} "
                f"({', '.join(run.class_names)}). Use weights that were trained on these classes."
            )
        with self._timed("nms"):
            found = find_detections(raw, conf=run.conf, iou=run.iou, max_det=run.max_det)
        targets = batch.targets.cpu().numpy()
        detections, truths, labels = [], [], []
        for i, (path, shape, network) in enumerate(
            zip(batch.paths, batch.shapes.tolist(), found, strict=True)
        ):
            own = targets[targets[:, 0] == i]
            classes = self._known_classes(path, own[:, 1].astype(np.int64))
            truth = xywhn_to_xyxy(own[:, 2:6], size[1], size[0])
            placement = Letterbox.fit((int(shape[0]), int(shape[1])), size)
            detections.append(to_original(network, placement))
            truths.append(placement.to_source(truth))
            labels.append(classes)
            if results is not None:
                results.add(path, detections[-1])
            if self.panels is not None and len(self.panels) < GRID_IMAGES:
                image = _as_uint8(batch.images[i].cpu().numpy())
                self.panels.append(_panel(path, image, placement, truth, classes, network))
        self._add(detections, truths, labels)

    def _known_classes(self, path: str, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        last = len(self.evaluator.class_names) - 1
        if len(classes) and not 0 <= classes.min() <= classes.max() <= last:
            wrong = classes[(classes < 0) | (classes > last)][0]
            raise DataError(
                f"{path}: its labels have class {wrong}, expected 0 to {last}. "
                "Check the dataset with `yolofast check`."
            )
        return classes

    def _add(
        self,
        found: Sequence[Detections],
        boxes: Sequence[NDArray[np.float32]],
        classes: Sequence[NDArray[np.int64]],
    ) -> None:
        """Add a batch: detections, true boxes and their classes per image, in original pixels."""
        images = np.repeat(np.arange(len(found)), [len(labels) for labels in classes])
        with self._timed("matching"):
            columns = columns_of(
                found,
                np.concatenate(boxes),
                np.concatenate(classes),
                gt_images=images,
                num_classes=len(self.evaluator.class_names),
            )
            self.metrics.add_columns(columns)
            self.confusion.add_columns(columns)
        self.images += len(found)
        self.boxes += len(images)
        self.detections += sum(map(len, found))

    def _infer(self, batch: Batch) -> torch.Tensor:
        import torch

        model: Any = self.evaluator.model
        device = torch.device(self.evaluator.device)
        images = batch.images.to(device, non_blocking=True)
        # A loader may have scaled them to 0..1 already.
        images = images.float() if images.is_floating_point() else images.float() / 255
        raw: torch.Tensor
        if not self.has_loss:
            raw = model(images)
        else:
            raw, sums = model.with_loss(images, batch.targets.to(device))
            self.loss_sums += sums.double().cpu().numpy()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)  # or the time would be that of the launch
        return raw

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - started

    def finish(self) -> Evaluation:
        with self._timed("matching"):
            metrics = self.metrics.compute()
        names = ("map50", "map50_95", "precision", "recall", "f1", "confidence")
        overall = {name: float(getattr(metrics, name)) for name in names}
        if self.has_loss:
            losses = self.loss_sums[:-1] / max(1.0, self.loss_sums[-1])
            overall |= dict(zip(LOSSES, losses.tolist(), strict=True))
            overall["loss"] = float(losses.sum())
        totals = Totals(self.images, self.boxes, self.detections, dict(self.seconds))
        return Evaluation({c.name: c for c in metrics.classes}, overall, totals, metrics, self.confusion)


def _as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image as uint8 levels; floating-point images are in 0..1."""
    return np.asarray(image if image.dtype == np.uint8 else (255 * image).round().astype(np.uint8))


def _panel(
    path: str,
    image: NDArray[np.uint8],
    placement: Letterbox,
    truth: NDArray[np.float32],
    classes: NDArray[np.int64],
    network: Detections,
) -> GridImage:
    """The image without the letterbox's padding, with its boxes; `truth` and `network` in network pixels."""
    x, y = int(placement.pad_x), int(placement.pad_y)
    height, width = placement.inner
    shown = network.scores >= PLOT_CONFIDENCE
    shift = np.array([x, y, x, y], np.float32)
    return GridImage(
        Path(path).name,
        np.ascontiguousarray(image[:, y : y + height, x : x + width].transpose(1, 2, 0)),
        Detections(network.boxes[shown] - shift, network.scores[shown], network.classes[shown]),
        Detections(truth - shift, np.ones(len(truth), np.float32), classes),
    )
