"""The arguments of every command: a field is a flag, the text under it is its help.

`train`, `val` and `export` reuse the sections of `YOLOConfig`, so a setting is declared once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from yolofast.cli.completion import Shell
from yolofast.cli.parser import POSITIONAL
from yolofast.config import (
    LABEL_FORMAT,
    AugmentConfig,
    Cache,
    DatasetConfig,
    ExportConfig,
    LoggingConfig,
    ModelConfig,
    PrepareConfig,
    TrainingConfig,
)
from yolofast.config_fields import Section, bounded
from yolofast.errors import ConfigError

LoaderPeer = Literal["all", "ultralytics", "opencv", "torchvision", "dali"]
NmsPeer = Literal["all", "torchvision", "ultralytics"]
MapPeer = Literal["all", "hotcoco", "ultrafast-pycocotools", "faster-coco-eval", "pycocotools"]


@dataclass(frozen=True)
class DemoArgs(Section):
    """Run the whole pipeline on a generated sample dataset: a few minutes on two CPU cores."""

    project: Path = Path("runs")
    """Parent folder of all runs; the demo writes to PROJECT/demo."""


@dataclass(frozen=True)
class CompletionArgs(Section):
    """Print the completion script of a shell: eval "$(yolofast completion bash)" switches it on."""

    shell: Shell = field(metadata=POSITIONAL)
    """bash, zsh or fish."""


@dataclass(frozen=True)
class FetchArgs(Section):
    """Download a dataset: a zip or tar archive (URL or file), or a Roboflow project."""

    source: str = field(metadata=POSITIONAL)
    """http(s) URL or local path of a zip or tar archive, or roboflow:WORKSPACE/PROJECT/VERSION (the API
    key is read from the environment variable ROBOFLOW_API_KEY)."""
    out: Path = Path("datasets")
    """Parent folder for the dataset."""
    sha256: str | None = None
    """Expected SHA-256 of the archive (hex); an archive with another digest is not unpacked."""
    size: int | None = None
    """Expected size of the archive in bytes; an archive of another size is not downloaded."""
    retries: int = bounded(5, 0)
    """Retries after an interrupted download; resumed where the server has a strong ETag, or with --sha256."""
    unsafe_redirects: bool = False
    """Also follow redirects from https to http, and from the internet to private or local addresses."""


@dataclass(frozen=True)
class AnalyzeArgs(Section):
    """Summarise a dataset folder: structure, format, classes, splits."""

    path: Path = field(metadata=POSITIONAL)
    """Dataset folder, or its data.yaml."""
    json: bool = False
    """Machine-readable output: one JSON object."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to use when the folder holds several; omitted means all are counted."""


@dataclass(frozen=True)
class CheckArgs(Section):
    """List the problems of a dataset, with file and line."""

    path: Path = field(metadata=POSITIONAL)
    """Dataset folder, or its data.yaml."""
    decode: bool = False
    """Decode every image completely (slower; finds damaged pixel data)."""
    json: bool = False
    """Machine-readable output: one JSON object with every finding."""
    html: Path | None = None
    """Also write an HTML report to this file, with plots and images of the worst cases."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to use when the folder holds several (such as yolo, coco, voc)."""
    fail_on: Literal["error", "warning"] | None = None
    """Exit with code 1 if there is a finding of this severity or worse; omitted means always 0."""


@dataclass(frozen=True)
class PrepareArgs(Section):
    """Convert a dataset to the YOLO layout with data.yaml; the source is never changed."""

    path: Path = field(metadata=POSITIONAL)
    """Dataset folder in any label format that yolofast reads (docs/formats.md lists them), or a data.yaml."""
    out: Path | None = None
    """Output folder; omitted means PATH_yolo, next to the source."""
    output: PrepareConfig = field(default_factory=PrepareConfig)
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class ConvertArgs(Section):
    """Convert a dataset to COCO json or Pascal VOC xml; the source is never changed."""

    path: Path = field(metadata=POSITIONAL)
    """Dataset folder, in any label format that yolofast reads, or a data.yaml."""
    to: Literal["coco", "voc"]
    """Output format. For the YOLO layout use yolofast prepare."""
    out: Path | None = None
    """Output folder; omitted means PATH_coco or PATH_voc, next to the source."""
    link: Literal["hard", "copy", "symlink"] = "hard"
    """hard: hard links where the file system allows them, else copies; copy: always copy; symlink: symbolic
    links."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to use when the folder holds several."""
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class TrainArgs(Section):
    """Train a detector. Settings come from --config (or the run given to --resume), then from the flags."""

    config: Path | None = None
    """YAML file with settings, in the sections model, dataset, training, augment, logging."""
    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    json: bool = False
    """Machine-readable output: one JSON object with the metrics of the best epoch."""


@dataclass(frozen=True)
class ValArgs(Section):
    """Evaluate trained weights: P, R, mAP50, mAP50-95 per class, predictions, curves, confusion matrix."""

    weights: Path
    """Weights file (.safetensors, or a foreign .pt)."""
    data: Path
    """data.yaml, or a dataset folder; one that is not in the YOLO layout is prepared first, in FOLDER_yolo
    next to it."""
    imgsz: int | None = None
    """Image size: side of the square in pixels; omitted means the size the weights were trained at."""
    batch: int | None = bounded(None, 1)
    """Batch size; omitted means 16, or with rectangular batches that of training."""
    rect: bool | None = None
    """Rectangular batches of similarly shaped images with little padding; omitted means as in training."""
    conf: float | None = bounded(None, 0.0, 1.0)
    """Confidence threshold; omitted means 0.001 for mAP, and 0.25 for plots and the confusion matrix."""
    iou: float = bounded(0.7, 0.0, 1.0)
    """NMS IoU threshold: of two overlapping boxes of a class, the one with the lower score is dropped."""
    max_det: int = bounded(300, 1)
    """Max detections per image."""
    classes: tuple[str, ...] | None = None
    """Classes to evaluate, by name or number; detections and labels of others do not count."""
    half: bool = False
    """Mixed precision: float16 on CUDA, bfloat16 on the CPU."""
    augment: bool = False
    """Test-time augmentation: also look at smaller and mirrored versions of each image; about 2.1 times the
    work."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    workers: int | None = bounded(None, 0)
    """Loader threads; omitted means 0 (load in the main thread) on the CPU, up to 16 with a GPU."""
    split: Literal["train", "val", "valid", "test"] | None = None
    """Split to evaluate; omitted means the validation split."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to read, in a folder with several (such as yolo, coco, cvat)."""
    metrics: Literal["yolo", "coco"] = "yolo"
    """coco: also show COCO's twelve figures as pycocotools computes them (object size by box area).
    --json always includes them."""
    project: Path = Path("runs")
    """Parent folder of all runs."""
    name: str = "val"
    """Results go to PROJECT/NAME, or NAME-2, NAME-3, ... where that exists."""
    exist_ok: bool = False
    """Write to PROJECT/NAME even if it exists; files of the same names are replaced."""
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class PredictArgs(Section):
    """Detect objects in images and videos: writes them with their detections, labels, and detections.json."""

    weights: Path
    """Weights file (.safetensors, or a foreign .pt)."""
    source: str
    """An image, a video, a folder, a pattern, a .txt list, a URL (http, rtsp, ...), or a camera (0)."""
    imgsz: int | None = None
    """Image size: side of the square in pixels; omitted means the size the weights were trained at."""
    batch: int | None = bounded(None, 1)
    """Batch size; omitted means 8, of videos 4."""
    vid_stride: int = bounded(1, 1)
    """Take every Nth frame of videos and streams."""
    rect: bool = False
    """Rectangular batches, just large enough for their images, instead of squares."""
    conf: float = bounded(0.25, 0.0, 1.0)
    """Confidence threshold."""
    iou: float = bounded(0.7, 0.0, 1.0)
    """NMS IoU threshold: of two overlapping boxes of a class, the one with the lower score is dropped."""
    max_det: int = bounded(300, 1)
    """Max detections per image."""
    classes: tuple[str, ...] | None = None
    """Classes to detect, by name or number."""
    half: bool = False
    """Mixed precision: float16 on CUDA, bfloat16 on the CPU."""
    augment: bool = False
    """Test-time augmentation: also look at smaller and mirrored versions of each image; about 2.1 times the
    work."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    save: bool = True
    """Write each image with its detections, and a video of each video; detections.json is always written."""
    save_txt: bool = False
    """Write labels/NAME.txt for each image (labels/VIDEO/FRAME.txt): YOLO rows, class, xywhn."""
    save_conf: bool = False
    """With --save-txt: also the score, as sixth column."""
    save_crop: bool = False
    """Write each detection as crops/CLASS/NAME-ROW.jpg."""
    line_width: int | None = bounded(None, 1)
    """Line width of boxes in pixels; omitted means a 400th of the longer side, at least 2."""
    stream: bool = False
    """Print a line per image as soon as it is done; with --json one JSON object per line."""
    project: Path = Path("runs")
    """Parent folder of all runs."""
    name: str = "predict"
    """Results go to PROJECT/NAME, or NAME-2, NAME-3, ... where that exists."""
    exist_ok: bool = False
    """Write to PROJECT/NAME even if it exists; files of the same names are replaced."""
    json: bool = False
    """Machine-readable output: one JSON array, with the detections of each image (lines with --stream)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.save_conf and not self.save_txt:
            raise ConfigError(
                "save_conf: got it without save_txt, which it adds a column to. Add --save-txt."
            )


@dataclass(frozen=True)
class ImportArgs(Section):
    """Convert a checkpoint of YOLOv8, YOLO11 or YOLO26 (.pt) to .safetensors; nothing in it is executed."""

    file: Path = field(metadata=POSITIONAL)
    """Checkpoint (.pt) of a detector, as Ultralytics' programs write it."""
    out: Path | None = None
    """Output file; omitted means FILE.safetensors, next to the checkpoint."""
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class ExportArgs(Section):
    """Export trained weights to ONNX or TorchScript; with --data the result is compared with torch."""

    weights: Path
    """Weights file (.safetensors, or a foreign .pt)."""
    data: Path | None = None
    """data.yaml or dataset folder: the exported model is verified on its validation images."""
    imgsz: int | None = None
    """Image size: side of the square in pixels; omitted means the size the weights were trained at."""
    out: Path | None = None
    """Output file; omitted means next to the weights."""
    export: ExportConfig = field(default_factory=ExportConfig)
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class LoadingArgs(Section):
    """What is loaded, and for how long."""

    data: Path
    """data.yaml or dataset folder."""
    imgsz: int = 640
    """Image size: side of the square sample in pixels."""
    threads: int = bounded(1, 1)
    """Loader threads. With --peers every library runs on one thread; more threads are measured separately."""
    cache: Cache = "none"
    """none: read and decode each image file for every sample; ram or disk: use cached decoded images."""
    augment: Literal["none", "default"] = "default"
    """default: training augmentation with mosaic; none: letterbox only."""
    split: Literal["train", "val", "valid", "test"] = "train"
    """Split to load."""
    seconds: float | None = bounded(None, 0.0, open_low=True)
    """Duration of a measurement; omitted means 5, or 2 per library and round with --peers."""
    rounds: int = bounded(7, 1)
    """Rounds with --peers: every library runs once per round."""


@dataclass(frozen=True)
class BenchLoaderArgs(Section):
    """Measure the loader in samples per second, alone or compared with other loaders."""

    loading: LoadingArgs
    peers: tuple[LoaderPeer, ...] | None = None
    """Other loaders to compare with, in alternating rounds; all, or no name at all, means every one. Those
    not installed are skipped. All loaders work on a copy of at most 1024 images."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment with the other libraries; omitted means this one."""
    out: Path | None = None
    """Folder for loader.json and the chart loader.png (the chart needs --peers)."""
    json: bool = False
    """Machine-readable output: one JSON object."""


@dataclass(frozen=True)
class BenchNmsArgs(Section):
    """Measure NMS and postprocessing, alone or compared with torchvision and Ultralytics."""

    peers: tuple[NmsPeer, ...] | None = None
    """Other libraries to compare with, in alternating rounds; all, or no name at all, means every one. Those
    not installed are skipped."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment with the other libraries; omitted means this one."""
    boxes: tuple[int, ...] = (5_000, 30_000)
    """Numbers of boxes to run NMS on."""
    images: int = bounded(16, 1)
    """Images per postprocessing call."""
    rounds: int = bounded(7, 1)
    """Alternating rounds."""
    seconds: float = bounded(0.2, 0.0, open_low=True)
    """Duration of one library's turn in a round."""
    out: Path | None = None
    """Folder for nms.json and the chart nms.png (the chart needs --peers)."""
    json: bool = False
    """Machine-readable output: one JSON object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.boxes or min(self.boxes) < 1:
            got = " ".join(map(str, self.boxes)) or "no number"
            raise ConfigError(f"boxes: got {got}, expected at least one number, each at least 1.")


@dataclass(frozen=True)
class BenchMapArgs(Section):
    """Measure COCO evaluation, alone or compared with pycocotools and its faster relatives."""

    gt: Path | None = None
    """COCO ground truth; omitted means a generated dataset of 80 classes."""
    dt: Path | None = None
    """COCO results for --gt."""
    images: int = bounded(5_000, 1)
    """Images in the generated dataset."""
    detections: int = bounded(500_000, 1)
    """Detections in the generated dataset."""
    style: Literal["rounded", "full"] = "rounded"
    """Generated numbers: rounded = boxes to 3 decimals and scores to 5; full = all digits of float32."""
    peers: tuple[MapPeer, ...] | None = None
    """Other libraries to compare with, on the same files; all, or no name at all, means every one. Those
    not installed are skipped. faster-coco-eval and pycocotools are slow and run once."""
    peers_python: Path = Path(sys.executable)
    """Python interpreter of the environment with the other libraries; omitted means this one."""
    threads: int = bounded(1, 1)
    """Threads per library."""
    rounds: int = bounded(9, 1)
    """Alternating rounds."""
    fresh: int = bounded(5, 1)
    """Fresh processes per library that evaluate once."""
    out: Path | None = None
    """Folder for map.json and the chart map.png."""
    json: bool = False
    """Machine-readable output: one JSON object."""
