"""Results of a model on any source, one by one: a batch is decoded while the one before is in the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ConfigError, ImageError
from yolofast.images import read_image
from yolofast.predict.sources import Source, open_source
from yolofast.result import Result
from yolofast.types import Letterbox

if TYPE_CHECKING:
    import torch

    from yolofast.evaluate.inference import DetectionModel

_log = logging.getLogger(__name__)


class _Ready(NamedTuple):
    """A batch for the network: names, originals and `pixels` uint8 [B, 3, H, W] belong together."""

    names: list[str]
    images: list[NDArray[np.uint8]]
    pixels: NDArray[np.uint8]
    errors: list[tuple[Path, ImageError]]
    milliseconds: float


def predict(
    model: DetectionModel,
    source: Any,
    *,
    imgsz: int,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    half: bool = False,
    rect: bool = False,
    batch: int = 8,
    device: str | torch.device = "auto",
    on_error: Callable[[Path, ImageError], None] | None = None,
) -> Iterator[Result]:
    """Detect objects in `source` (see `open_source`); yields a `Result` per image, in order.

    model     torch module, see `predict_batches`, also for conf, iou, max_det, classes and half; its
              `class_names` are the names of the results
    imgsz     side of the network's square input in pixels, with `rect` its longer side before padding
    rect      one shape per batch, just large enough for its images
    batch     images per forward pass
    device    "auto" takes a GPU where there is one
    on_error  called for a file that cannot be read, which is then skipped; omitted means it is logged

    At most two batches of originals are held. The network sees the pixels that it sees in the evaluation of
    a dataset; an array has those of a PNG file of it. `speed` has milliseconds per image.
    """
    import torch

    from yolofast.evaluate.detect import find_detections
    from yolofast.evaluate.inference import inference, network_input, nms_threshold
    from yolofast.evaluate.predict import to_original
    from yolofast.train import select_device

    if batch < 1:
        raise ConfigError(f"batch: got {batch}, expected at least 1.")
    where = select_device(device) if isinstance(device, str) else device
    names = tuple(getattr(model, "class_names", ()))
    report = on_error or (lambda _, error: _log.error("%s", error))
    iou = nms_threshold(model, iou)
    ready = _batches(open_source(source), imgsz, batch, rect)
    with ThreadPoolExecutor(1, "yolofast-predict") as pool:
        pending = pool.submit(next, ready, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, ready, None)
            for path, error in item.errors:
                report(path, error)
            if not item.names:
                continue
            begin = perf_counter()
            with inference(model, where, half=half):  # not around the yield: modes stay inside
                raw = model(network_input(torch.from_numpy(item.pixels), where))
                middle = perf_counter()
                found = find_detections(raw, conf=conf, iou=iou, max_det=max_det, classes=classes)
            count = len(item.names)
            speed = {
                "preprocess": item.milliseconds / count,
                "inference": (middle - begin) * 1e3 / count,
                "postprocess": (perf_counter() - middle) * 1e3 / count,
            }
            size = (item.pixels.shape[2], item.pixels.shape[3])
            for name, image, network in zip(item.names, item.images, found, strict=True):
                placement = Letterbox.fit((image.shape[0], image.shape[1]), size)
                yield Result(name, image, to_original(network, placement), names, speed)


def _batches(source: Source, imgsz: int, batch: int, rect: bool) -> Iterator[_Ready]:
    """Batches of `source` in order; one holds files only or arrays only."""
    begin = 0
    while begin < len(source):
        files = isinstance(source[begin][1], Path)
        end = begin
        while end < min(begin + batch, len(source)) and isinstance(source[end][1], Path) == files:
            end += 1
        started = perf_counter()
        chunk = source[begin:end]
        errors: list[tuple[Path, ImageError]] = []
        if files:
            names, images, pixels = _from_files([name for name, _ in chunk], imgsz, rect, errors)
        else:
            names, images = [name for name, _ in chunk], [np.asarray(picture) for _, picture in chunk]
            pixels = _from_arrays(images, imgsz, rect)
        yield _Ready(names, images, pixels, errors, (perf_counter() - started) * 1e3)
        begin = end


def _from_files(
    paths: list[str], imgsz: int, rect: bool, errors: list[tuple[Path, ImageError]]
) -> tuple[list[str], list[NDArray[np.uint8]], NDArray[np.uint8]]:
    from yolofast.load import image_batches

    def failed(path: Path, error: ImageError) -> None:
        errors.append((path, error))

    for found in image_batches(paths, imgsz=imgsz, batch_size=len(paths), rect=rect, on_error=failed):
        return list(found.paths), [read_image(path) for path in found.paths], np.asarray(found.images)
    return [], [], np.zeros((0, 3, imgsz, imgsz), np.uint8)


def _from_arrays(images: list[NDArray[np.uint8]], imgsz: int, rect: bool) -> NDArray[np.uint8]:
    from yolofast.load import array_batch

    return array_batch(images, imgsz=imgsz, rect=rect)
