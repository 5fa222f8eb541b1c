"""Test-time augmentation: what a detector finds in smaller and mirrored versions of its images as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolofast.config import MODEL_STRIDE
from yolofast.errors import ConfigError
from yolofast.evaluate.inference import DetectionModel

if TYPE_CHECKING:
    from torch import Tensor

VIEWS = ((0.83, True), (0.67, False))
"""Scale of each further version of an image, and whether it is mirrored left to right; as users of YOLO know
them."""
FILL = 114 / 255


def with_augmented_views(raw: Tensor, model: DetectionModel, images: Tensor) -> Tensor:
    """A model's raw output with what it predicts for the other views of the same images.

    raw     [B, 4 + C, A]: what `model` predicts for `images`
    images  float [B, 3, H, W] in 0..1, on the model's device

    Returns float32 [B, 4 + C, A + A'], the candidates of all views (`VIEWS`: scales 0.83, mirrored, and 0.67)
    in pixels of `images`, for one NMS; its IoU threshold is `nms_threshold(model, iou, augment=True)`. With
    the original these are 1 + 0.83^2 + 0.67^2 = 2.1 times the pixels. To be called within `inference`.

    Raises `ConfigError` for a model that has a `fixed_size` (height, width), such as one that was exported
    without dynamic shapes.
    """
    import torch

    fixed = getattr(model, "fixed_size", None)
    if fixed is not None:
        raise ConfigError(
            f"augment: this model takes images of {fixed[0]} x {fixed[1]} only, and test-time augmentation "
            "shows it smaller ones. Use the weights, or export with dynamic shapes."
        )
    outputs = [raw.float()]
    for scale, mirrored in VIEWS:
        view, inner = _view(images, scale, mirrored=mirrored)
        size = (images.shape[2], images.shape[3])
        outputs.append(_in_original(model(view).float(), inner, size, mirrored=mirrored))
    return torch.cat(outputs, dim=2)


def _view(images: Tensor, scale: float, *, mirrored: bool) -> tuple[Tensor, tuple[int, int]]:
    """The images smaller, padded at the right and bottom to whole strides; (height, width) without that."""
    from torch.nn.functional import interpolate, pad

    height, width = images.shape[2:]
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    small = interpolate(images.flip(3) if mirrored else images, inner, mode="bilinear", align_corners=False)
    right, bottom = -inner[1] % MODEL_STRIDE, -inner[0] % MODEL_STRIDE
    return pad(small, (0, right, 0, bottom), value=FILL), inner


def _in_original(raw: Tensor, inner: tuple[int, int], size: tuple[int, int], *, mirrored: bool) -> Tensor:
    """Candidates [B, 4 + C, A] of a view whose images have `inner` (height, width), in pixels of `size`."""
    import torch

    along_x, along_y = size[1] / inner[1], size[0] / inner[0]
    gains = torch.tensor([along_x, along_y, along_x, along_y], device=raw.device)
    boxes = raw[:, :4] * gains[:, None]
    if mirrored:
        boxes[:, 0] = size[1] - boxes[:, 0]
    return torch.cat((boxes, raw[:, 4:]), dim=1)
