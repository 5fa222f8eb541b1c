"""The whole pipeline: the only file that knows the order of the stages and composes them.

A run resolves its data once: `resolve_data` finds (or prepares) and reads data.yaml, and everything after
takes the `DataYaml`. Nothing here prints: progress goes to a `report` callable, warnings to the log.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolofast.analyze import analyze_dataset
from yolofast.config import LoggingConfig, YOLOConfig
from yolofast.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DatasetNotFoundError,
    ExportError,
    MissingExtraError,
)
from yolofast.files import write_json
from yolofast.formats.data_yaml import DataYaml, list_images, read_data_yaml
from yolofast.formats.discover import scan_dataset
from yolofast.images import IMAGE_SUFFIXES
from yolofast.load import SINGLE_CLASS_NAMES, YOLODataset
from yolofast.prepare import default_output, prepare_dataset, prepared_is_up_to_date
from yolofast.stopwatch import Report, Stopwatch
from yolofast.types import ExportResult, PreparedDataset, Split

if TYPE_CHECKING:
    import torch
    from torch import nn

    from yolofast.evaluate import Evaluation
    from yolofast.load.hooks import Hook, HookFunction
    from yolofast.models import Detector
    from yolofast.train import CheckpointManager, TrainingMonitor, TrainResult

_log = logging.getLogger(__name__)

CONFIG_NAME, METRICS_NAME, SUMMARY_NAME = "config.yaml", "metrics.json", "summary.json"
DETECTIONS_NAME, DATA_FLOW_NAME = "detections.json", "dataflow.json"
CHECK_IMAGES = 16
MODEL_TYPES = ("yolo",)

# ---------------------------------------------------------------- data


def auto_prepare_dataset_if_needed(root: str | Path, model_type: str = "yolo") -> Path:
    """The folder of a prepared dataset for `root`, which is prepared first if needed.

    Returns `root` at once when it holds data.yaml and images for training and validation. Otherwise the
    dataset is prepared next to it (the source is not changed), unless that was done before and nothing has
    changed since, and the prepared folder is returned. The source is scanned once.

        root = auto_prepare_dataset_if_needed("datasets/pets", model_type="yolo")
        config = YOLOConfig().replace(data=root / "data.yaml")

    `model_type` names the layout that is needed; 'yolo' is the only one. Raises `DatasetNotFoundError` (a
    FileNotFoundError) when there is no such folder, `DataError` when it holds no usable dataset,
    `ConfigError` for another `model_type`.
    """
    if model_type not in MODEL_TYPES:
        raise ConfigError(f"model_type: got '{model_type}', expected {' or '.join(MODEL_TYPES)}.")
    root = Path(root)
    if not root.exists():
        raise DatasetNotFoundError(
            f"{root}: no such folder. Create it and put your images and annotations in it "
            "(YOLO txt, COCO json or Pascal VOC xml), or give the path of an existing dataset."
        )
    return root if _prepared_data(root) is not None else _prepared(root)


def _prepared(root: Path) -> Path:
    """The folder next to `root` in which it is prepared, now unless it is up to date."""
    tree = scan_dataset(root)
    out = default_output(tree.root)
    if prepared_is_up_to_date(out, tree):  # then files that a user added to it are no reason to refuse
        return out
    return prepare_dataset(tree, out).root


def _prepared_data(root: Path) -> DataYaml | None:
    """The data.yaml in `root`, if it has images for training and validation."""
    path = root.resolve() / "data.yaml"  # where it is a link itself, its paths are still relative to `root`
    if not path.is_file():
        return None
    data = read_data_yaml(path)
    complete = all(split in data.splits and list_images(data, split) for split in ("train", "valid"))
    return data if complete else None


def resolve_data(data: Path | None) -> DataYaml:
    """The dataset meant by `--data`: a data.yaml, or that of a folder, which is prepared first if needed.

    `DataYaml.path` is absolute. Raises `ConfigError` for None, `DatasetNotFoundError` when `data` does not
    exist, `DataError` for an unusable dataset.
    """
    if data is None:
        raise ConfigError("data: missing, expected a data.yaml or a dataset folder. Add --data PATH.")
    if data.is_dir():
        prepared = _prepared_data(data)
        return prepared or read_data_yaml((_prepared(data) / "data.yaml").resolve())
    if not data.exists():
        raise DatasetNotFoundError(f"{data}: no such file or folder. Give a data.yaml or a dataset folder.")
    return read_data_yaml(data.resolve())


def evaluation_split(data: DataYaml) -> Split:
    """`valid`, or `test` for a dataset that has only that. Raises `DataError` with neither."""
    if "valid" in data.splits:
        return "valid"
    if "test" in data.splits:
        return "test"
    raise DataError(f"{data.path}: no validation split. Run `yolofast prepare`, which makes one.")


# ---------------------------------------------------------------- train and evaluate


def start_model(config: YOLOConfig, class_names: tuple[str, ...]) -> Detector:
    """A new model as `config.model` describes it, starting from its `weights` if there are any."""
    from yolofast.models import LossGains, build_model, transfer_weights

    training = config.training
    model = build_model(
        config.model.model,
        len(class_names),
        class_names=class_names,
        gains=LossGains(training.box, training.cls, training.dfl),
        seed=training.seed,
    )
    if config.model.weights is not None:
        report = transfer_weights(model, config.model.weights)
        _log.info("%s: %s", config.model.weights, report)
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
) -> TrainResult:
    """Train `model` on `config.dataset.data`, validating and saving a checkpoint after every epoch.

    With `config.training.resume` training resumes from the manager's latest checkpoint. A monitor with a
    folder also gets the run's config.yaml and dataflow.json (where the loader's time went) next to its
    results.csv. `data` is the dataset if it has been read already; omitted means it is found by
    `resolve_data`. `hooks` are the user's own transforms of the training samples (`yolofast.load.hooks`).
    The result also reads as a mapping: `result["training_history"]` (a dict of metrics per epoch),
    `result["best_metric"]` (mAP50-95) and `result["final_epoch"]`.
    """
    import torch

    from yolofast.evaluate import YOLOEvaluator
    from yolofast.load import DataFlowMonitor, create_loader
    from yolofast.train import Trainer

    torch.manual_seed(config.training.seed)
    data = data or resolve_data(config.dataset.data)
    config = config.replace(data=data.path)
    flow, device = DataFlowMonitor(), loader_device(config)
    loader = create_loader(
        config, "train", augment=True, shuffle=True, data=data, monitor=flow, device=device, hooks=hooks
    )
    split = evaluation_split(data)
    valid = create_loader(config, split, augment=False, shuffle=False, data=data, device=device)

    def validate(averaged: nn.Module) -> dict[str, float]:
        evaluator = YOLOEvaluator(averaged, class_names=model.class_names, device=trainer.device)
        figures = evaluator.evaluate_dataset(valid, progress=False).overall_metrics
        losses = {f"val_{name}": figures[name] for name in ("box", "cls", "dfl", "loss")}
        return losses | {name: figures[name] for name in ("precision", "recall", "map50", "map50_95")}

    trainer = Trainer(
        model,
        loader,
        config.training,
        num_classes=model.num_classes,
        validate=validate,
        checkpoints=checkpoint_manager,
        monitor=monitor,
    )
    if monitor is not None and monitor.directory is not None:
        config.replace(resume=False).to_yaml(monitor.directory / CONFIG_NAME)
    result = trainer.fit()
    if monitor is not None and monitor.directory is not None:
        write_json(monitor.directory / DATA_FLOW_NAME, flow.report())
    return result


def new_run(config: YOLOConfig) -> YOLOConfig:
    """The config with the name of a new run; a name that is taken gets the next free number.

    So a run never writes into the folder of an earlier one.
    """
    folder = config.logging.run_dir
    for number in itertools.count(2):
        if not folder.exists() or not any(folder.iterdir()):
            break
        folder = config.logging.project / f"{config.logging.name}-{number}"
    return config.replace(name=str(folder.relative_to(config.logging.project)))


def resumed_config(logging_config: LoggingConfig) -> YOLOConfig:
    """The settings of the run in `logging_config.run_dir`, with `resume` on.

    Raises `CheckpointError` when there is no run.
    """
    folder = logging_config.run_dir
    if not (folder / CONFIG_NAME).exists():
        raise CheckpointError(f"{folder}: no run to resume here. Name one with --name, or drop --resume.")
    _log.info("resuming %s", folder)
    saved = YOLOConfig.from_yaml(folder / CONFIG_NAME)
    return saved.replace(resume=True, project=logging_config.project, name=logging_config.name)


def train_run(config: YOLOConfig) -> tuple[Path, TrainResult]:
    """One training run in a folder of its own: config, checkpoints, results.csv and plots.

    With `config.training.resume` the run resumes in its folder; see `resumed_config`. Returns the folder and
    what `train_model` returns.
    """
    from yolofast.evaluate.plots import plot_training
    from yolofast.train import CheckpointManager, TrainingMonitor

    data = resolve_data(config.dataset.data)
    config = config.replace(data=data.path)
    if not config.training.resume:
        config = new_run(config)
    folder = config.logging.run_dir
    model = start_model(config, SINGLE_CLASS_NAMES if config.dataset.single_cls else data.names)
    metadata = {**model.metadata(), "imgsz": str(config.dataset.imgsz)}
    checkpoints = CheckpointManager(folder / "weights", metadata)
    monitor = TrainingMonitor(folder, config.logging.log_interval)
    result = train_model(model, config, checkpoints, monitor, data=data)
    if config.logging.plots:
        try:
            plot_training(result.training_history, folder / "results.png")
        except MissingExtraError as error:
            _log.warning("results.png was not plotted: %s", error)
    return folder, result


def evaluate_run(
    weights: Path, config: YOLOConfig, *, split: Split | str | None = None, save_dir: Path | None = None
) -> Evaluation:
    """Evaluate a weights file on a split of `config.dataset.data`; omitted means the validation split.

    With `save_dir`, metrics.json, predictions.json and plots are written there. Raises `DataError` when the
    dataset's classes are not the model's.
    """
    from yolofast.evaluate import YOLOEvaluator
    from yolofast.load import create_loader
    from yolofast.models import load_weights
    from yolofast.train import select_device

    model = load_weights(weights)
    data = resolve_data(config.dataset.data)
    single = config.dataset.single_cls or model.class_names == SINGLE_CLASS_NAMES
    config = config.replace(data=data.path, single_cls=single)
    loader = create_loader(
        config,
        split or evaluation_split(data),
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
        model, class_names=model.class_names, device=select_device(config.training.device)
    )
    result = evaluator.evaluate_dataset(loader, save_predictions=save_dir is not None, save_dir=save_dir)
    if save_dir is not None:
        write_json(save_dir / METRICS_NAME, result.to_dict())
    return result


# ---------------------------------------------------------------- predict and export


def predict_run(
    weights: Path,
    source: Path,
    save_dir: Path,
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Detect objects in an image or a folder of images, and plot them into `save_dir`.

    Returns, and writes to `save_dir/detections.json`, one dict per image: path, detections (class, name,
    score, box xyxy in pixels of the image). Images that cannot be read are logged and skipped. Raises
    `DatasetNotFoundError` when there is nothing at `source`, `DataError` when no image can be read.
    """
    from yolofast.evaluate import predict_images
    from yolofast.models import load_weights
    from yolofast.train import select_device

    if source.is_dir():
        paths = sorted(p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    elif source.exists():
        paths = [source]
    else:
        raise DatasetNotFoundError(f"{source}: no such image or folder.")
    if not paths:
        raise DataError(f"{source}: no image in this folder, expected {', '.join(sorted(IMAGE_SUFFIXES))}.")
    model = load_weights(weights)
    found = predict_images(
        model,
        paths,
        imgsz=imgsz,
        conf=conf,
        iou=iou,
        max_det=max_det,
        device=select_device(device),
        save_dir=save_dir,
        class_names=model.class_names,
    )
    result = [
        {
            "path": str(path),
            "detections": [
                {
                    "class": int(label),
                    "name": model.class_names[label],
                    "score": round(float(score), 5),
                    "box": [round(float(side), 2) for side in box],
                }
                for box, score, label in zip(
                    detections.boxes, detections.scores, detections.classes, strict=True
                )
            ],
        }
        for path, detections in tqdm(found, total=len(paths), desc="predict", unit="image", leave=False)
    ]
    if not result:
        raise DataError(f"{source}: none of the {len(paths)} images could be read.")
    write_json(save_dir / DETECTIONS_NAME, result)
    return result


def letterboxed_images(data: DataYaml, imgsz: int, count: int = CHECK_IMAGES) -> NDArray[np.uint8]:
    """The first `count` validation images, uint8 [N, 3, imgsz, imgsz], to verify an export on."""
    dataset = YOLODataset(data, evaluation_split(data), imgsz=imgsz)
    return np.stack([dataset[index].image for index in range(min(count, len(dataset)))])


def export_run(weights: Path, config: YOLOConfig, out: Path | None = None) -> ExportResult:
    """Export a weights file as `config.export` says, to `out`; omitted means next to the weights.

    With `config.dataset.data` the exported model is run on real images and compared with torch. Raises
    `ExportError` when `out` is the weights file itself, and as `export_model` does.
    """
    from yolofast.export import SUFFIXES, export_model
    from yolofast.models import fused_copy, load_weights

    settings = config.export
    target = out or weights.with_suffix(SUFFIXES[settings.format])
    if target.resolve() == weights.resolve():
        raise ExportError(f"{target}: that is the weights file itself. Choose another --out.")
    model = fused_copy(load_weights(weights))
    imgsz = config.dataset.imgsz
    images = None
    if config.dataset.data is not None:
        images = letterboxed_images(resolve_data(config.dataset.data), imgsz)
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
        train_folder, _ = train_run(config)
    weights = train_folder / "weights" / "best.safetensors"
    with clock.stage("evaluate", f"{weights} on the validation split"):
        evaluation = evaluate_run(weights, config, save_dir=folder / "evaluation")
        report(evaluation.table())
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
