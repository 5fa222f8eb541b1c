"""Keywords of `YOLO` methods: what users of other YOLO packages write, as settings of ours.

A keyword is one of four: a setting of ours (some of its usual values are spelled otherwise, `VALUES`),
another name for one (`NAMES`), one that asks for nothing at the usual value (`NEUTRAL`), or one that does not
exist, which is an error that names what to use instead (`INSTEAD`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from yolofast.brief import brief
from yolofast.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

    Device = str | int | Sequence[int] | torch.device
    """auto, cpu, cuda, cuda:N; N or "N" = cuda:N; a list of one of them."""

INSTEAD = {
    "agnostic_nms": "NMS per class: boxes of different classes do not suppress each other",
    "augment": "augmentation settings of train, such as mosaic and fliplr",
    "cfg": "settings as keywords, such as **yaml.safe_load(text)",
    "compile": "YOLO(...).model with torch.compile in code of your own",
    "dnn": "predict: weights run in torch",
    "dropout": "weight_decay",
    "exist_ok": "name: a run never overwrites another one; the name gets a number",
    "half": "amp",
    "int8": "half_precision: there is no int8 export",
    "keras": "format='onnx'",
    "mode": "the methods train, val, predict and export",
    "optimize": "format='torchscript' as it is",
    "persist": "predict: there is no tracker",
    "profile": "dataflow.json in the run's folder, and `yolofast bench`",
    "save": "Result.save(path) after predict; a run of train always keeps best and last",
    "save_crop": "Result.save_crop(folder)",
    "save_dir": "project and name (train), save_dir (val)",
    "save_json": "save_dir (val): predictions.json is written there",
    "save_txt": "Result.to_txt(path)",
    "show": "Result.plot(), which returns the image",
    "stream_buffer": "stream=True",
    "task": "object detection: there is no other task",
    "tracker": "predict: there is no tracker",
    "val": "epochs as they are: every epoch is validated, to find the best one",
    "verbose": "Result.verbose(), which returns the line: nothing is printed",
    "visualize": "Result.plot()",
    "warmup_bias_lr": "warmup_epochs: the rate of all weights, biases too, rises from 0",
    "workspace": "the defaults: there is no TensorRT export",
}
"""Keyword that is not known here -> what to use instead."""

INSTEAD_IN = {
    ("val", "name"): "save_dir",
    ("val", "project"): "save_dir",
    ("val", "plots"): "save_dir: the plots are written there",
    ("export", "batch"): "dynamic=True, which takes any batch size",
    ("export", "device"): "YOLO(...).export on the CPU, where it is always made",
}
"""(method, keyword) -> what to use instead, where it is a setting of another method."""

OFF = (False, 0, 0.0)
NEUTRAL: Mapping[str, Collection[Any]] = {
    **dict.fromkeys(("agnostic_nms", "augment", "compile", "dnn", "dropout", "exist_ok", "half"), OFF),
    **dict.fromkeys(("int8", "keras", "optimize", "persist", "profile", "save_crop", "save_json"), OFF),
    **dict.fromkeys(("save_txt", "show", "stream_buffer", "visualize", "copy_paste"), OFF),
    "batch": (1,),
    "device": ("cpu",),
    "mode": ("train", "val", "predict", "export"),
    "plots": (False,),
    "save": (True,),
    "task": ("detect",),
    "val": (True,),
    "verbose": (False,),
}
"""Keyword that is not known here -> values of it that ask for what is done anyway."""

NEUTRAL_IN: Mapping[tuple[str, str], Collection[Any]] = {("predict", "save"): OFF}
"""(method, keyword) -> such values, where they are others in this method."""

OTHER_TASKS = ("auto_augment", "copy_paste_mode", "erasing", "kobj", "mask_ratio", "overlap_mask", "pose")
"""Keywords that have no effect on the detection of boxes in other packages either: any value is taken."""


def device_name(device: Device | None) -> str:
    """The device as `select_device` takes it. Raises `ConfigError` for several, or what is no device."""
    if isinstance(device, list | tuple) or (isinstance(device, str) and "," in device):
        parts: Sequence[str | int] = device.split(",") if isinstance(device, str) else device
        several = [part for part in parts if part != ""]
        if len(several) != 1:
            first = several[0] if several else 0
            raise ConfigError(
                f"device: got {brief(device)}, expected one device: a run uses one. Use device={first!r}."
            )
        device = several[0]
    if isinstance(device, bool) or (isinstance(device, int) and device < 0):
        raise ConfigError(f"device: got {device}, expected auto, cpu, cuda, cuda:N or a number N of a GPU.")
    if device is None or device == "":
        return "auto"
    return f"cuda:{device}" if isinstance(device, int) else str(device).strip().lower()


def _side(value: Any) -> Any:
    """The side of a square size: 640, [640] and [640, 640] are the same."""
    if not isinstance(value, list | tuple):
        return value
    if len(value) not in (1, 2) or value[0] != value[-1]:
        raise ConfigError(
            f"imgsz: got {brief(value)}, expected one side, or the same one twice: sizes are square. "
            "rect=True makes batches as wide and high as their images."
        )
    return value[0]


def _frozen_layers(value: Any) -> Any:
    """The number of frozen layers: a list must name the first ones."""
    if not isinstance(value, list | tuple):
        return value
    if not all(isinstance(each, int) for each in value) or sorted(value) != list(range(len(value))):
        raise ConfigError(
            f"freeze: got {brief(value)}, expected a number N, or a list of the first N layers: [0, 1, 2]."
        )
    return len(value)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _switch(on: Any, off: Any) -> Callable[[Any], Any]:
    """What True and False mean; text is taken in any case."""
    return lambda value: (on if value else off) if isinstance(value, bool) else _lower(value)


VALUES: Mapping[str, Callable[[Any], Any]] = {
    "amp": _switch("auto", "off"),
    "cache": _switch("ram", "none"),
    "device": device_name,
    "format": _lower,
    "freeze": _frozen_layers,
    "imgsz": _side,
    "multi_scale": _switch(0.5, 0.0),
    "optimizer": _lower,
    "save_period": lambda value: 0 if value == -1 else value,
}
"""Setting -> its value in our spelling."""

NAMES: Mapping[str, Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "train": {
        "cos_lr": ("schedule", _switch("cosine", "linear")),
        "verbose": ("progress", bool),
    },
    "val": {"verbose": ("progress", bool)},
    "export": {"half": ("half_precision", lambda value: value), "nms": ("include_nms", lambda value: value)},
}
"""Method -> keyword -> our name for it, and its value in our spelling."""


def own_settings(method: str, given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """`given` as settings of ours; None is left out, as if it had not been given.

    Raises `ConfigError` for a keyword that `method` does not have, with what to use instead, for a value that
    cannot be meant, and for a setting that is given by two names.
    """
    found: dict[str, Any] = {}
    renamed = NAMES.get(method, {})
    for name, value in given.items():
        if value is None or name in OTHER_TASKS:
            continue
        ours, convert = renamed.get(name, (name, VALUES.get(name, _same)))
        if name not in renamed and name not in known:
            neutral = NEUTRAL_IN.get((method, name), NEUTRAL.get(name, ()))
            if isinstance(value, bool | int | float | str) and value in neutral:
                continue
            check_keywords(method, [name], known)
        if ours in found or (ours != name and ours in given):
            raise ConfigError(f"{method}: got '{name}' and '{ours}', which are the same. Give one of them.")
        found[ours] = convert(value)
    return found


def _same(value: Any) -> Any:
    return value


def check_keywords(method: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise `ConfigError` for a keyword that `method` does not have, with what to use instead."""
    for name in given:
        if name in known:
            continue
        instead = INSTEAD_IN.get((method, name)) or INSTEAD.get(name)
        advice = f" Use {instead}." if instead else nearest(name, known)
        raise ConfigError(
            f"{method}: got the unknown keyword '{name}'.{advice} Known: {', '.join(sorted(known))}."
        )
