"""The whole pipeline: the only file that knows the order of the stages and composes them.

A run resolves its data once: `data_source` finds (or prepares) and reads data.yaml, and everything after
takes the `DataYaml`. Progress goes to a `report` callable, warnings to the log; `train_run` alone prints,
unless it is told not to.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolofast.analyze import analyze_dataset
from yolofast.callbacks import Callbacks
from yolofast.class_numbers import class_numbers
from yolofast.config import MODEL_STRIDE, YOLOConfig
from yolofast.data_source import auto_prepare_dataset_if_needed as auto_prepare_dataset_if_needed
from yolofast.data_source import dataset_of, evaluation_split
from yolofast.errors import ConfigError, DataError, ExportError
from yolofast.files import write_json
from yolofast.formats.data_yaml import DataYaml, list_image_names, read_data_yaml
from yolofast.formats.splits import as_split
from yolofast.load import SINGLE_CLASS_NAMES, YOLODataset
from yolofast.prepare import prepare_dataset
from yolofast.printable import printable
from yolofast.rejected_labels import check_labels
from yolofast.run_report import (
    RunPictures,
    check_same_classes,
    interrupted_line,
    plot_history,
    training_header,
    weights_metadata,
    write_data_flow,
)
from yolofast.runs import CONFIG_NAME, WEIGHTS_FOLDER, open_run
from yolofast.stopwatch import Report, Stopwatch
from yolofast.types import ExportResult, PreparedDataset

if TYPE_CHECKING:
    import torch
    from torch import nn

    from yolofast.evaluate import Evaluation
    from yolofast.load.hooks import Hook, HookFunction
    from yolofast.models import Detector
    from yolofast.run_result import RunResult
    from yolofast.train import CheckpointManager, TrainingMonitor
    from yolofast.train.monitor import OnEpoch

_log = logging.getLogger(__name__)

SUMMARY_NAME = "summary.json"
CHECK_IMAGES = 16

# ---------------------------------------------------------------- train and evaluate


def print_line(line: str) -> None:
    """Print a line on stderr, above the progress bar that may be there; whatever names are in it."""
    tqdm.write(printable(line), file=sys.stderr)


def ignore_line(line: str) -> None:
    """Take a line and show it nowhere."""


def start_model(
    config: YOLOConfig,
    class_names: tuple[str, ...],
    report: Report = _log.info,
    *,
    saved: Mapping[str, str] | None = None,
) -> Detector:
    """A new model as `config.model` describes it, starting from its `weights` if there are any.

    `saved` is the header of the checkpoint that is going to be loaded into it, if there is one.

    Raises `CheckpointError` for weights that cannot be read or are of another size of model.
    """
    from yolofast.models import LossGains, build_model, transfer_weights
    from yolofast.models.weights import open_weights, spp_activation_of

    training, weights = config.training, config.model.weights
    with contextlib.ExitStack() as stack:
        opened = None if weights is None else stack.enter_context(open_weights(weights))
        model = build_model(
            config.model.model,
            len(class_names),
            class_names=class_names,
            gains=LossGains(training.box, training.cls, training.dfl),
            seed=training.seed,
            spp_activation=spp_activation_of(opened.metadata if opened is not None else saved or {}),
        )
        if weights is not None:
            report(f"{weights}: {transfer_weights(model, weights, opened=opened)}")
    return model


def loader_device(config: YOLOConfig) -> torch.device | None:
    """The device that renders batches, by `config.dataset.loader_device`; None means the CPU.

    Raises `ConfigError` when CUDA is asked for and the training device is another.
    """
    from yolofast.train import select_device

    if config.dataset.loader_device != "cuda":
        return None
    device = select_device(config.training.device)
    if device.type != "cuda":
        raise ConfigError(
            f"loader_device: got 'cuda', but the training device is {device}. Use --loader-device cpu."
        )
    return device


def train_model(
    model: Detector,
    config: YOLOConfig,
    checkpoint_manager: CheckpointManager | None = None,
    monitor: TrainingMonitor | None = None,
    *,
    data: DataYaml | None = None,
    hooks: Iterable[Hook | HookFunction] = (),
    progress: bool = True,
    callbacks: Callbacks | None = None,
) -> RunResult:
    """Train `model` on `config.dataset.data`, validating and saving a checkpoint after every epoch.

    With `config.training.resume` training resumes from the manager's latest checkpoint. The monitor reports
    what is trained on what, and every epoch; one with a folder also gets the run's config.yaml, pictures of
    what the network sees (`config.logging.plots`), and dataflow.json and .png (where the loader's time went),
    these too when training is interrupted. `data` is the dataset if it has been read already; omitted means
    it is found by `data_source.resolve_data`. `hooks` are the user's own transforms of the training samples
    (`yolofast.load.hooks`). `progress` shows a bar for every epoch. `callbacks` are those of `Trainer`.

    The result also reads as a mapping: `result["training_history"]` (a dict of metrics per epoch),
    `result["best_metric"]` (mAP50-95) and `result["final_epoch"]`; its `evaluation` is that of the best epoch
    if it was trained now, and not before the run was resumed. Raises `ConfigError` for sizes that the
    model cannot take, and as `Trainer` does.
    """
    import torch

    from yolofast.evaluate import YOLOEvaluator
    from yolofast.load import DataFlowMonitor, create_loader
    from yolofast.models import freeze_layers
    from yolofast.run_result import BestEvaluation, RunResult
    from yolofast.train import Trainer, TrainingMonitor

    _check_stride(config)
    torch.manual_seed(config.training.seed)
    data = data or dataset_of(config)
    config = config.replace(data=data.path)
    flow, device = DataFlowMonitor(), loader_device(config)
    loader = create_loader(
        config, "train", augment=True, shuffle=True, data=data, monitor=flow, device=device, hooks=hooks
    )
    split = evaluation_split(data)
    valid = create_loader(config, split, augment=False, shuffle=False, data=data, device=device)
    check_labels(data, (loader.dataset, valid.dataset), config.dataset.max_rejected_labels)

    def validate(averaged: nn.Module) -> dict[str, float]:
        evaluator = YOLOEvaluator(averaged, class_names=model.class_names, device=trainer.device)
        evaluation = evaluator.evaluate_dataset(valid, progress=False)
        figures = evaluation.overall_metrics
        losses = {f"val_{name}": figures[name] for name in ("box", "cls", "dfl", "loss")}
        row = losses | {name: figures[name] for name in ("precision", "recall", "map50", "map50_95")}
        best.add(trainer.epoch + 1, row, evaluation)
        return row

    monitor = monitor or TrainingMonitor()
    if power := config.training.cls_pw:
        model.gains = replace(model.gains, classes=_class_weights(loader.dataset, power))
    if frozen := freeze_layers(model, config.training.freeze):
        monitor.report(f"frozen: the first {frozen} layers")
    config = config.replace(freeze=frozen)  # "backbone" and the number of its layers are the same run

    def plan_epochs(epochs: int) -> None:
        loader.dataset.epochs = epochs

    folder = monitor.directory
    pictures = RunPictures(folder, model.class_names) if folder is not None and config.logging.plots else None
    trainer = Trainer(
        model,
        loader,
        config.training,
        num_classes=model.num_classes,
        fine_tuning=config.model.weights is not None,
        validate=validate,
        checkpoints=checkpoint_manager,
        monitor=monitor,
        progress=progress,
        on_batch=pictures.add_batch if pictures is not None else None,
        on_plan=plan_epochs,
        callbacks=callbacks,
    )
    best = BestEvaluation(trainer.history)
    config = replace(config, training=trainer.config)
    if checkpoint_manager is not None:
        checkpoint_manager.model_metadata |= weights_metadata(config.replace(resume=False))
    for line in training_header(config, trainer, loader.dataset, valid.dataset):
        monitor.report(line)
    if folder is not None and not trainer.is_over():
        config.replace(resume=False).to_yaml(folder / CONFIG_NAME)
    if pictures is not None and not trainer.epoch:
        pictures.add_labels(loader.dataset)
    try:
        result = trainer.fit()
        return RunResult(
            result.training_history, result.best_metric, result.final_epoch, best.evaluation, folder
        )
    finally:
        if folder is not None and flow.total_samples_processed:
            write_data_flow(folder, flow)


def _class_weights(dataset: YOLODataset, power: float) -> tuple[float, ...]:
    """Weights of the classes by their boxes in `dataset`; 1 for those that have none."""
    from yolofast.models import inverse_frequency_weights

    boxes = dataset.index.labels.rows[:, 0].astype(np.int64)
    counts = np.bincount(boxes, minlength=len(dataset.class_names))
    used = counts > 0  # the others would take nearly all the weight
    weights = np.ones(len(counts))
    if used.any():
        weights[used] = inverse_frequency_weights(counts[used].tolist(), power)
    return tuple(weights.tolist())


def _check_stride(config: YOLOConfig) -> None:
    """Raise `ConfigError` for a stride whose multiples the model cannot take as sizes."""
    stride = config.dataset.stride
    if stride % MODEL_STRIDE and (config.dataset.rect or config.dataset.multi_scale):
        raise ConfigError(
            f"stride: got {stride}, expected a multiple of {MODEL_STRIDE}: the model takes no other sizes of "
            f"--rect and --multi-scale batches. Use --stride {-(-stride // MODEL_STRIDE) * MODEL_STRIDE}."
        )


def train_run(
    config: YOLOConfig,
    *,
    progress: bool = True,
    report: Report | None = None,
    hooks: Iterable[Hook | HookFunction] = (),
    on_epoch: OnEpoch | None = None,
    callbacks: Callbacks | None = None,
) -> tuple[Path, RunResult]:
    """One training run in a folder of its own: config, checkpoints, results.csv and plots.

        folder, result = train_run(YOLOConfig().replace(data="data.yaml", epochs=50))
        folder, result = train_run(resumed_config(folder).replace(epochs=80))

    With `config.training.resume` the run resumes in its folder; see `runs.resumed_config`. It says on stderr
    what it does, with a line for every epoch, as the command line does; `report` takes the lines instead, and
    with `progress=False` nothing is shown at all. `hooks` and `callbacks` are those of `train_model`,
    `on_epoch` that of `TrainingMonitor`. A run that is interrupted leaves its plots, and says how to
    continue it. Returns the folder and what `train_model` returns. Raises as `start_model`, `train_model` and
    `runs.open_run` do, and `CheckpointError` when the classes of a run that is resumed have changed.
    """
    from yolofast.train import CheckpointManager, TrainingMonitor, best_row

    report = report or (print_line if progress else ignore_line)
    data = dataset_of(config, report)
    config = _with_absolute_paths(config.replace(data=data.path))
    with open_run(config) as config:
        folder = config.logging.run_dir
        class_names = SINGLE_CLASS_NAMES if config.dataset.single_cls else data.names
        checkpoints = CheckpointManager(folder / WEIGHTS_FOLDER)
        saved = checkpoints.latest_header() if config.training.resume else None
        if saved is None:
            model = start_model(config, class_names, report)
        else:  # everything is in the checkpoint: the weights that the run started from may be gone
            check_same_classes(saved, class_names, data.path, checkpoints.best)
            model = start_model(config.replace(weights=None), class_names, saved=saved)
        checkpoints.model_metadata = model.metadata()
        monitor = TrainingMonitor(folder, config.logging.log_interval, report, on_epoch)
        try:
            result = train_model(
                model,
                config,
                checkpoints,
                monitor,
                data=data,
                hooks=hooks,
                progress=progress,
                callbacks=callbacks,
            )
        except KeyboardInterrupt:
            report(interrupted_line(folder, len(checkpoints.history())))
            raise
        finally:
            if config.logging.plots:
                plot_history(monitor)
    best = best_row(result.training_history)
    scores = f"mAP50 {best['map50']:.3f}, mAP50-95 {best['map50_95']:.3f}"
    report(f"best epoch {best['epoch']:.0f}: {scores}, in {checkpoints.best}")
    return folder, result


def _with_absolute_paths(config: YOLOConfig) -> YOLOConfig:
    """`config` with paths that hold when the run is resumed from another folder."""
    paths = {"weights": config.model.weights, "cache_dir": config.dataset.cache_dir}
    return config.replace(**{name: path.absolute() for name, path in paths.items() if path is not None})


def _loaded(weights: Path | Detector) -> Detector:
    from yolofast.models import load_weights

    return load_weights(weights) if isinstance(weights, Path) else weights


def evaluate_run(
    weights: Path | Detector,
    config: YOLOConfig,
    *,
    split: str | None = None,
    save_dir: Path | None = None,
    conf: float | None = None,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[str] | None = None,
    half: bool = False,
    augment: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Evaluate a weights file, or a loaded model, on a split of `config.dataset.data`.

    An omitted `split` means the validation split.

    The images are loaded, and the model runs, as in the validation of a training with `config`. `conf` is
    that of `YOLOEvaluator` if omitted; `iou`, `max_det`, `half` and `augment` are explained there, `classes`
    are names or numbers; `progress` shows a bar. With `save_dir`, metrics.json, predictions.json and plots
    are written there; the image ids in predictions.json count from 1 in the order of the split's files,
    readable or not, as in the ground truth that `convert_dataset` writes of the same dataset. Raises
    `DataError` when the dataset's classes are not the model's.
    """
    from yolofast.evaluate import YOLOEvaluator
    from yolofast.evaluate.evaluator import ALL_SCORES
    from yolofast.load import create_loader
    from yolofast.train import select_device
    from yolofast.train.trainer import LAYOUT

    model = _loaded(weights)
    numbers = class_numbers(classes, model.class_names)
    data = dataset_of(config)
    single = config.dataset.single_cls or model.class_names == SINGLE_CLASS_NAMES
    config = config.replace(data=data.path, single_cls=single)
    loader = create_loader(
        config,
        as_split(split) if split is not None else evaluation_split(data),
        augment=False,
        shuffle=False,
        data=data,
        device=loader_device(config),
    )
    if loader.dataset.class_names != model.class_names:
        raise DataError(
            f"{data.path}: the dataset's classes {list(loader.dataset.class_names)} are not the model's "
            f"{list(model.class_names)}. Use the data.yaml that the model was trained on."
        )
    evaluator = YOLOEvaluator(
        model.to(memory_format=LAYOUT),  # type: ignore[call-overload]
        class_names=model.class_names,
        device=select_device(config.training.device),
        conf=ALL_SCORES if conf is None else conf,
        iou=iou,
        max_det=max_det,
        classes=numbers,
        half=half,
        augment=augment,
    )
    if save_dir is None:
        return evaluator.evaluate_dataset(loader, progress=progress)
    listed = list_image_names(data, loader.dataset.split)
    ids = {path: number for number, path in enumerate(listed, 1)}  # as `convert_dataset` numbers them
    return evaluator.evaluate_dataset(loader, True, save_dir, progress, image_ids=ids)


# ---------------------------------------------------------------- export


def letterboxed_images(data: DataYaml, imgsz: int, count: int = CHECK_IMAGES) -> NDArray[np.uint8]:
    """The first `count` validation images, uint8 [N, 3, imgsz, imgsz], to verify an export on."""
    dataset = YOLODataset(data, evaluation_split(data), imgsz=imgsz)
    return np.stack([dataset[index].image for index in range(min(count, len(dataset)))])


def export_run(weights: Path | Detector, config: YOLOConfig, out: Path | None = None) -> ExportResult:
    """Export a weights file, or a loaded model, as `config.export` says, to `out`.

    Omitted means next to the weights; for a model, MODEL.onnx or .torchscript in the working folder.

    With `config.dataset.data` the exported model is run on real images and compared with torch. Raises
    `ExportError` when `out` is the weights file itself, and as `export_model` does.
    """
    from yolofast.export import SUFFIXES, export_model
    from yolofast.models import fused_copy

    settings = config.export
    source = weights if isinstance(weights, Path) else Path(weights.spec.name)
    target = out or source.with_suffix(SUFFIXES[settings.format])
    if isinstance(weights, Path) and target.resolve() == weights.resolve():
        raise ExportError(f"{target}: that is the weights file itself. Choose another --out.")
    model = fused_copy(_loaded(weights))
    imgsz = config.dataset.imgsz
    images = None
    if config.dataset.data is not None:
        images = letterboxed_images(dataset_of(config), imgsz)
    return export_model(
        model,
        target,
        format=settings.format,
        imgsz=imgsz,
        images=images,
        include_nms=settings.include_nms,
        dynamic=settings.dynamic,
        half_precision=settings.half_precision,
        simplify=settings.simplify,
        opset=settings.opset,
    )


# ---------------------------------------------------------------- the whole pipeline


@dataclass(frozen=True)
class PipelineResult:
    """The results of `run`; `summary` is the content of summary.json."""

    folder: Path
    prepared: PreparedDataset
    evaluation: Evaluation
    exports: dict[str, ExportResult]
    summary: dict[str, Any]


def run(source: Path, config: YOLOConfig, clock: Stopwatch) -> PipelineResult:
    """Raw dataset to exported detector: analyze, prepare, train, evaluate, export.

    The prepared dataset goes to `RUN/dataset`, where RUN is the run's folder. Needs the extra `onnx`. Writes
    RUN/summary.json: map50, map50_95, seconds per stage, and for each export the largest relative difference
    from torch. Progress goes to `clock.report`.
    """
    folder, report = config.logging.run_dir, clock.report
    with clock.stage("analyze", f"what is in {source}"):
        info = analyze_dataset(source)
        report(f"    {info.structure_type} {info.label_format} dataset: {info.total_images} images, "
               f"{info.total_boxes} boxes, classes {', '.join(info.class_names)}")  # fmt: skip
    with clock.stage("prepare", f"YOLO layout in {folder / 'dataset'}"):
        prepared = prepare_dataset(source, folder / "dataset", seed=config.training.seed)
        counts = ", ".join(f"{n} {split}" for split, n in prepared.images.items())
        report(f"    {counts} images; {len(prepared.dropped)} items dropped")
    config = config.replace(data=prepared.data_yaml, name=f"{config.logging.name}/train")
    with clock.stage("train", f"size {config.model.model} at {config.dataset.imgsz} px for "
                              f"{config.training.epochs} epochs"):  # fmt: skip
        train_folder, _ = train_run(config, report=report)
    weights = train_folder / "weights" / "best.safetensors"
    with clock.stage("evaluate", f"{weights} on the validation split"):
        evaluation = evaluate_run(weights, config, save_dir=folder / "evaluation")
        for line in evaluation.table().splitlines():
            report(line)
    with clock.stage("export", "ONNX, ONNX with NMS, and TorchScript, each checked on real images"):
        data = read_data_yaml(prepared.data_yaml)
        exports = _verified_exports(weights, data, config.dataset.imgsz, folder / "export", report)
    summary = {
        "map50": evaluation.overall_metrics["map50"],
        "map50_95": evaluation.overall_metrics["map50_95"],
        "seconds": clock.seconds,
        "export": {
            name: {"path": str(e.path), "max_rel_diff": e.max_rel_diff, "images": e.images_checked}
            for name, e in exports.items()
        },
        "files": {"weights": str(weights), "results": str(train_folder), "data": str(prepared.data_yaml)},
    }
    write_json(folder / SUMMARY_NAME, summary)
    return PipelineResult(folder, prepared, evaluation, exports, summary)


def _verified_exports(
    weights: Path, data: DataYaml, imgsz: int, folder: Path, report: Report
) -> dict[str, ExportResult]:
    """ONNX, ONNX with NMS, and TorchScript files of a weights file, each compared with torch."""
    from yolofast.export import SUFFIXES, export_model
    from yolofast.models import fused_copy, load_weights

    model = fused_copy(load_weights(weights))
    images = letterboxed_images(data, imgsz)
    exports = {}
    for name, form, nms in (
        ("onnx", "onnx", False),
        ("onnx_nms", "onnx", True),
        ("torchscript", "torchscript", False),
    ):
        target = folder / f"{'model_nms' if nms else 'model'}{SUFFIXES[form]}"
        exports[name] = export_model(model, target, format=form, imgsz=imgsz, images=images, include_nms=nms)
        report(f"    {target}: largest relative difference from torch on {len(images)} images: "
               f"{exports[name].max_rel_diff:.2e}")  # fmt: skip
    return exports
