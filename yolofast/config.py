"""YOLOConfig and its sections: every setting of a run, checked on construction.

Frozen dataclasses that read and write YAML; the command line is generated from them (field = flag, the
text under a field = its help). Field names are unique across sections, so a flag needs no prefix, and
follow the names and defaults that YOLO users know.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from yolofast.brief import brief, brief_text
from yolofast.config_fields import Section, bounded
from yolofast.errors import ConfigError, at, nearest
from yolofast.files import write_text
from yolofast.seal import UNSEALED, sealed
from yolofast.types import MAX_RESTART_ROWS
from yolofast.yaml_text import YamlTextError, load_yaml, read_yaml_text

OWN_SIZES = ("p", "n", "s", "m", "l", "x")
MODEL_FAMILIES = ("yolov8", "yolo11", "yolo26")
MODEL_SIZES = (*OWN_SIZES, *(f"{family}{size}" for family in MODEL_FAMILIES for size in OWN_SIZES[1:]))
MODEL_STRIDE = 32
EXPORT_FORMATS = ("onnx", "torchscript")
MAX_HOURS = 87600.0
"""Ten years: the longest time limit of a training."""
MAX_JPEG_SIDE = 65535
"""The longest side that a JPEG can have."""

LABEL_FORMAT = {"aliases": ("--format",)}
"""Metadata of a field that chooses a label format: its other flag."""

Cache = Literal["none", "ram", "disk"]
Link = Literal["hard", "copy", "symlink"]
LoaderDevice = Literal["auto", "cpu", "cuda"]
Optimizer = Literal["auto", "sgd", "adamw", "musgd"]
Schedule = Literal["cosine", "linear", "plateau"]
Amp = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network and its initial weights."""

    model: str = "n"
    """Model size: p (pico, for tests), n, s, m, l or x; or a size of another family: yolov8n..x, yolo11n..x,
    yolo26n..x."""
    weights: Path | None = None
    """Weights file to start from (.safetensors, or a foreign .pt); omitted means random initial weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in MODEL_SIZES:
            known = ", ".join((*OWN_SIZES, *(f"{family}n..x" for family in MODEL_FAMILIES)))
            raise ConfigError(
                f"model: got '{self.model}', expected one of {known}.{nearest(self.model, MODEL_SIZES)}"
            )


@dataclass(frozen=True)
class DatasetConfig(Section):
    """The dataset and how it is loaded."""

    data: Path | None = None
    """The dataset's data.yaml, or a folder that holds a dataset; one that is not in the YOLO layout is
    prepared first, in FOLDER_yolo next to it."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to read, in a folder with several (such as yolo, coco, cvat)."""
    imgsz: int = bounded(640, 32)
    """Side of the square training image in pixels, a multiple of 32."""
    workers: int | None = bounded(None, 0)
    """Loader threads; 0 = load in the training thread. Omitted means one per core (at most 16) when training
    on a GPU, and 0 when training on the CPU."""
    prefetch: int = bounded(4, 1)
    """Batches to prefetch."""
    cache: Cache = "none"
    """Cache decoded images: none, ram, or disk (one file per dataset, shared by all processes)."""
    cache_dir: Path | None = None
    """Folder for --cache disk; omitted means the user's cache folder."""
    rect: bool = False
    """Rectangular batches of similarly shaped images with little padding; no mosaic, no shuffling."""
    stride: int = bounded(MODEL_STRIDE, 1)
    """Sides of rectangular and multi-scale batches are multiples of this."""
    pad: float = bounded(0.5, 0.0)
    """Padding of rectangular batches, in strides."""
    multi_scale: float = bounded(0.0, 0.0, 0.9)
    """Vary the image size of each training batch randomly within +- this share of imgsz; 0 = always imgsz."""
    max_bad_share: float = bounded(0.25, 0.0, 1.0)
    """Stop when more than this share of a split's images cannot be read."""
    keep_rejected: bool = False
    """Train on images none of whose label rows can be used, as background, instead of leaving them out. (Of
    a folder that is prepared first they are left out: yolofast prepare has the same option.)"""
    max_rejected_labels: float = bounded(0.2, 0.0, 1.0)
    """Stop before training when more than this share of the label rows cannot be used."""
    pin_memory: bool = True
    """Use page-locked memory for batches when training on CUDA."""
    loader_device: LoaderDevice = "auto"
    """Device that renders batches: cpu, or cuda (needs a CUDA training device; only decoding stays on the
    CPU); auto = cpu."""
    drop_last: bool = False
    """Drop the last training batch of an epoch when it is incomplete."""
    single_cls: bool = False
    """Treat all classes as one."""
    classes: tuple[int | str, ...] | None = field(default=None, metadata={"metavar": "CLASS"})
    """Classes to train on, by name or number: boxes of others are dropped in training and validation, their
    images stay, and so does the model's list of classes. Omitted means all."""
    fraction: float = bounded(1.0, 0.0, 1.0, open_low=True)
    """Share of the training images to train on, drawn at random by --seed; a larger share has the images of a
    smaller one. Validation uses all of its images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.imgsz % MODEL_STRIDE:
            lower = self.imgsz // MODEL_STRIDE * MODEL_STRIDE
            raise ConfigError(
                f"imgsz: got {self.imgsz}, expected a multiple of {MODEL_STRIDE} (the largest stride). "
                f"Use {lower} or {lower + MODEL_STRIDE}."
            )
        if self.rect and self.multi_scale:
            raise ConfigError(
                f"multi_scale: got {self.multi_scale:g} and rect, expected one of them: rectangular batches "
                "have the sizes of their images. Drop --rect or --multi-scale."
            )


@dataclass(frozen=True)
class TrainingConfig(Section):
    """Optimisation: epochs, batch size, learning rate, loss weights."""

    epochs: int = bounded(100, 1)
    """Passes over the training images."""
    time: float | None = bounded(None, 0.0, MAX_HOURS, open_low=True)
    """Hours of training and validation, in place of --epochs: the epoch that reaches them is the last. The
    schedule follows the number of epochs that fit, estimated after each (for the first it is --epochs)."""
    batch: int = bounded(16, 1)
    """Batch size."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    optimizer: Optimizer = "auto"
    """auto = MuSGD for yolo26 models from scratch; else AdamW in short runs (up to 10,000 steps), and SGD
    with Nesterov momentum in longer ones. A resumed run keeps its optimizer."""
    lr0: float | None = None
    """Peak learning rate; omitted means 0.01 for SGD, 0.03 for MuSGD, and 0.01 / (4 + classes) for AdamW,
    or a quarter of that with --weights."""
    lrf: float = bounded(0.01, 0.0, 1.0)
    """Final learning rate as a share of lr0."""
    momentum: float = bounded(0.937, 0.0, 1.0)
    """Momentum of SGD and MuSGD (AdamW always uses beta1 = 0.9)."""
    weight_decay: float = bounded(0.0005, 0.0)
    """Weight decay of convolutions and linear layers (not of norms and biases)."""
    schedule: Schedule = "linear"
    """Learning-rate schedule after the warm-up: linear, cosine, or plateau (steps on val loss)."""
    warmup_epochs: float = bounded(3.0, 0.0)
    """Warm-up length in epochs, at most 30 % of the run."""
    warmup_momentum: float = bounded(0.8, 0.0, 1.0)
    """Momentum at the first step."""
    nbs: int = bounded(0, 0)
    """Nominal batch size: gradients accumulate over smaller batches up to it; 0 = step every batch."""
    clip_norm: float = bounded(10.0, 0.0)
    """Maximum gradient norm; 0 = no clipping."""
    amp: Amp = "auto"
    """Mixed precision: auto = on where the device benefits from it."""
    ema_decay: float = bounded(0.9999, 0.0, 1.0)
    """Decay of the weights' exponential moving average (EMA); 0 = no EMA."""
    ema_tau: float = bounded(2000.0, 0.0, open_low=True)
    """Steps over which the EMA ramps up."""
    box: float = bounded(7.5, 0.0)
    """Weight of the box (CIoU) loss."""
    cls: float = bounded(0.5, 0.0)
    """Weight of the classification loss."""
    dfl: float = bounded(1.5, 0.0)
    """Weight of the distribution focal loss; in yolo26 models, of the error of the side distances (L1)."""
    cls_pw: float = bounded(0.0, 0.0, 1.0)
    """Weight the classes in the classification loss by this power of their inverse frequency in the training
    boxes, for rare classes; 0 = all alike, 1 = fully inverse."""
    freeze: int | Literal["backbone"] = field(default=0, metadata={"metavar": "N|backbone"})
    """Freeze the first N layers of backbone and neck, or `backbone` (10 layers; of yolo11 and yolo26, 11):
    their weights and batch-norm statistics stay as they are. 0 = train all."""
    val_first: bool = False
    """Evaluate the initial weights before epoch 1, and report their mAP."""
    save_period: int = bounded(0, 0)
    """Keep a weights file of every Nth epoch, epochN.safetensors, besides best and last; 0 = none."""
    patience: int = bounded(100, 0)
    """Early stopping: epochs without a better mAP50-95 before training stops; 0 = never."""
    seed: int = bounded(0, 0, 2**63 - 1)
    """Random seed for initial weights, image order and augmentation."""
    deterministic: bool = False
    """Use torch's deterministic algorithms where it has them, so that a run on a GPU repeats itself to the
    bit; slower. On a CPU it repeats itself anyway."""
    resume: bool = field(default=False, metadata={"optional_value": "run"})
    """Resume a run from its last checkpoint with its settings; other flags override them. RUN is its folder;
    omitted means the run --name, or the newest unfinished run in --project."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr0 is not None and not 0 < self.lr0 < math.inf:
            raise ConfigError(f"lr0: got {self.lr0}, expected a value above 0.")
        if self.freeze != "backbone" and self.freeze < 0:
            raise ConfigError(
                f"freeze: got {self.freeze}, expected a number of layers, at least 0, or backbone."
            )


@dataclass(frozen=True)
class AugmentConfig(Section):
    """Training augmentation; names and defaults as YOLO users know them."""

    hsv_h: float = bounded(0.015, 0.0, 0.5)
    """Hue jitter, as a share of the full circle."""
    hsv_s: float = bounded(0.7, 0.0, 1.0)
    """Saturation jitter, as a gain of 1 +- this."""
    hsv_v: float = bounded(0.4, 0.0, 1.0)
    """Brightness jitter, as a gain of 1 +- this."""
    bgr: float = bounded(0.0, 0.0, 1.0)
    """Probability of swapping the red and blue channels (RGB to BGR)."""
    degrees: float = bounded(0.0, 0.0, 180.0)
    """Rotation, +- degrees."""
    translate: float = bounded(0.1, 0.0, 0.5)
    """Translation, +- share of the image side."""
    scale: float = bounded(0.5, 0.0, 0.99)
    """Zoom, as a gain of 1 +- this."""
    shear: float = bounded(0.0, 0.0, 45.0)
    """Shear, +- degrees."""
    perspective: float = bounded(0.0, 0.0, 0.001)
    """Perspective, +- this share per pixel."""
    flipud: float = bounded(0.0, 0.0, 1.0)
    """Probability of a vertical flip."""
    fliplr: float = bounded(0.5, 0.0, 1.0)
    """Probability of a horizontal flip."""
    mosaic: float = bounded(1.0, 0.0, 1.0)
    """Probability of a 4-image mosaic."""
    mixup: float = bounded(0.0, 0.0, 1.0)
    """Probability of mixup (blending in a second augmented image)."""
    cutmix: float = bounded(0.0, 0.0, 1.0)
    """Probability of cutmix (a rectangle of a second augmented image replaces that part)."""
    mosaic_block: int = bounded(256, 0)
    """Mosaic, mixup and cutmix partners come from the sample's own block of this many images; 0 = from all
    images."""
    close_mosaic: int = bounded(10, 0)
    """Turn mosaic, mixup and cutmix off for the last N epochs."""

    @staticmethod
    def none() -> AugmentConfig:
        """No augmentation: letterbox only."""
        return AugmentConfig(
            hsv_h=0.0, hsv_s=0.0, hsv_v=0.0, translate=0.0, scale=0.0, fliplr=0.0, mosaic=0.0, close_mosaic=0
        )


@dataclass(frozen=True)
class LoggingConfig(Section):
    """Output folder, log and plots."""

    project: Path = Path("runs")
    """Parent folder of all runs."""
    name: str = "train"
    """Name of this run: results go to PROJECT/NAME."""
    log_interval: int = bounded(1, 1)
    """Log every N epochs."""
    plots: bool = True
    """Write PNG plots (needs matplotlib)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = Path(self.name).parts
        if not parts or Path(self.name).is_absolute() or ".." in parts:
            raise ConfigError(f"name: got '{self.name}', expected a name inside the --project folder.")

    @property
    def run_dir(self) -> Path:
        """PROJECT/NAME."""
        return self.project / self.name


@dataclass(frozen=True)
class ExportConfig(Section):
    """Format and options of the exported model."""

    format: Literal["onnx", "torchscript"] = "onnx"
    """Output format."""
    include_nms: bool = False
    """ONNX: include NMS in the model; its output is then [B, max_det, 6]: xyxy, score, class."""
    dynamic: bool = True
    """ONNX: dynamic batch size."""
    half_precision: bool = False
    """Store float16 weights."""
    simplify: bool = True
    """ONNX: simplify the graph (needs onnxslim)."""
    opset: int = bounded(18, 18, 23)
    """ONNX opset version."""


@dataclass(frozen=True)
class PrepareConfig(Section):
    """How a dataset is written in the YOLO layout."""

    val_fraction: float = 0.2
    """Share of the training images that become the validation split, where the dataset has none."""
    seed: int = bounded(0, 0, 2**63 - 1)
    """Seed of that split."""
    link: Link = "hard"
    """hard: hard links to the images where the file system supports them, else copies; copy: always copies;
    symlink: symbolic links to absolute paths."""
    label_format: str | None = field(default=None, metadata=LABEL_FORMAT)
    """Label format to read, in a folder with several (such as yolo, coco, cvat)."""
    restart_rows: int = bounded(0, 0, MAX_RESTART_ROWS)
    """Rewrite JPEGs losslessly with a restart marker after this many rows of blocks (MCUs), so that a part of
    an image can be decoded alone; 0 = leave the files unchanged."""
    rename: Mapping[str, str] | None = None
    """Classes to rename, old name -> new name; classes with the same new name are merged."""
    drop: tuple[str, ...] = ()
    """Classes (old names) whose boxes are dropped."""
    keep: tuple[str, ...] | None = None
    """Classes (old names) whose boxes are kept; those of all others are dropped. Omitted means all."""
    drop_empty: bool = False
    """Skip images that lose all their boxes to drop or keep, instead of keeping them as background."""
    keep_rejected: bool = False
    """Keep images none of whose label rows can be used, as background, instead of leaving them out."""
    max_side: int | None = bounded(None, 1, MAX_JPEG_SIDE)
    """Downscale images whose longer side exceeds this; omitted means no image is decoded."""
    quality: int = bounded(90, 1, 100)
    """JPEG quality of downscaled images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.val_fraction < 1:
            raise ConfigError(
                f"val_fraction: got {self.val_fraction}, expected a share between 0 and 1, such as 0.2."
            )
        if self.drop and self.keep is not None:
            raise ConfigError("drop and keep: got both, expected one: what is not kept is dropped.")
        if self.keep is not None and not self.keep:
            raise ConfigError("keep: got no class, expected at least one. Omit it to keep all.")


SectionT = TypeVar("SectionT")


def _section(kind: type[SectionT], values: object, name: str, source: str) -> SectionT:
    known = [f.name for f in dataclasses.fields(typing.cast(Any, kind))]
    if not isinstance(values, dict):
        raise ConfigError(
            f"{source}: section '{name}': got {brief(values)}, expected settings such as {known[0]}"
        )
    for key in values:
        if key not in known:
            got = brief_text(str(key))
            raise ConfigError(
                f"{source}: unknown setting '{got}' in section '{name}'.{nearest(got, known)} "
                f"Known: {', '.join(known)}."
            )
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: section '{name}': {error}") from None


@dataclass(frozen=True)
class YOLOConfig:
    """All settings of a run.

    Raises `ConfigError` for a wrong type, a value out of range, or (from YAML) an unknown name.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str = "config") -> YOLOConfig:
        """A config from nested dicts, one per section; omitted settings take their defaults."""
        kinds = typing.get_type_hints(cls)
        for name in values:
            if name not in kinds:
                homes = [s for s, k in kinds.items() if name in typing.get_type_hints(k)]
                hint = (
                    f" It belongs in section '{homes[0]}'."
                    if homes
                    else nearest(brief_text(str(name)), kinds)
                )
                raise ConfigError(
                    f"{source}: unknown section '{brief_text(str(name))}'.{hint} Known: {', '.join(kinds)}."
                )
        return cls(**{n: _section(kinds[n], v, n, source) for n, v in values.items()})

    @classmethod
    def from_yaml(cls, path: str | Path) -> YOLOConfig:
        """A config from a YAML file, within `limits`; nothing in it is executed."""
        try:
            values = load_yaml(read_yaml_text(Path(path)))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such config file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as YAML text: {error}") from None
        except YamlTextError as error:
            raise ConfigError(f"{at(path, error.line)}: {error.message}") from None
        if values is None:
            return cls()
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: got {type(values).__name__}, expected sections such as 'training:'")
        return cls.from_dict(values, str(path))

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested dicts of YAML values that `from_dict` reads back to an equal config."""
        return {
            section: {
                name: str(value) if isinstance(value, Path) else value for name, value in values.items()
            }
            for section, values in dataclasses.asdict(self).items()
        }

    def to_yaml(self, path: str | Path) -> None:
        """Write the config as YAML, atomically; a comment has a checksum of the text (`seal.is_intact`)."""
        text = f"{yaml.safe_dump(self.to_dict(), sort_keys=False)}# {UNSEALED}\n"
        write_text(path, sealed(text.encode()).decode())

    def replace(self, **changes: Any) -> YOLOConfig:
        """A copy with some settings changed, by their flat names: `config.replace(epochs=3, imgsz=320)`."""
        homes = {
            f.name: s for s in typing.get_type_hints(type(self)) for f in dataclasses.fields(getattr(self, s))
        }
        sections: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            if name not in homes:
                raise ConfigError(f"unknown setting '{name}'.{nearest(name, homes)}")
            sections.setdefault(homes[name], {})[name] = value
        return dataclasses.replace(
            self, **{s: dataclasses.replace(getattr(self, s), **v) for s, v in sections.items()}
        )
