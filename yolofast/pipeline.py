"""The whole road: the only file that knows the order of the stages and composes them."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from yolofast.formats.discover import scan_dataset
from yolofast.formats.yolo.data_yaml import DataYaml, list_images, read_data_yaml
from yolofast.images import IMAGE_SUFFIXES
from yolofast.load import SINGLE_CLASS_NAMES, YOLODataset
from yolofast.prepare import default_output, prepare_dataset, prepared_is_up_to_date
from yolofast.types import ExportResult, PreparedDataset, Split

if TYPE_CHECKING:
    import torch
    from torch import nn

    from yolofast.evaluate import Evaluation
    from yolofast.load.hooks import Hook, HookFunction
    from yolofast.models import Detector
    from yolofast.train import CheckpointManager, TrainingMonitor

_log = logging.getLogger(__name__)

CONFIG_NAME, METRICS_NAME, SUMMARY_NAME = "config.yaml", "metrics.json", "summary.json"
DETECTIONS_NAME, DATA_FLOW_NAME = "detections.json", "dataflow.json"
CHECK_IMAGES = 16
MODEL_TYPES = ("yolo",)

# ---------------------------------------------------------------- data


def auto_prepare_dataset_if_needed(root: str | Path, model_type: str = "yolo") -> Path:
    """The folder of a prepared dataset for `root`, which is prepared first if needed.

    Returns `root` at once when it has a data.yaml and training and validation images. Otherwise the source is
    scanned once and prepared next to it (it is not changed), unless the prepared folder is up to date, and
    the prepared folder is returned. Raises `DatasetNotFoundError` (a FileNotFoundError) when there is no such
    folder, `DataError` when it has no usable dataset, `ConfigError` for another `model_type`.
    """
    if model_type not in MODEL_TYPES:
        raise ConfigError(f"model_type: got '{model_type}', expected {' or '.join(MODEL_TYPES)}.")
    root = Path(root)
    if not root.exists():
        raise DatasetNotFoundError(
            f"{root}: no such folder. Create it and put your images and annotations in it "
            "(YOLO txt, COCO json or Pascal VOC xml), or give the path of an existing dataset."
        )
    if _is_prepared(root):
        return root
    tree = scan_dataset(root)
    out = default_output(tree.root)
    if prepared_is_up_to_date(out, tree):  # then files that a user added to it are no reason to refuse
        return out
    return prepare_dataset(tree, out).root


def _is_prepared(root: Path) -> bool:
    yaml = root / "data.yaml"
    if not yaml.is_file():
        return False
    data = read_data_yaml(yaml)
    return all(split in data.splits and list_images(data, split) for split in ("train", "valid"))


def find_data_yaml(data: Path | None) -> Path:
    """The data.yaml meant by `--data`, absolute: the file itself, or that of a folder, prepared if needed."""
    if data is None:
        raise ConfigError("data: nothing given, expected a data.yaml or a dataset folder. Add --data PATH.")
    if data.is_dir():
        return (auto_prepare_dataset_if_needed(data) / "data.yaml").resolve()
    if not data.exists():
        raise DatasetNotFoundError(f"{data}: no such file or folder. Give a data.yaml or a dataset folder.")
    return data.resolve()


def evaluation_split(data: DataYaml) -> Split:
    """`valid`, or `test` where a dataset has only that; `DataError` with neither."""
    if "valid" in data.splits:
        return "valid"
    if "test" in data.splits:
        return "test"
    raise DataError(f"{data.path}: no validation split. Run `yolofast prepare`, which makes one.")


# ---------------------------------------------------------------- train and evaluate


def start_model(config: YOLOConfig, class_names: tuple[str, ...]) -> Detector:
    """A new model of `config.model`, from `weights` where they are given."""
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
    """The device on which `config.dataset.loader_device` has batches rendered; None = the CPU.

    Raises `ConfigError` when it asks for CUDA and the training device is another.
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
    hooks: Iterable[Hook | HookFunction] = (),
) -> dict[str, Any]:
    """Train `model` on `config.dataset.data`, validating and saving after every epoch.

    A monitor with a folder gets the run's config.yaml and dataflow.json (where the loader's time went)
    beside its results.csv. With
    `config.training.resume` it goes on from the manager's latest checkpoint. `hooks` are the user's own
    transforms of the training samples (`yolofast.load.hooks`). Returns
    `training_history` (a dict of figures an epoch), `best_metric` (mAP50-95) and `final_epoch`.
    """
    import torch

    from yolofast.evaluate import YOLOEvaluator
    from yolofast.load import DataFlowMonitor, create_loader
    from yolofast.train import Trainer

    torch.manual_seed(config.training.seed)
    config = config.replace(data=find_data_yaml(config.dataset.data))
    flow, device = DataFlowMonitor(), loader_device(config)
    loader = create_loader(
        config, "train", augment=True, shuffle=True, monitor=flow, device=device, hooks=hooks
    )
    split = evaluation_split(loader.dataset.data)
    valid = create_loader(config, split, augment=False, shuffle=False, device=device)

    def validate(average: nn.Module) -> dict[str, float]:
        evaluator = YOLOEvaluator(average, class_names=model.class_names, device=trainer.device)
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
    return {
        "training_history": list(result.training_history),
        "best_metric": result.best_metric,
        "final_epoch": result.final_epoch,
    }


def new_run(config: YOLOConfig) -> YOLOConfig:
    """The config with the name of a new run: a run never writes into an old one's folder.

    A taken name gets the next free number.
    """
    folder = config.logging.run_dir
    for number in itertools.count(2):
        if not folder.exists() or not any(folder.iterdir()):
            break
        folder = config.logging.project / f"{config.logging.name}-{number}"
    return config.replace(name=str(folder.relative_to(config.logging.project)))


def resumed_config(logging_config: LoggingConfig) -> YOLOConfig:
    """The settings of the run in `logging_config.run_dir`, to go on with it.

    Raises `CheckpointError` when there is no run.
    """
    folder = logging_config.run_dir
    if not (folder / CONFIG_NAME).exists():
        raise CheckpointError(f"{folder}: no run to resume here. Name one with --name, or drop --resume.")
    _log.info("resuming %s", folder)
    place = {"project": logging_config.project, "name": logging_config.name}
    return YOLOConfig.from_yaml(folder / CONFIG_NAME).replace(resume=True, **place)


def train_run(config: YOLOConfig) -> tuple[Path, dict[str, Any]]:
    """One training run with its folder: config, checkpoints, results.csv and plots.

    With `config.training.resume` the run goes on in its folder; see `resumed_config`. Returns the
    folder and what `train_model` returns.
    """
    from yolofast.evaluate.plots import plot_training
    from yolofast.train import CheckpointManager, TrainingMonitor

    data = find_data_yaml(config.dataset.data)
    config = config.replace(data=data)
    if not config.training.resume:
        config = new_run(config)
    folder, names = config.logging.run_dir, read_data_yaml(data).names
    model = start_model(config, SINGLE_CLASS_NAMES if config.dataset.single_cls else names)
    metadata = {**model.metadata(), "imgsz": str(config.dataset.imgsz)}
    checkpoints = CheckpointManager(folder / "weights", metadata)
    monitor = TrainingMonitor(folder, config.logging.log_interval)
    result = train_model(model, config, checkpoints, monitor)
    if config.logging.plots:
        try:
            plot_training(result["training_history"], folder / "results.png")
        except MissingExtraError as error:
            _log.warning("no plot: %s", error)
    return folder, result


def evaluate_run(
    weights: Path, config: YOLOConfig, *, split: Split | None = None, save_dir: Path | None = None
) -> Evaluation:
    """Evaluate a weights file on a split (default: validation) of `config.dataset.data`.

    With `save_dir`: metrics.json, predictions.json and plots are written there.
    """
    from yolofast.evaluate import YOLOEvaluator
    from yolofast.load import create_loader
    from yolofast.models import load_weights
    from yolofast.train import select_device

    model = load_weights(weights)
    path = find_data_yaml(config.dataset.data)
    data = read_data_yaml(path)
    single = config.dataset.single_cls or model.class_names == SINGLE_CLASS_NAMES
    config = config.replace(data=path, single_cls=single)
    loader = create_loader(
        config, split or evaluation_split(data), augment=False, shuffle=False, device=loader_device(config)
    )
    if loader.dataset.class_names != model.class_names:
        raise DataError(
            f"{data.path}: the dataset's classes {list(loader.dataset.class_names)} are not the model's "
            f"{list(model.class_names)}. Use the data.yaml that the model was trained with."
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
    """Detect objects in an image or a folder of images, drawn into `save_dir`.

    Returns, and writes to `save_dir/detections.json`, a dict an image: path, detections (class, name,
    score, box xyxy in pixels of the image). Images that cannot be read are reported and left out.
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
                for box, score, label in zip(seen.boxes, seen.scores, seen.classes, strict=True)
            ],
        }
        for path, seen in tqdm(found, total=len(paths), desc="predict", unit="image", leave=False)
    ]
    if not result:
        raise DataError(f"{source}: none of the {len(paths)} images could be read.")
    write_json(save_dir / DETECTIONS_NAME, result)
    return result


def letterboxed_images(data: Path, imgsz: int, count: int = CHECK_IMAGES) -> NDArray[np.uint8]:
    """The first `count` validation images, uint8 [N, 3, imgsz, imgsz]: what an export is checked on."""
    described = read_data_yaml(data)
    dataset = YOLODataset(described, evaluation_split(described), imgsz=imgsz)
    return np.stack([dataset[index].image for index in range(min(count, len(dataset)))])


def export_run(weights: Path, config: YOLOConfig, out: Path | None = None) -> ExportResult:
    """Export a weights file as `config.export` says, beside it or to `out`.

    With `config.dataset.data` the exported file is run on real images and compared with torch.
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
        images = letterboxed_images(find_data_yaml(config.dataset.data), imgsz)
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


# ---------------------------------------------------------------- the whole road


@dataclass
class Stopwatch:
    """Announces stages and keeps how long each took."""

    stages: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce stage `name` as the next of `stages` and time it."""
        print(f"\n[{len(self.seconds) + 1}/{self.stages}] {name}: {what}", flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        print(f"    {self.seconds[name]:.1f} s", flush=True)


@dataclass(frozen=True)
class RoadResult:
    """What the whole road gave; `summary` is what summary.json holds."""

    folder: Path
    prepared: PreparedDataset
    evaluation: Evaluation
    exports: dict[str, ExportResult]
    summary: dict[str, Any]


def run(source: Path, config: YOLOConfig, clock: Stopwatch) -> RoadResult:
    """Raw dataset to exported detector: analyze, prepare, train, evaluate, export.

    The prepared dataset goes to `RUN/dataset`, where RUN is the run's folder. Needs the extra
    `onnx`. Leaves RUN/summary.json: map50, map50_95, seconds a stage, and for each export the largest
    relative difference from torch.
    """
    from yolofast.export import SUFFIXES, export_model
    from yolofast.models import fused_copy, load_weights

    folder = config.logging.run_dir
    with clock.stage("analyze", f"what is in {source}"):
        info = analyze_dataset(source)
        print(f"    {info.structure_type} {info.label_format} dataset: {info.total_images} images, "
              f"{info.total_boxes} boxes, classes {', '.join(info.class_names)}")  # fmt: skip
    with clock.stage("prepare", f"YOLO layout in {folder / 'dataset'}"):
        prepared = prepare_dataset(source, folder / "dataset", seed=config.training.seed)
        counts = ", ".join(f"{n} {split}" for split, n in prepared.images.items())
        print(f"    {counts} images; {len(prepared.dropped)} items dropped")
    config = config.replace(data=prepared.data_yaml, name=f"{config.logging.name}/train")
    with clock.stage("train", f"size {config.model.model} at {config.dataset.imgsz} px for "
                              f"{config.training.epochs} epochs"):  # fmt: skip
        train_folder, _ = train_run(config)
    weights = train_folder / "weights" / "best.safetensors"
    with clock.stage("evaluate", f"{weights} on the validation split"):
        evaluation = evaluate_run(weights, config, save_dir=folder / "evaluation")
        print(evaluation.table())
    exports = {}
    with clock.stage("export", "ONNX, ONNX with NMS, and TorchScript, each checked on real images"):
        model = fused_copy(load_weights(weights))
        images = letterboxed_images(prepared.data_yaml, config.dataset.imgsz)
        for name, form, nms in (
            ("onnx", "onnx", False),
            ("onnx_nms", "onnx", True),
            ("torchscript", "torchscript", False),
        ):
            target = folder / "export" / f"{'model_nms' if nms else 'model'}{SUFFIXES[form]}"
            target.parent.mkdir(exist_ok=True)
            exports[name] = export_model(
                model, target, format=form, imgsz=config.dataset.imgsz, images=images, include_nms=nms
            )
            print(f"    {target}: largest relative difference from torch on {len(images)} images: "
                  f"{exports[name].max_rel_diff:.2e}")  # fmt: skip
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
    return RoadResult(folder, prepared, evaluation, exports, summary)
