"""The sizes of the detector: one row per size.

All sizes are the same network; they differ only in the number of blocks per stage and of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from yolofast.errors import ConfigError, nearest

STRIDES = (8, 16, 32)
"""Pixels between neighbouring anchor points of the three output levels."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One size of the detector.

    The full network (depth 1, width 1) has 64-128-256-512-1024 channels at strides 2..32 and
    3-6-6-3 bottlenecks in its backbone stages.
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

    def channels(self, full: int) -> int:
        """Channels of a layer that has `full` of them at width 1: a multiple of 8, at least 8."""
        return max(8, round(min(full, self.max_channels) * self.width / 8) * 8)

    def repeats(self, full: int) -> int:
        """Bottlenecks of a stage that has `full` of them at depth 1."""
        return max(1, round(full * self.depth))


MODEL_SPECS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ModelSpec("p", "pico", depth=0.33, width=0.125, max_channels=1024, min_box_channels=32),
            ModelSpec("n", "nano", depth=0.33, width=0.25, max_channels=1024),
            ModelSpec("s", "small", depth=0.33, width=0.50, max_channels=1024),
            ModelSpec("m", "medium", depth=0.67, width=0.75, max_channels=768),
            ModelSpec("l", "large", depth=1.00, width=1.00, max_channels=512),
            ModelSpec("x", "extra", depth=1.00, width=1.25, max_channels=512),
        )
    }
)
"""Every size by its name."""


def model_spec(name: str) -> ModelSpec:
    """The size called `name`. Raises `ConfigError` for an unknown name."""
    if name in MODEL_SPECS:
        return MODEL_SPECS[name]
    words = {word: spec.name for spec in MODEL_SPECS.values() for word in (spec.title, spec.name)}
    hint = nearest(name.lower(), words)
    for word, size in words.items():
        hint = hint.replace(f"'{word}'", f"'{size}'")
    known = ", ".join(f"{spec.name} ({spec.title})" for spec in MODEL_SPECS.values())
    raise ConfigError(f"model: got '{name}', expected one of {known}.{hint}")
