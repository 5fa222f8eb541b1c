"""The families of the detector and their sizes: one row per size.

All sizes of a family are the same network; they differ in the number of blocks per stage and of channels. The
families are what weights in use were trained as; our own sizes (p, n, ...) have the blocks of yolov8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from yolofast.config import MODEL_FAMILIES, Optimizer
from yolofast.errors import ConfigError, nearest

STRIDES = (8, 16, 32)
"""Pixels between neighbouring anchor points of the three output levels."""


Inner = Literal["wide", "narrow", "csp", "attention"]
"""What is in the chain of a CSP block of `hidden` channels: bottlenecks that are as wide inside, or half as
wide; small CSP blocks of two wide bottlenecks; narrow bottlenecks, each followed by an attention block."""


@dataclass(frozen=True, slots=True)
class Block:
    """A CSP block of a stage, at depth 1 and width 1."""

    channels: int
    """Of its output."""
    repeats: int
    """Members of its chain."""
    inner: Inner = "wide"
    hidden: float = 0.5
    """Its inner channels, as a share of its output's."""
    residual: bool = True
    """Whether its bottlenecks add their input."""
    fixed: bool = False
    """Whether `repeats` and `inner` hold for every size."""


@dataclass(frozen=True, slots=True)
class Family:
    """The blocks of a family of detectors. At strides 4..32 the unit before a block halves H and W."""

    name: str
    backbone: tuple[Block, Block, Block, Block]
    """At strides 4, 8, 16, 32."""
    neck: tuple[Block, Block, Block, Block]
    """From coarse to fine (strides 16, 8), and back (16, 32)."""
    attention: int
    """Attention blocks after the pyramid pooling, at depth 1."""
    bins: int
    """Values of the head for each side of a box: a distribution over distances, or (1) the distance."""
    depthwise_classes: bool
    """Whether the head's class branches are depthwise separable."""
    one_to_one: bool
    """Whether a second head, trained with one point for each box, makes the predictions, without NMS."""
    spp_residual: bool
    """Whether the pyramid pooling adds its input."""
    spp_activation: bool
    """Whether its first unit has an activation, where weights do not say otherwise."""
    default_optimizer: Optimizer = "auto"
    """What `--optimizer auto` means for it, or auto: by the length of the run."""


V8 = Family(
    "yolov8",
    (Block(128, 3), Block(256, 6), Block(512, 6), Block(1024, 3)),
    (
        Block(512, 3, residual=False),
        Block(256, 3, residual=False),
        Block(512, 3, residual=False),
        Block(1024, 3, residual=False),
    ),
    attention=0,
    bins=16,
    depthwise_classes=False,
    one_to_one=False,
    spp_residual=False,
    spp_activation=True,
)
_V11_BACKBONE = (
    Block(256, 2, "narrow", 0.25),
    Block(512, 2, "narrow", 0.25),
    Block(512, 2, "csp"),
    Block(1024, 2, "csp"),
)
V11 = Family(
    "yolo11",
    _V11_BACKBONE,
    (Block(512, 2, "narrow"), Block(256, 2, "narrow"), Block(512, 2, "narrow"), Block(1024, 2, "csp")),
    attention=2,
    bins=16,
    depthwise_classes=True,
    one_to_one=False,
    spp_residual=False,
    spp_activation=True,
)
V26 = Family(
    "yolo26",
    _V11_BACKBONE,
    (
        Block(512, 2, "csp"),
        Block(256, 2, "csp"),
        Block(512, 2, "csp"),
        Block(1024, 1, "attention", fixed=True),
    ),
    attention=2,
    bins=1,
    depthwise_classes=True,
    one_to_one=True,
    spp_residual=True,
    spp_activation=False,
    default_optimizer="musgd",
)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One size of a family.

    The full network (depth 1, width 1) has 64-128-256-512-1024 channels at strides 2..32, before the blocks
    of its stages.
    """

    name: str
    title: str
    """The long name of the size."""
    depth: float
    """Multiplies the number of bottlenecks in a stage (at least 1)."""
    width: float
    """Multiplies the number of channels of a layer."""
    max_channels: int
    """Upper bound of a layer's channels, before `width`."""
    min_box_channels: int = 64
    """Lower bound of the hidden channels of the head's box branch."""
    family: Family = V8
    all_csp: bool = False
    """Whether narrow bottlenecks are small CSP blocks, too."""

    def channels(self, full: int) -> int:
        """Channels of a layer that has `full` of them at width 1: a multiple of 8, at least 8."""
        return max(8, round(min(full, self.max_channels) * self.width / 8) * 8)

    def repeats(self, full: int) -> int:
        """Bottlenecks of a stage that has `full` of them at depth 1."""
        return max(1, round(full * self.depth))


_OWN = (
    ModelSpec("p", "pico", depth=0.33, width=0.125, max_channels=1024, min_box_channels=32),
    ModelSpec("n", "nano", depth=0.33, width=0.25, max_channels=1024),
    ModelSpec("s", "small", depth=0.33, width=0.50, max_channels=1024),
    ModelSpec("m", "medium", depth=0.67, width=0.75, max_channels=768),
    ModelSpec("l", "large", depth=1.00, width=1.00, max_channels=512),
    ModelSpec("x", "extra", depth=1.00, width=1.25, max_channels=512),
)
_LATER = (
    ("n", 0.50, 0.25, 1024),
    ("s", 0.50, 0.50, 1024),
    ("m", 0.50, 1.00, 512),
    ("l", 1.00, 1.00, 512),
    ("x", 1.00, 1.50, 512),
)
"""Sizes of the later families: name, depth, width, most channels."""


def _sizes() -> Iterator[ModelSpec]:
    yield from _OWN
    for own in _OWN[1:]:
        yield replace(own, name=f"yolov8{own.name}", title=f"YOLOv8 {own.title}")
    titles = {own.name: own.title for own in _OWN}
    for family, title in ((V11, "YOLO11"), (V26, "YOLO26")):
        for size, depth, width, most in _LATER:
            yield ModelSpec(
                f"{family.name}{size}",
                f"{title} {titles[size]}",
                depth,
                width,
                most,
                min_box_channels=4 * family.bins,
                family=family,
                all_csp=size in "mlx",
            )


MODEL_SPECS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _sizes()})
"""Every size by its name."""


def model_spec(name: str) -> ModelSpec:
    """The size called `name`. Raises `ConfigError` for an unknown name."""
    if name in MODEL_SPECS:
        return MODEL_SPECS[name]
    words = {word: spec.name for spec in MODEL_SPECS.values() for word in (spec.title, spec.name)}
    hint = nearest(name.lower(), words)
    for word, size in words.items():
        hint = hint.replace(f"'{word}'", f"'{size}'")
    known = ", ".join(f"{spec.name} ({spec.title})" for spec in _OWN)
    families = ", ".join(f"{family}n..x" for family in MODEL_FAMILIES)
    raise ConfigError(f"model: got '{name}', expected one of {known}, or {families}.{hint}")
