"""Prediction on image files: letterboxed in batches, boxes mapped back to each image's pixels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError, ImageError
from yolofast.evaluate.detect import find_detections
from yolofast.evaluate.drawing import plot_detections
from yolofast.images import read_image
from yolofast.kernels import letterbox
from yolofast.types import Detections, Letterbox

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

PLOT_SUFFIXES = (".png", ".jpg", ".jpeg")


class DetectionModel(Protocol):
    """The part of a torch module that prediction and evaluation use."""

    training: bool

    def __call__(self, images: torch.Tensor, /) -> Any: ...

    def train(self, mode: bool = True, /) -> Any: ...

    def to(self, device: Any, /) -> Any: ...


def predict_images(
    model: DetectionModel,
    paths: Iterable[str | Path],
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    device: str | torch.device = "cpu",
    batch: int = 16,
    save_dir: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    on_error: Callable[[Path, ImageError], None] | None = None,
) -> Iterator[tuple[Path, Detections]]:
    """Detect objects in image files; yields (path, detections) in the order of `paths`.

    model      torch module, float [B, 3, imgsz, imgsz] in 0..1 -> raw [B, 4 + classes, A] (xywh centre in
               network pixels, then scores). Moved to `device`, in evaluation mode while this runs.
    conf, iou  confidence threshold; NMS IoU threshold.
    save_dir   folder for the images with their boxes, under their own names; None = no plots. Needs
               `class_names`. Images of the same name get -2, -3, ... appended.
    on_error   called for an image that cannot be read, which is then skipped; omitted means it is logged.

    Boxes are xyxy in pixels of the original image, EXIF orientation applied. Raises `DataError` when
    `save_dir` cannot be written, or is the folder of a source image.
    """
    import torch

    files = [Path(p) for p in paths]
    plots = _plot_paths(files, Path(save_dir)) if save_dir is not None else None
    if plots is not None and class_names is None:
        raise DataError("save_dir: plotting needs class_names, got none. Pass the model's class names.")
    report = on_error or (lambda _, error: log.error("%s", error))
    was_training = model.training
    model.to(device)
    model.train(False)
    try:
        for start in range(0, len(files), batch):
            read: list[tuple[int, NDArray[np.uint8]]] = []
            for index in range(start, min(start + batch, len(files))):
                try:
                    read.append((index, read_image(files[index])))
                except ImageError as error:
                    report(files[index], error)
            if not read:
                continue
            boxed = [letterbox(image, imgsz, layout="chw") for _, image in read]
            pixels = torch.from_numpy(np.stack([b[0] for b in boxed])).to(device)
            with torch.no_grad():
                raw = model(pixels.float() / 255)
            found = find_detections(raw, conf=conf, iou=iou, max_det=max_det)
            for (index, image), (_, placement), network in zip(read, boxed, found, strict=True):
                detections = to_original(network, placement)
                if plots is not None and class_names is not None:
                    plot_detections(image, detections, class_names, plots[index])
                yield files[index], detections
    finally:
        model.train(was_training)


def to_original(detections: Detections, placement: Letterbox) -> Detections:
    """Detections in network pixels as detections in pixels of the original image, clipped to it."""
    return Detections(placement.to_source(detections.boxes), detections.scores, detections.classes)


def _plot_paths(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A path in `folder` for each image; no two are the same, and none is a source image."""
    for path in paths:
        if path.parent.resolve() == folder.resolve():
            raise DataError(
                f"{folder}: this folder holds the source image {path.name}, expected another one. "
                "Choose another save_dir: source images are never written to."
            )
    seen: dict[str, int] = {}
    plots = []
    for path in paths:
        suffix = path.suffix.lower() if path.suffix.lower() in PLOT_SUFFIXES else ".png"
        name = f"{path.stem}{suffix}"
        seen[name] = seen.get(name, 0) + 1
        plots.append(folder / (name if seen[name] == 1 else f"{path.stem}-{seen[name]}{suffix}"))
    return plots
