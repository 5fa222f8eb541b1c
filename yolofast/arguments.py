"""The arguments of every command: a field is a flag, the text under it is its help."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from yolofast.config import (
    AugmentConfig,
    Cache,
    DatasetConfig,
    ExportConfig,
    LoggingConfig,
    ModelConfig,
    PrepareConfig,
    Section,
    TrainingConfig,
    bounded,
)
from yolofast.errors import ConfigError


@dataclass(frozen=True)
class DemoArgs:
    """Walk the whole road on an embedded sample dataset: a few minutes on two CPU cores."""

    project: Path = Path("runs")
    """Folder that holds the runs; the demo goes to PROJECT/demo."""


@dataclass(frozen=True)
class FetchArgs:
    """Get a dataset: a zip or tar archive (URL or file), or a Roboflow project."""

    source: tyro.conf.Positional[str]
    """http(s) URL or local path of a zip or tar archive, or roboflow:WORKSPACE/PROJECT/VERSION (the API
    key is read from the environment variable ROBOFLOW_API_KEY)."""
    out: Path = Path("datasets")
    """Folder to put the dataset in."""
    sha256: str | None = None
    """SHA-256 of the archive in hex digits; another archive is not unpacked."""
    size: int | None = None
    """Bytes of the archive; another archive is not downloaded."""
    retries: int = 5
    """How often a download that broke off is tried again; it goes on where it was."""


@dataclass(frozen=True)
class AnalyzeArgs:
    """Say what a dataset folder holds: structure, format, classes, splits."""

    path: tyro.conf.Positional[Path]
    """Dataset folder."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class CheckArgs:
    """List what is wrong with a dataset, with file and line."""

    path: tyro.conf.Positional[Path]
    """Dataset folder."""
    decode: bool = False
    """Decode every image in full (slower; finds damage inside)."""
    json: bool = False
    """Print one JSON object with every finding."""
    html: Path | None = None
    """Also write a report with plots and pictures of the worst cases to this HTML file."""
    label_format: str | None = None
    """Which labels count, in a folder that holds several formats (such as yolo, coco, voc)."""


def _parse_renames(pairs: list[str]) -> dict[str, str]:
    """Old class name -> new one, from OLD=NEW."""
    renames: dict[str, str] = {}
    for pair in pairs:
        old, found, new = pair.partition("=")
        if not found or renames.setdefault(old, new) != new:
            raise ConfigError(
                f"rename: got '{pair}', expected OLD=NEW once for each class, such as car=vehicle."
            )
    return renames


_RENAMES = tyro.constructors.PrimitiveConstructorSpec[Mapping[str, str] | None](
    nargs="*",
    metavar="[OLD=NEW [OLD=NEW ...]]",
    instance_from_str=_parse_renames,
    is_instance=lambda value: value is None or isinstance(value, Mapping),
    str_from_instance=lambda value: [f"{old}={new}" for old, new in (value or {}).items()],
)
_NAMES_OR_ALL = tyro.constructors.PrimitiveConstructorSpec[tuple[str, ...] | None](
    nargs="*",
    metavar="[STR [STR ...]]",
    instance_from_str=lambda names: tuple(names) or None,
    is_instance=lambda value: value is None or isinstance(value, tuple),
    str_from_instance=lambda value: list(value or ()),
)


@dataclass(frozen=True)
class PrepareFlags(PrepareConfig):
    """How a dataset is written in the YOLO layout."""

    # The command line spells these two in its own way.

    rename: Annotated[Mapping[str, str] | None, _RENAMES] = None
    """Classes to rename, each as OLD=NEW; classes with the same new name are merged."""
    keep: Annotated[tuple[str, ...] | None, _NAMES_OR_ALL] = None
    """Classes (old names) whose boxes are kept; those of all others are dropped. Omitted means all."""


@dataclass(frozen=True)
class PrepareArgs:
    """Convert a dataset to the YOLO layout with data.yaml; the source is never changed."""

    path: tyro.conf.Positional[Path]
    """Dataset folder (YOLO txt, COCO json, Pascal VOC xml, CSV, Open Images or LabelMe)."""
    out: Path | None = None
    """Output folder; default: PATH_yolo, next to the source."""
    config: PrepareFlags = field(default_factory=PrepareFlags)
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ConvertArgs:
    """Write a dataset as COCO json or Pascal VOC xml; the source is never changed."""

    path: tyro.conf.Positional[Path]
    """Dataset folder (any labels that are read here)."""
    to: Literal["coco", "voc"]
    """The format to write. For the YOLO layout: yolofast prepare."""
    out: Path | None = None
    """Where to; by default a folder PATH_coco or PATH_voc beside the source."""
    link: Literal["hard", "copy", "symlink"] = "hard"
    """hard: link images where the file system allows, else copy; copy: always; symlink: point at them."""
    label_format: str | None = None
    """Which labels count, in a folder that holds several formats."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class TrainArgs:
    """Train a detector. Settings come from --config (or the run to --resume), then from the flags."""

    config: Path | None = None
    """YAML file with settings, in the sections model, dataset, training, augment, logging."""
    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    json: bool = False
    """Print one JSON object with the best epoch's figures at the end."""


@dataclass(frozen=True)
class ValArgs(Section):
    """Evaluate trained weights: P, R, mAP50, mAP50-95 per class, predictions, curves, confusion matrix."""

    weights: Path
    """Weights file (.safetensors)."""
    data: Path
    """data.yaml or dataset folder."""
    imgsz: int | None = None
    """Side of the square image in pixels; by default what the weights were trained with."""
    batch: int = bounded(16, 1)
    """Images in a step."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    workers: int | None = bounded(None, 0)
    """Loader threads; by default 0 (the same thread) on the CPU, up to 16 beside a GPU."""
    split: Literal["train", "valid", "test"] | None = None
    """Which split; by default the validation split."""
    metrics: Literal["yolo", "coco"] = "yolo"
    """coco: show COCO's twelve figures too, as pycocotools gives them (objects are small, medium or large
    by the area of their boxes). With --json they are always there."""
    project: Path = Path("runs")
    """Folder that holds the runs."""
    name: str = "val"
    """Results go to PROJECT/NAME."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class PredictArgs(Section):
    """Find objects in images: draws them, and writes detections.json."""

    weights: Path
    """Weights file (.safetensors)."""
    source: Path
    """An image or a folder of images."""
    imgsz: int | None = None
    """Side of the square image in pixels; by default what the weights were trained with."""
    conf: float = bounded(0.25, 0.0, 1.0)
    """Lowest score to show."""
    iou: float = bounded(0.7, 0.0, 1.0)
    """Overlap above which the lower of two boxes of a class is dropped."""
    max_det: int = bounded(300, 1)
    """Most detections in an image."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    project: Path = Path("runs")
    """Folder that holds the runs."""
    name: str = "predict"
    """Results go to PROJECT/NAME."""
    json: bool = False
    """Print one JSON object with all detections."""


@dataclass(frozen=True)
class ExportArgs:
    """Export trained weights to ONNX or TorchScript and compare the result with torch."""

    weights: Path
    """Weights file (.safetensors)."""
    data: Path | None = None
    """data.yaml or dataset folder: the exported file is checked on its validation images."""
    imgsz: int | None = None
    """Side of the square image in pixels; by default what the weights were trained with."""
    out: Path | None = None
    """Where to; by default beside the weights."""
    export: ExportConfig = field(default_factory=ExportConfig)
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class LoadingArgs(Section):
    """What is loaded, and for how long it is measured."""

    data: Path
    """data.yaml or dataset folder."""
    imgsz: int = 640
    """Width and height of a sample in pixels."""
    threads: int = bounded(1, 1)
    """Loader threads. With --peers every loader has one, and ours is also measured with this many."""
    cache: Cache = "none"
    """none: every sample is read and decoded from its file; ram or disk: from decoded images."""
    augment: Literal["none", "default"] = "default"
    """default: training augmentation with mosaic; none: letterbox."""
    split: Literal["train", "valid", "test"] = "train"
    """Which split."""
    seconds: float | None = bounded(None, 0.0, open_low=True)
    """How long to measure; omitted means 5 s, or with --peers 2 s per loader and round."""
    rounds: int = bounded(7, 1)
    """Rounds with --peers: every loader runs once per round."""


@dataclass(frozen=True)
class BenchNmsArgs:
    """Measure NMS and postprocessing, alone or compared with torchvision and Ultralytics."""

    peers: tuple[Literal["all", "torchvision", "ultralytics"], ...] | None = None
    """Packages to compare with, in alternating rounds; no name means all. One that is not installed is
    skipped."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment that holds the peers; omitted means this one."""
    boxes: tuple[int, ...] = (5_000, 30_000)
    """Numbers of boxes for NMS."""
    images: int = 16
    """Images in the batch that is postprocessed in one call."""
    rounds: int = 7
    """Alternating rounds."""
    seconds: float = 0.2
    """Length of a round of each package in seconds."""
    out: Path | None = None
    """Folder for nms.json and the chart nms.png (the chart needs --peers)."""
    json: bool = False
    """Print one JSON object."""


MapPeer = Literal["all", "hotcoco", "ultrafast-pycocotools", "faster-coco-eval", "pycocotools"]


@dataclass(frozen=True)
class BenchMapArgs:
    """Measure COCO evaluation, alone or compared with pycocotools and faster packages."""

    gt: Path | None = None
    """COCO ground truth; omitted means a generated set with 80 classes."""
    dt: Path | None = None
    """COCO results for that ground truth."""
    images: int = 5_000
    """Images of the generated set."""
    detections: int = 500_000
    """Detections of the generated set."""
    style: Literal["rounded", "full"] = "rounded"
    """Numbers of the generated set: boxes with 3 decimals and scores with 5, or all digits of float32."""
    peers: tuple[MapPeer, ...] | None = None
    """Packages to compare with on the same files; no name means all. One that is not installed is skipped.
    faster-coco-eval and pycocotools are slow and evaluate once."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment that holds the peers; omitted means this one."""
    threads: int = 1
    """Threads of each package."""
    rounds: int = 9
    """Alternating rounds."""
    fresh: int = 5
    """New processes of each package that evaluate once."""
    out: Path | None = None
    """Folder for map.json and the chart map.png."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class BenchLoaderArgs:
    """Measure the loader's samples per second, alone or compared with other loaders."""

    loading: LoadingArgs
    peers: tuple[Literal["all", "ultralytics", "opencv", "torchvision", "dali"], ...] | None = None
    """Loaders to compare with, in alternating rounds; no name means all. One that is not installed is
    skipped. They work on a copy of at most 1024 images."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment that holds the peers; omitted means this one."""
    out: Path | None = None
    """Folder for loader.json and the chart loader.png (the chart needs --peers)."""
    json: bool = False
    """Print one JSON object."""
