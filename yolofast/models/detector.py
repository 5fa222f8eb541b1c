"""The detector: maps images to boxes and scores, or to the loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from yolofast import __version__
from yolofast.config import MODEL_STRIDE, Optimizer
from yolofast.errors import ConfigError
from yolofast.models.blocks import ConvUnit
from yolofast.models.head import Head, HeadOutput, decode_xywh
from yolofast.models.loss import LossGains, heads_loss, loss_sums
from yolofast.models.pyramid import Backbone, PathAggregation, Pyramid
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
    """Anchor-free YOLO: CSP backbone, path-aggregation neck, decoupled head, of one family and size.

    A family with a one-to-one head has two: `head` is trained with many points for each box, `single_head`
    with one, and makes the predictions, which need no NMS.

    Initial weights come from torch's global generator; see `build_model`. Runs in either memory format;
    channels_last is faster on most devices.
    """

    strides = STRIDES

    def __init__(
        self,
        spec: ModelSpec,
        class_names: Sequence[str],
        gains: LossGains = DEFAULT_GAINS,
        *,
        spp_activation: bool | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.spp_activation = spec.family.spp_activation if spp_activation is None else spp_activation
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.gains = gains
        self.progress = 0.0
        """Share of the training that is done, 0..1, set by the trainer; weighs the losses of two heads."""
        self.backbone = Backbone(spec, spp_activation=self.spp_activation)
        self.neck = PathAggregation(spec)
        self.head = Head(spec, self.num_classes)
        self.single_head = Head(spec, self.num_classes) if spec.family.one_to_one else None

    @property
    def end_to_end(self) -> bool:
        """Whether predictions come from a one-to-one head and need no NMS."""
        return self.single_head is not None

    @property
    def default_optimizer(self) -> Optimizer:
        """What `--optimizer auto` means for this model; auto leaves it to the length of the run."""
        return self.spec.family.default_optimizer

    def predict_maps(self, images: Tensor) -> HeadOutput:
        """The head's logits for images [B, 3, H, W], from which both boxes and loss are computed."""
        maps = self._features(images)
        output: HeadOutput = self.head(maps) if self.single_head is None else self.single_head(maps)
        return output

    def training_maps(self, images: Tensor) -> tuple[HeadOutput, ...]:
        """The logits of every head, for the loss: one-to-many first, then one-to-one where there are two.

        The one-to-one head's loss does not reach the backbone and neck.
        """
        maps = self._features(images)
        if self.single_head is None:
            return (self.head(maps),)
        return self.head(maps), self.single_head([level.detach() for level in maps])

    def _features(self, images: Tensor) -> Pyramid:
        # While a graph is being captured, sizes are symbolic, and a check would specialise the graph to them.
        if all(type(side) is int for side in images.shape):
            check_images(images)
        maps: Pyramid = self.neck(self.backbone(images))
        return maps

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Tensor:
        """Raw predictions, or the loss if `targets` are given; the same in train and eval mode.

        images   float [B, 3, H, W], RGB in 0..1, H and W multiples of 32.
        targets  float [N, 6]: sample, class, xywhn; N may be 0.

        Without targets: float32 [B, 4 + nc, A], box centre x, centre y, width, height in network pixels
        and the classes' scores in 0..1, before NMS. With: float32 [3], the box, class and
        distance losses times their gains, a mean that does not grow with the batch size (see
        `heads_loss`). Raises ValueError for wrong shapes, `DataError` for numbers out of range.
        """
        if targets is None:
            return self._raw(self.predict_maps(images))
        outputs = self.training_maps(images)
        return heads_loss(outputs, targets, images.shape[2], images.shape[3], self.gains, self.progress)

    def with_loss(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions and loss sums of one forward pass, for validation.

        Raw as `forward` returns it, and float32 [4]: the sums of the box, class and distance terms and
        the sum that they are to be divided by (see `loss_sums`), which add up over the batches of a dataset.
        Of two heads, it is the loss of the one-to-one head, which makes the predictions: so the losses of two
        epochs can be compared.
        """
        output = self.predict_maps(images)
        height, width = images.shape[2:]
        sums = loss_sums(output, targets, height, width, self.gains, one_to_one=self.end_to_end)
        return self._raw(output), sums

    def _raw(self, output: HeadOutput) -> Tensor:
        boxes = decode_xywh(output, self.spec.family.bins)
        return torch.cat((boxes, output.class_logits.sigmoid()), dim=1)

    def metadata(self) -> dict[str, str]:
        """The header of a weights file: enough to rebuild the model."""
        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model": self.spec.name,
            "num_classes": str(self.num_classes),
            "class_names": json.dumps(list(self.class_names)),
            "stride": str(MODEL_STRIDE),
            "version": __version__,
        }
        if self.spp_activation != self.spec.family.spp_activation:
            metadata["spp_activation"] = str(self.spp_activation).lower()
        return metadata

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
    spp_activation: bool | None = None,
) -> Detector:
    """A detector with random weights.

    name            size: p, n, s, m, l or x, or with its family: yolov8n, yolo11n, ... (`MODEL_SPECS`)
    num_classes     at least 1.
    class_names     one name per class; omitted means class0, class1, ...
    seed            makes the weights reproducible and leaves torch's global generator alone.
    spp_activation  whether the first unit of the pyramid pooling has an activation; omitted means what is
                    usual in the family

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
        return Detector(spec, names, gains, spp_activation=spp_activation)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Detector(spec, names, gains, spp_activation=spp_activation)


def fused_copy(model: Detector) -> Detector:
    """A copy in eval mode with every batch norm folded into its convolution, for inference and export."""
    copied = copy.deepcopy(model).eval()
    for module in copied.modules():
        if isinstance(module, ConvUnit):
            module.fold_norm()
    return copied
