"""YOLOEvaluator: runs a detector over a validation loader; returns metrics, writes predictions and plots."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, missing_extra
from yolofast.evaluate.augmented import with_augmented_views
from yolofast.evaluate.coco_columns import columns_of
from yolofast.evaluate.coco_metrics import CocoMetrics
from yolofast.evaluate.confusion import ConfusionMatrix, Judgement
from yolofast.evaluate.detect import find_detections
from yolofast.evaluate.error_grid import JudgedImage, WorstImages, plot_errors
from yolofast.evaluate.evaluation import Evaluation, Totals
from yolofast.evaluate.inference import DetectionModel, inference, network_input, nms_threshold
from yolofast.evaluate.plots import plot_confidence_curves, plot_pr_curves
from yolofast.evaluate.predict import to_original
from yolofast.evaluate.predictions import CocoResults, coco_results
from yolofast.files import write_json
from yolofast.kernels import xywhn_to_xyxy
from yolofast.result_pictures import optional_picture
from yolofast.types import Batch, Detections, Letterbox

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

METRICS_NAME = "metrics.json"

ALL_SCORES = 0.001
"""The usual confidence threshold of an evaluation: near 0, because AP integrates over all scores."""
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
    conf         confidence threshold. Plots and the confusion matrix take 0.25, or this if it is above the
                 usual 0.001.
    iou          NMS IoU threshold.
    max_det      max detections per image; AP itself follows COCO (100 per class and image).
    classes      class numbers to evaluate; detections and labels of others do not count. None: all.
    half         mixed precision: float16 on CUDA, bfloat16 on the CPU.
    augment      test-time augmentation, see `predict_batches`; the loss is that of the images themselves.

    Raises `DataError` for a class number that is none.
    """

    def __init__(
        self,
        model: DetectionModel,
        *,
        class_names: Sequence[str],
        device: str | torch.device = "cpu",
        conf: float = ALL_SCORES,
        iou: float = 0.7,
        max_det: int = 300,
        classes: Sequence[int] | None = None,
        half: bool = False,
        augment: bool = False,
    ) -> None:
        self.model = model
        self.class_names = tuple(class_names)
        self.device = device
        self.conf, self.iou, self.max_det = conf, nms_threshold(model, iou, augment=augment), max_det
        self.half, self.augment = half, augment
        self.classes = None if classes is None else sorted(set(classes))
        if self.classes is not None and not set(self.classes) <= set(range(len(self.class_names))):
            raise DataError(f"classes: got {self.classes}, expected 0 to {len(self.class_names) - 1}.")

    @property
    def plot_conf(self) -> float:
        """The confidence threshold of plots and the confusion matrix."""
        return self.conf if self.conf > ALL_SCORES else PLOT_CONFIDENCE

    def evaluate_dataset(
        self,
        loader: Iterable[Batch],
        save_predictions: bool = False,
        save_dir: str | Path | None = None,
        progress: bool = True,
        *,
        plots: bool = True,
        image_ids: Mapping[str, int] | None = None,
    ) -> Evaluation:
        """Run the model over `loader` (`Batch`es of torch tensors, letterboxed, not augmented).

        save_predictions  write to `save_dir`: predictions.json (COCO results, see `coco_results`),
                          metrics.json (`Evaluation.to_dict`) and then the pictures:
                          predictions.jpg (the 16 images with the most errors, see `plot_errors`),
                          pr_curves.png, curves.png (P, R and F1 over the confidence),
                          confusion_matrix.png (shares) and confusion_counts.png. `plots=False` omits the
                          images; one that cannot be drawn is left out, with a warning.
        image_ids         the id of each path in predictions.json; omitted means 1, 2, ... in the order of
                          the loader

        An image that comes again, because a loader replaced an unreadable one with it, counts once.

        Raises `DataError` for an empty loader, for targets or a model that do not fit the class names, and
        for a folder that cannot be written. The model's mode is restored in any case.
        """
        if save_predictions and save_dir is None:
            raise DataError("save_dir: missing, expected a folder, because save_predictions is on.")
        run = _Run(self, WorstImages() if save_predictions and plots else None)
        with inference(self.model, self.device, half=self.half):
            if save_predictions and save_dir is not None:
                with coco_results(Path(save_dir) / "predictions.json") as results:
                    run.evaluate(loader, progress, _Output(results, image_ids))
            else:
                run.evaluate(loader, progress, None)
        evaluation = run.finish()
        if not save_predictions or save_dir is None:
            return evaluation
        folder = Path(save_dir)
        evaluation = replace(
            evaluation, files={"predictions": folder / "predictions.json", "metrics": folder / METRICS_NAME}
        )
        write_json(folder / METRICS_NAME, evaluation.to_dict())
        if run.worst is not None:
            drawn = self._plot(run.worst, evaluation, folder)
            evaluation = replace(evaluation, files={**evaluation.files, **drawn})
            write_json(folder / METRICS_NAME, evaluation.to_dict())
        return evaluation

    def _plot(self, worst: WorstImages, evaluation: Evaluation, folder: Path) -> dict[str, Path]:
        """Draw the pictures; returns those that could be drawn."""
        confusion, metrics, thresholds = (
            evaluation.confusion,
            evaluation.metrics,
            evaluation.confusion.thresholds,
        )
        pictures: dict[str, tuple[str, Callable[[Path], Path]]] = {
            "predictions_image": (
                "predictions.jpg",
                lambda path: plot_errors(worst.images(), self.class_names, path, thresholds=thresholds),
            )
        }
        if importlib.util.find_spec("matplotlib") is None:
            log.warning("%s", missing_extra("matplotlib", "plots", "Plotting curves and confusion matrix"))
        else:
            pictures |= {
                "pr_curves": ("pr_curves.png", partial(plot_pr_curves, metrics)),
                "curves": ("curves.png", partial(plot_confidence_curves, metrics)),
                "confusion_matrix": ("confusion_matrix.png", confusion.plot),
                "confusion_counts": ("confusion_counts.png", partial(confusion.plot, normalize=False)),
            }
        files = {}
        for what, (name, draw) in pictures.items():
            with optional_picture(folder / name):
                files[what] = draw(folder / name)
        return files


@dataclass(frozen=True, slots=True)
class _Output:
    """The open predictions.json, and the ids of its images."""

    results: CocoResults
    image_ids: Mapping[str, int] | None

    def add(self, path: str, number: int, detections: Detections) -> None:
        """Add the `number`-th image, counted from 1."""
        image_id = number if self.image_ids is None else self.image_ids[path]
        self.results.add(image_id, Path(path).name, detections)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One evaluated image: its row in the batch; boxes of `found` and `truth` are in original pixels."""

    row: int
    path: str
    placement: Letterbox
    found: Detections
    truth: NDArray[np.float32]
    classes: NDArray[np.int64]


class _Run:
    """One pass over a loader, and what it accumulates."""

    def __init__(self, evaluator: YOLOEvaluator, worst: WorstImages | None) -> None:
        self.evaluator = evaluator
        self.worst = worst
        self.metrics = CocoMetrics(len(evaluator.class_names), evaluator.class_names)
        self.confusion = ConfusionMatrix(evaluator.class_names, evaluator.plot_conf)
        self.seconds = dict.fromkeys(("inference", "nms", "matching"), 0.0)
        self.images = self.boxes = self.detections = 0
        self.loss_sums = np.zeros(len(LOSSES) + 1)
        self.has_loss = hasattr(evaluator.model, "with_loss")
        self._paths: set[str] = set()

    def evaluate(self, loader: Iterable[Batch], progress: bool, output: _Output | None) -> None:
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        samples = 0
        with logging_redirect_tqdm() if progress else contextlib.nullcontext():
            for batch in tqdm(loader, desc="evaluate", unit="batch", disable=not progress, leave=False):
                self._batch(batch, output)
                samples += len(batch)
        if not self.images:
            raise DataError("evaluation: the loader has no images, expected at least one. Check the split.")
        if samples > self.images:
            log.warning(
                "%d of %d samples repeat an image, such as the substitutes of unreadable ones, and do not "
                "count",
                samples - self.images,
                samples,
            )

    def _batch(self, batch: Batch, output: _Output | None) -> None:
        run = self.evaluator
        with self._timed("inference"):
            raw = self._infer(batch)
        if raw.shape[1] != 4 + len(run.class_names):
            raise DataError(
                f"the model predicts {raw.shape[1] - 4} classes, but the dataset has {len(run.class_names)} "
                f"({', '.join(run.class_names)}). Use weights that were trained on these classes."
            )
        with self._timed("nms"):
            found = find_detections(raw, conf=run.conf, iou=run.iou, max_det=run.max_det, classes=run.classes)
        seen = self._seen(batch, found)
        if output is not None:
            for number, image in enumerate(seen, self.images + 1):
                output.add(image.path, number, image.found)
        if seen:
            self._add(batch, seen)

    def _seen(self, batch: Batch, found: Sequence[Detections]) -> list[_Seen]:
        """The images of a batch that have not come before."""
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        targets = batch.targets.cpu().numpy()
        seen = []
        for i, (path, shape, network) in enumerate(
            zip(batch.paths, batch.shapes.tolist(), found, strict=True)
        ):
            if path in self._paths:
                continue
            self._paths.add(path)
            own = targets[targets[:, 0] == i]
            classes = self._known_classes(path, own[:, 1].astype(np.int64))
            if self.evaluator.classes is not None:
                wanted = np.isin(classes, self.evaluator.classes)
                own, classes = own[wanted], classes[wanted]
            placement = Letterbox.fit((int(shape[0]), int(shape[1])), size)
            truth = placement.to_source(xywhn_to_xyxy(own[:, 2:6], size[1], size[0]))
            seen.append(_Seen(i, path, placement, to_original(network, placement), truth, classes))
        return seen

    def _known_classes(self, path: str, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        last = len(self.evaluator.class_names) - 1
        if len(classes) and not 0 <= classes.min() <= classes.max() <= last:
            wrong = classes[(classes < 0) | (classes > last)][0]
            raise DataError(
                f"{path}: its labels have class {wrong}, expected 0 to {last}. "
                "Check the dataset with `yolofast check`."
            )
        return classes

    def _add(self, batch: Batch, seen: Sequence[_Seen]) -> None:
        images = np.repeat(np.arange(len(seen)), [len(image.classes) for image in seen])
        with self._timed("matching"):
            columns = columns_of(
                [image.found for image in seen],
                np.concatenate([image.truth for image in seen]),
                np.concatenate([image.classes for image in seen]),
                gt_images=images,
                num_classes=len(self.evaluator.class_names),
            )
            self.metrics.add_columns(columns)
            judged = self.confusion.add_columns(columns)
        self.images += len(seen)
        self.boxes += len(images)
        self.detections += len(columns.dt_scores)
        if self.worst is not None:
            for i, image in enumerate(seen):
                dt = slice(*columns.dt_offsets[i : i + 2])
                gt = slice(*columns.gt_offsets[i : i + 2])
                own = Judgement(judged.right[dt], judged.wrong[dt], judged.missed[gt])
                right, wrong, missed = (int(rows.sum()) for rows in (own.right, own.wrong, own.missed))
                pixels = batch.images[image.row]
                self.worst.add(right, wrong, missed, partial(_judged_image, pixels, image, own))

    def _infer(self, batch: Batch) -> torch.Tensor:
        import torch

        model: Any = self.evaluator.model
        device = torch.device(self.evaluator.device)
        images = network_input(batch.images, device)
        raw: torch.Tensor
        if not self.has_loss:
            raw = model(images)
        else:
            raw, sums = model.with_loss(images, batch.targets.to(device))
            self.loss_sums += sums.double().cpu().numpy()
        if self.evaluator.augment:
            raw = with_augmented_views(raw, model, images)
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
        kept = self.evaluator.classes
        classes = {c.name: c for i, c in enumerate(metrics.classes) if kept is None or i in kept}
        return Evaluation(classes, overall, totals, metrics, self.confusion)


def _as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image as uint8 levels; floating-point images are in 0..1."""
    return np.asarray(image if image.dtype == np.uint8 else (255 * image).round().astype(np.uint8))


def _judged_image(pixels: torch.Tensor, seen: _Seen, judged: Judgement) -> JudgedImage:
    """The network's image [3, H, W] without the letterbox's padding, with its boxes."""
    placement = seen.placement
    x, y = int(placement.pad_x), int(placement.pad_y)
    height, width = placement.inner
    shift = np.array([x, y, x, y], np.float32)

    def shown(rows: NDArray[np.bool_], found: Detections) -> Detections:
        boxes = placement.to_target(found.boxes[rows]) - shift
        return Detections(boxes, found.scores[rows], found.classes[rows])

    truth = Detections(seen.truth, np.ones(len(seen.truth), np.float32), seen.classes)
    image = _as_uint8(pixels[:, y : y + height, x : x + width].cpu().numpy())
    return JudgedImage(
        Path(seen.path).name,
        np.ascontiguousarray(image.transpose(1, 2, 0)),
        shown(judged.right, seen.found),
        shown(judged.wrong, seen.found),
        shown(judged.missed, truth),
    )
