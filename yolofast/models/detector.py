"""The detector: maps images to boxes and scores, or to the loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yolofast import __version__
from yolofast.config import MODEL_STRIDE
from yolofast.errors import ConfigError
from yolofast.models.blocks import ConvUnit
from yolofast.models.head import Head, HeadOutput, decode_xywh
from yolofast.models.loss import LossGains, detection_loss, loss_sums
from yolofast.models.pyramid import Backbone, PathAggregation
from yolofast.models.spec import STRIDES, ModelSpec, model_spec

FORMAT = "yolofast-detector"
FORMAT_VERSION = "1"

DEFAULT_GAINS = LossGains()


def check_images(images: Tensor) -> None:
    """Raise ValueError unless `images` is floating point [B, 3, H, W], H and W multiples of 32."""
    shape = tuple(images.shape)
    if images.dim() != 4 or shape[1] != 3:
        raise ValueError(f"images: got shape {shape}, expected [B, 3, H, W]: a batch, channels first.")
    if not images.is_floating_point():
        raise ValueError(
            f"images: got {images.dtype}, expected floating point in 0..1. Use images.float() / 255."
        )
    if not shape[2] or not shape[3] or shape[2] % MODEL_STRIDE or shape[3] % MODEL_STRIDE:
        raise ValueError(
            f"images: got {shape[2]} x {shape[3]} pixels, expected multiples of {MODEL_STRIDE} "
            "(the largest stride). Letterbox the images first."
        )


class Detector(nn.Module):
    """Anchor-free YOLO: CSP backbone, path-aggregation neck, decoupled head.

    Initial weights come from torch's global generator; see `build_model`. Runs in either memory format;
    channels_last is faster on most devices.
    """

    strides = STRIDES

    def __init__(self, spec: ModelSpec, class_names: Sequence[str], gains: LossGains = DEFAULT_GAINS) -> None:
        super().__init__()
        self.spec = spec
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.gains = gains
        self.backbone = Backbone(spec)
        self.neck = PathAggregation(spec)
        self.head = Head(spec, self.num_classes)

    def predict_maps(self, images: Tensor) -> HeadOutput:
        """The head's logits for images [B, 3, H, W], from which both boxes and loss are computed."""
        # While a graph is being captured, sizes are symbolic, and a check would specialise the graph to them.
        if all(type(side) is int for side in images.shape):
            check_images(images)
        output: HeadOutput = self.head(self.neck(self.backbone(images)))
        return output

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Tensor:
        """Raw predictions, or the loss if `targets` are given; the same in train and eval mode.

        images   float [B, 3, H, W], RGB in 0..1, H and W multiples of 32.
        targets  float [N, 6]: sample, class, xywhn; N may be 0.

        Without targets: float32 [B, 4 + nc, A], box centre x, centre y, width, height in network pixels
        and the classes' scores in 0..1, before NMS. With: float32 [3], the box, class and
        distribution losses times their gains, a mean that does not grow with the batch size (see
        `detection_loss`). Raises ValueError for wrong shapes, `DataError` for numbers out of range.
        """
        output = self.predict_maps(images)
        if targets is None:
            return self._raw(output)
        return detection_loss(output, targets, images.shape[2], images.shape[3], self.gains)

    def with_loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions and loss sums of one forward pass, for validation.

        Raw as `forward` returns it, and float32 [4]: the sums of the box, class and distribution terms and
        the sum that they are to be divided by (see `loss_sums`), which add up over the batches of a dataset.
        """
        output = self.predict_maps(images)
        sums = loss_sums(output, targets, images.shape[2], images.shape[3], self.gains)
        return self._raw(output), sums

    @staticmethod
    def _raw(output: HeadOutput) -> Tensor:
        return torch.cat((decode_xywh(output), output.class_logits.sigmoid()), dim=1)

    def metadata(self) -> dict[str, str]:
        """The header of a weights file: enough to rebuild the model."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": self.spec.name,
            "num_classes": str(self.num_classes),
            "class_names": json.dumps(list(self.class_names)),
            "stride": str(MODEL_STRIDE),
            "version": __version__,
        }

    @property
    def fused(self) -> bool:
        """True when the batch norms are folded into the convolutions."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.modules())


def build_model(
    name: str,
    num_classes: int,
    *,
    class_names: Sequence[str] | None = None,
    gains: LossGains = DEFAULT_GAINS,
    seed: int | None = None,
) -> Detector:
    """A detector with random weights.

    name         size: p, n, s, m, l or x.
    num_classes  at least 1.
    class_names  one name per class; omitted means class0, class1, ...
    seed         makes the weights reproducible and leaves torch's global generator alone.

    Convolutions keep torch's Kaiming-uniform initialisation (He et al. 2015): each is followed by a batch
    norm, so their scale does not affect the output; the head's biases start from a prior (see `Head`).
    Raises `ConfigError` for an unknown size or a wrong number of classes or names.
    """
    spec = model_spec(name)
    if num_classes < 1:
        raise ConfigError(f"num_classes: got {num_classes}, expected at least 1.")
    names = tuple(class_names) if class_names is not None else tuple(f"class{i}" for i in range(num_classes))
    if len(names) != num_classes:
        raise ConfigError(
            f"class_names: got {len(names)} names, expected {num_classes} (num_classes): one name per class."
        )
    if seed is None:
        return Detector(spec, names, gains)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Detector(spec, names, gains)


def fused_copy(model: Detector) -> Detector:
    """A copy in eval mode with every batch norm folded into its convolution, for inference and export."""
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        if isinstance(module, ConvUnit):
            module.fold_norm()
    return copied
