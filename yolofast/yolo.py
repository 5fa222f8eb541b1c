"""The YOLO object: one model and what is done with it, for a notebook or a script.

It holds a detector and calls `pipeline` and `predict`; nothing is computed here.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from yolofast.callbacks import Callback, Callbacks
from yolofast.class_numbers import class_numbers
from yolofast.config import (
    MODEL_SIZES,
    AugmentConfig,
    DatasetConfig,
    ExportConfig,
    LoggingConfig,
    TrainingConfig,
    YOLOConfig,
)
from yolofast.data_source import dataset_of
from yolofast.errors import CheckpointError, ConfigError, nearest
from yolofast.load import SINGLE_CLASS_NAMES
from yolofast.pipeline import evaluate_run, export_run, train_run
from yolofast.predict import predict
from yolofast.printable import printable
from yolofast.result import Result
from yolofast.runs import CONFIG_NAME, WEIGHTS_FOLDER, newest_unfinished, resumed_config, run_folder
from yolofast.trained_settings import trained_config
from yolofast.types import ExportResult
from yolofast.yolo_keywords import device_name, own_settings

if TYPE_CHECKING:
    import torch

    from yolofast.evaluate import Evaluation
    from yolofast.load.hooks import Hook, HookFunction
    from yolofast.models import Detector
    from yolofast.run_result import RunResult
    from yolofast.train.monitor import OnEpoch
    from yolofast.yolo_keywords import Device

PREDICT = ("imgsz", "conf", "iou", "max_det", "half", "augment", "rect", "batch", "vid_stride", "on_error")
VAL = ("conf", "iou", "max_det", "half", "augment")
INFO_CLASSES = 80
"""Classes of a model whose size is asked for before its classes are known: those of COCO."""


def _names(kind: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(kind)}


TRAIN = set().union(*map(_names, (DatasetConfig, TrainingConfig, AugmentConfig, LoggingConfig)))
"""Settings of `YOLO.train`."""


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a `YOLO` object holds."""

    model: str
    """Size or family name, such as n or yolo11s."""
    source: str
    """Path of the weights, or `random weights`."""
    parameters: int
    gflops: float
    """Billions of floating-point operations per image of imgsz x imgsz."""
    layers: int
    """Number of convolutions."""
    names: tuple[str, ...]
    imgsz: int

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.layers} convolutions, {self.parameters:,} parameters, {self.gflops:.2f} "
            f"GFLOPs at {self.imgsz} px, {len(self.names) or 'unknown'} classes, {printable(self.source)}"
        )


class YOLO:
    """A detector to train, evaluate, run and export.

        model = YOLO("n")                            # or "yolo11s", or a path of weights
        model.train(data="data.yaml", epochs=50)     # then holds the best weights
        results = model.predict("images")

    model   a name of `MODEL_SIZES` = random weights, built when first needed with the classes of the data;
            else the path of weights: .safetensors of ours, or a .pt (see `models.load_weights`). Nothing is
            ever downloaded.
    names   class names of a model with random weights; omitted means those of the first data
    task    "detect": there is no other

    Methods also take what users of Ultralytics' package write, where it means the same (`yolo_keywords`).
    Several threads may call `predict` at once, if all use one device; other methods one at a time. A copy and
    a pickle hold the weights, but no callbacks. Raises `CheckpointError` for a file that is missing or cannot
    be read, `ConfigError` for an unknown name.
    """

    def __init__(
        self, model: str | Path = "n", task: str | None = None, *, names: Sequence[str] | None = None
    ) -> None:
        if task not in (None, self.task):
            raise ConfigError(f"task: got '{task}', expected 'detect': there is no other task here.")
        self._callbacks = Callbacks()
        self._header: dict[str, str] = {}
        self._lock = threading.Lock()
        self._fused: Detector | None = None
        self._detector: Detector | None = None
        self._device = "auto"
        self._path: Path | None = None
        self._given = tuple(names) if names is not None else None
        if isinstance(model, str) and model in MODEL_SIZES:
            self._name, self._config = model, YOLOConfig()
            return
        if names is not None:
            raise ConfigError(f"names: got names for the weights {model}, expected none: the file has them.")
        self.load(model)

    # ------------------------------------------------------------ the model

    def load(self, weights: str | Path) -> YOLO:
        """Take the weights of a file instead of those held; returns the object."""
        from yolofast.models import load_weights, read_metadata
        from yolofast.tensor_file import RESERVED
        from yolofast.train.checkpoint import STATE_KEY

        path = _weights_path(weights)
        detector, config = load_weights(path), trained_config(path)
        own = {*detector.metadata(), *RESERVED, STATE_KEY}
        header = {name: value for name, value in read_metadata(path).items() if name not in own}
        with self._lock:
            self._header = header
            self._path, self._detector, self._fused, self._config = path, detector, None, config
            self._name = detector.spec.name
        return self

    def save(self, path: str | Path) -> Path:
        """Write the weights, atomically; `YOLO(path)` reads them.

        The header keeps what that of the file says that they were loaded from: settings, epoch, metrics, ...
        """
        from yolofast.models import save_weights

        save_weights(self.model, path, {"imgsz": str(self._config.dataset.imgsz)} | self._header)
        return Path(path)

    @property
    def model(self) -> Detector:
        """The torch module, not fused. Raises `ConfigError` when its classes are not known yet."""
        return self._built()

    @property
    def names(self) -> tuple[str, ...]:
        """The class names; raises as `model` does."""
        return self.model.class_names

    @property
    def device(self) -> torch.device:
        """The device of predictions, training and evaluation, unless a call names another."""
        from yolofast.train import select_device

        return select_device(self._device)

    @property
    def task(self) -> Literal["detect"]:
        """What the model does."""
        return "detect"

    def to(self, device: Device) -> YOLO:
        """Use `device` from now on: auto, cpu, cuda, cuda:N, N; returns the object. Raises `ConfigError`."""
        from yolofast.train import select_device

        name = device_name(device)
        select_device(name)
        self._device = name
        return self

    def fuse(self) -> YOLO:
        """Nothing to do; returns the object.

        `predict` and `export` use a copy with its batch norms folded into the convolutions; `model` keeps
        them, so that it can be trained.
        """
        return self

    def info(self, imgsz: int | None = None, *, verbose: bool = True) -> ModelInfo:
        """Size, cost and origin of the model, also printed unless `verbose` is off.

        FLOPs are counted at `imgsz`, omitted means as trained. Before the classes of a model with random
        weights are known, 80 are assumed.
        """
        from yolofast.models import build_model, model_profile

        known = self._detector is not None or self._given is not None
        model = self.model if known else build_model(self._name, INFO_CLASSES)
        side = imgsz or self._config.dataset.imgsz
        profile = model_profile(model, side)
        info = ModelInfo(
            model=self._name,
            source=str(self._path or "random weights"),
            parameters=profile.params,
            gflops=profile.flops / 1e9,
            layers=profile.layers,
            names=model.class_names if known else (),
            imgsz=side,
        )
        if verbose:
            print(info)
        return info

    def add_callback(self, event: str, function: Callback) -> None:
        """Call `function` at a moment of every later training; see `callbacks.EventName` for them.

            model.add_callback("on_fit_epoch_end", lambda event: print(event.epoch, event.metrics["map50"]))

        Raises `ConfigError` for an unknown event.
        """
        self._callbacks.add(event, function)

    def clear_callback(self, event: str) -> None:
        """Forget the callbacks of `event`. Raises `ConfigError` for an unknown one."""
        self._callbacks.clear(event)

    def reset_callbacks(self) -> None:
        """Forget all callbacks."""
        self._callbacks.clear()

    # ------------------------------------------------------------ what is done with it

    def train(
        self,
        data: str | Path | None = None,
        *,
        resume: bool | str | Path = False,
        pretrained: bool | str | Path | None = None,
        hooks: Iterable[Hook | HookFunction] = (),
        on_epoch: OnEpoch | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> RunResult:
        """Train on `data` in a folder of its own; afterwards the object holds the best weights.

        data      data.yaml, or a folder with a dataset
        resume    True resumes the run of the object's weights, or run `name`, or the newest unfinished one in
                  `project`; a path resumes that run
        pretrained  True and omitted mean the file that the object was loaded from, or for omitted random
                  weights, drawn by `seed`, if there is none; False means random weights; a path that file
        hooks     transforms of the training samples (`yolofast.load.hooks`)
        on_epoch  called with the metrics of every epoch: `lambda row: print(row["map50"])`
        settings  of `YOLOConfig`, by their flat names: epochs, imgsz, batch, lr0, patience, name, ...

        The result has the history, and the metrics of the best epoch as `val` returns them: `box.map`, ... It
        is evaluated once more only where it was trained before the run was resumed. Raises `ConfigError` for
        an unknown setting, and as `pipeline.train_run` does.
        """
        given = own_settings("train", settings, TRAIN) | ({"data": data} if data is not None else {})
        progress = given.pop("progress", progress)
        if resume:
            if isinstance(pretrained, str | Path):
                raise ConfigError(
                    f"pretrained: got {pretrained} and resume, expected one of them: a run resumes from its "
                    "own checkpoint."
                )
            config = resumed_config(self._run(resume, given)).replace(**given)
        else:
            given = {"device": self._device, "imgsz": self._config.dataset.imgsz} | given
            config = YOLOConfig().replace(**given, model=self._name, weights=self._start(pretrained))
        folder, result = train_run(
            config, progress=progress, hooks=hooks, on_epoch=on_epoch, callbacks=self._callbacks
        )
        self.load(folder / WEIGHTS_FOLDER / "best.safetensors")
        if result.evaluation is None:
            evaluation = self.val(
                device=config.training.device, classes=config.dataset.classes, progress=progress
            )
            result = dataclasses.replace(result, evaluation=evaluation)
        return result

    def val(
        self,
        data: str | Path | None = None,
        *,
        split: str | None = None,
        save_dir: str | Path | None = None,
        classes: Sequence[str | int] | str | int | None = None,
        progress: bool = True,
        **settings: Any,
    ) -> Evaluation:
        """Evaluate on a split of `data`; omitted means the validation split.

        data      data.yaml, or a folder with a dataset; omitted means that of the run whose weights these are
        settings  conf, iou, max_det, half and augment of `YOLOEvaluator`, device, batch, and the settings of
                  the dataset: imgsz (omitted means as trained), rect, workers, cache, ...

        Raises `ConfigError` for an unknown setting, and as `pipeline.evaluate_run` does.
        """
        own = _names(DatasetConfig) - {"data"} | {"device", "batch"}
        given = own_settings("val", settings, own | {*VAL})
        progress = given.pop("progress", progress)
        options = {name: value for name, value in given.items() if name in VAL}
        changes = {name: value for name, value in given.items() if name not in VAL}
        changes["data"] = data if data is not None else self._trained_on()
        config = self._config.replace(**{"device": self._device} | changes)
        return evaluate_run(
            self._built(config),
            config,
            split=split,
            save_dir=Path(save_dir) if save_dir is not None else None,
            classes=_several(classes),
            progress=progress,
            **options,
        )

    @overload
    def predict(
        self,
        source: Any,
        *,
        stream: Literal[False] = False,
        classes: Sequence[str | int] | str | int | None = None,
        device: Device | None = None,
        **settings: Any,
    ) -> list[Result]: ...

    @overload
    def predict(
        self,
        source: Any,
        *,
        stream: Literal[True],
        classes: Sequence[str | int] | str | int | None = None,
        device: Device | None = None,
        **settings: Any,
    ) -> Iterator[Result]: ...

    def predict(
        self,
        source: Any,
        *,
        stream: bool = False,
        classes: Sequence[str | int] | str | int | None = None,
        device: Device | None = None,
        **settings: Any,
    ) -> list[Result] | Iterator[Result]:
        """The detections in `source`: files, videos, URLs, arrays (RGB), ... (`predict.open_source`).

        stream    yield results one by one instead of returning a list: for videos and many images
        classes   names or numbers to keep; omitted means all
        settings  conf, iou, max_det, imgsz (omitted means as trained), batch, half, rect, ... of
                  `predict.predict`

        Raises `ConfigError` for an unknown setting, and as `predict.predict` does.
        """
        given = own_settings("predict", settings, PREDICT)
        model = self._ready()
        numbers = class_numbers(_several(classes), model.class_names)
        imgsz = given.pop("imgsz", self._config.dataset.imgsz)
        chosen = device_name(device) if device is not None else self._device
        found = predict(model, source, imgsz=imgsz, classes=numbers, device=chosen, **given)
        return found if stream else list(found)

    __call__ = predict

    def export(
        self,
        format: str = "onnx",
        *,
        out: str | Path | None = None,
        data: str | Path | None = None,
        imgsz: int | Sequence[int] | None = None,
        **settings: Any,
    ) -> ExportResult:
        """Export to onnx or torchscript; the result's `path` is the file.

        out       omitted means next to the weights, or MODEL.onnx for random ones
        data      a dataset whose images the exported model is verified on; omitted means none
        settings  include_nms, dynamic, half_precision, simplify, opset

        Raises `ConfigError` for an unknown setting, and as `pipeline.export_run` does.
        """
        given = own_settings("export", settings, _names(ExportConfig) - {"format"})
        given |= own_settings("export", {"format": format, "imgsz": imgsz}, {"format", "imgsz"})
        side = given.pop("imgsz", self._config.dataset.imgsz)
        config = self._config.replace(**given, imgsz=side, data=data)
        if out is None and self._path is not None:
            from yolofast.export import SUFFIXES

            out = self._path.with_suffix(SUFFIXES[config.export.format])
        return export_run(self.model, config, Path(out) if out is not None else None)

    # ------------------------------------------------------------ inside

    def __repr__(self) -> str:
        return f"YOLO({str(self._path or self._name)!r})"

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in ("_lock", "_callbacks")}
        return kept | {"_fused": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock(), _callbacks=Callbacks())

    def _built(self, config: YOLOConfig | None = None) -> Detector:
        """The detector, built with random weights if there is none yet; `config` has data for its classes."""
        from yolofast.models import build_model

        with self._lock:
            if self._detector is None:
                names = self._given
                if names is None and config is not None:
                    names = SINGLE_CLASS_NAMES if config.dataset.single_cls else dataset_of(config).names
                if names is None:
                    raise ConfigError(
                        f"YOLO('{self._name}'): its weights are random and its classes not known yet. Train "
                        "it, load weights, or name the classes: "
                        f"YOLO('{self._name}', names=['cat', 'dog'])."
                    )
                self._detector = build_model(self._name, len(names), class_names=names, seed=0).eval()
            return self._detector

    def _ready(self) -> Detector:
        """The fused detector, made once."""
        from yolofast.models import fused_copy

        model = self.model
        with self._lock:
            if self._fused is None:
                self._fused = fused_copy(model)
            return self._fused

    def _start(self, pretrained: bool | str | Path | None) -> Path | None:
        """The weights that training starts from; None = random ones. See `train`."""
        if pretrained is True and self._path is None:
            raise ConfigError(
                f"pretrained: got True, but YOLO('{self._name}') has random weights, and none are "
                "downloaded. Use YOLO(path of weights) or pretrained=path."
            )
        if isinstance(pretrained, str | Path):
            return _weights_path(pretrained)
        return None if pretrained is False else self._path

    def _trained_on(self) -> Path:
        """The dataset of the run whose weights these are. Raises `ConfigError` when it is not known."""
        data = None
        if self._path is not None and self._path.parent.name == WEIGHTS_FOLDER:
            settings = self._path.parent.parent / CONFIG_NAME
            data = YOLOConfig.from_yaml(settings).dataset.data if settings.is_file() else None
        if data is None:
            raise ConfigError(
                f"data: missing, and {self!r} does not say what it was trained on. Use val(data='data.yaml')."
            )
        return data

    def _run(self, resume: bool | str | Path, settings: dict[str, Any]) -> Path:
        """The folder of the run to resume; see `train`."""
        if not isinstance(resume, bool):
            return run_folder(Path(resume))
        project = Path(settings.get("project", "runs"))
        if "name" in settings:
            return project / str(settings["name"])
        if self._path is not None and self._path.parent.name == WEIGHTS_FOLDER:
            return run_folder(self._path)
        limits = {name: settings.get(name) for name in ("epochs", "patience", "time")}
        return newest_unfinished(project, **limits)


def _weights_path(weights: str | Path) -> Path:
    """`weights` if it is a file. Raises `CheckpointError` or `ConfigError`, with the nearest names."""
    path = Path(weights)
    if path.is_file():
        return path
    if path.suffix in {"", ".yaml", ".yml"} and len(path.parts) == 1:
        raise ConfigError(
            f"model: got '{weights}', expected the path of weights or one of {', '.join(MODEL_SIZES)}."
            f"{nearest(path.stem, MODEL_SIZES)}"
        )
    files = [p.name for p in path.parent.glob("*") if p.suffix in {".safetensors", ".pt"}]
    network = f" YOLO('{path.stem}') is that network with random weights." if path.stem in MODEL_SIZES else ""
    raise CheckpointError(
        f"{path}: file not found.{nearest(path.name, files)} Weights are never downloaded: put the file "
        f"there and give its path (.safetensors of yolofast, or .pt).{network}"
    )


def _several(classes: Sequence[str | int] | str | int | None) -> list[str] | None:
    """Classes as a list of texts; one alone is taken, too."""
    if classes is None:
        return None
    return [str(name) for name in ([classes] if isinstance(classes, str | int) else classes)]
