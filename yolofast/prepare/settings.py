"""The `PrepareConfig` of a call, and its form in manifest.json."""

from __future__ import annotations

import dataclasses
from typing import Any

from yolofast import __version__
from yolofast.config import PrepareConfig


def with_options(config: PrepareConfig | None, options: dict[str, Any]) -> PrepareConfig:
    """`config` (None: the defaults) with some options changed.

    Raises `ConfigError` for an invalid value and `TypeError` for an unknown option.
    """
    return dataclasses.replace(config if config is not None else PrepareConfig(), **options)


def manifest_settings(config: PrepareConfig) -> dict[str, Any]:
    """The settings as manifest.json stores them; equal for configs that give the same dataset."""
    return {
        **{field.name: getattr(config, field.name) for field in dataclasses.fields(PrepareConfig)},
        "rename": dict(sorted((config.rename or {}).items())),
        "drop": sorted(set(config.drop)),
        "keep": None if config.keep is None else sorted(set(config.keep)),
        "version": __version__,
    }
