"""Prediction: detections of batches without ground truth, in pixels of the original images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolofast.evaluate.augmented import with_augmented_views
from yolofast.evaluate.detect import find_detections
from yolofast.evaluate.inference import DetectionModel, inference, network_input, nms_threshold
from yolofast.types import Batch, Detections, Letterbox

if TYPE_CHECKING:
    import torch


def predict_batches(
    model: DetectionModel,
    batches: Iterable[Batch],
    *,
    conf: float = 0.25,
    iou: float = 0.7,
    max_det: int = 300,
    classes: Sequence[int] | None = None,
    half: bool = False,
    augment: bool = False,
    device: str | torch.device = "cpu",
) -> Iterator[tuple[Path, Detections]]:
    """Detect objects in batches of letterboxed images; yields (path, detections) of each, in order.

    model    torch module, float [B, 3, H, W] in 0..1 -> raw [B, 4 + classes, A] (xywh centre in network
             pixels, then scores). Moved to `device`, in evaluation mode while this runs.
    batches  torch tensors, from `load.image_batches` or a `Loader`
    conf     confidence threshold
    iou      NMS IoU threshold; without effect on models that need no NMS (`nms_threshold`)
    max_det  max detections per image
    classes  class numbers to keep; others neither count nor suppress. None: all
    half     mixed precision: float16 on CUDA, bfloat16 on the CPU
    augment  test-time augmentation: the candidates of three views of each image go into NMS
             (`augmented.with_augmented_views`), for about 2.1 forward passes

    Boxes are xyxy in pixels of the original image, EXIF orientation applied.
    """
    iou = nms_threshold(model, iou, augment=augment)
    with inference(model, device, half=half):
        for batch in batches:
            images = network_input(batch.images, device)
            raw = model(images)
            if augment:
                raw = with_augmented_views(raw, model, images)
            found = find_detections(raw, conf=conf, iou=iou, max_det=max_det, classes=classes)
            size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
            for path, shape, network in zip(batch.paths, batch.shapes.tolist(), found, strict=True):
                placement = Letterbox.fit((int(shape[0]), int(shape[1])), size)
                yield Path(path), to_original(network, placement)


def to_original(detections: Detections, placement: Letterbox) -> Detections:
    """Detections in network pixels as detections in pixels of the original image, clipped to it."""
    return Detections(placement.to_source(detections.boxes), detections.scores, detections.classes)
