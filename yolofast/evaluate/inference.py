"""Running a detector on batches: its mode, its precision, and the values that go into it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class DetectionModel(Protocol):
    """The part of a torch module that prediction and evaluation use."""

    training: bool

    def __call__(self, images: torch.Tensor, /) -> Any: ...

    def train(self, mode: bool = True, /) -> Any: ...

    def to(self, device: Any, /) -> Any: ...


@contextlib.contextmanager
def inference(model: DetectionModel, device: str | torch.device, *, half: bool = False) -> Iterator[None]:
    """`model` on `device` and in evaluation mode inside the block, without gradients.

    `half` is mixed precision: float16 on CUDA, bfloat16 on the CPU. The model's mode is restored.
    """
    import torch

    kind = torch.device(device).type
    reduced = torch.float16 if kind == "cuda" else torch.bfloat16
    was_training = model.training
    model.to(device)
    modules = getattr(model, "modules", None)
    if was_training or modules is None or any(module.training for module in modules()):
        model.train(False)  # which takes a millisecond for each call of a model of 200 modules
    try:
        with torch.no_grad(), torch.autocast(kind, reduced, enabled=half):
            yield
    finally:
        if was_training:
            model.train(True)


def nms_threshold(model: DetectionModel, iou: float, *, augment: bool = False) -> float:
    """The NMS threshold for what `model` predicts: 1, which suppresses nothing, where it needs no NMS.

    That is a model with a true `end_to_end`, such as a `Detector` of yolo26, which is trained to give each
    object one box. With `augment` it finds each object in every view, so its candidates need NMS as well.
    """
    return 1.0 if getattr(model, "end_to_end", False) and not augment else iou


def network_input(images: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """`images` [B, 3, H, W] of a batch as float32 in 0..1 on `device`; a loader may have scaled them."""
    moved = images.to(device, non_blocking=True)
    return moved.float() if moved.is_floating_point() else moved.float() / 255
