"""The settings at which weights are used: those they were trained at, unless flags say otherwise."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from yolofast.config import YOLOConfig
from yolofast.errors import CheckpointError

_log = logging.getLogger(__name__)

AS_TRAINED = ("batch", "rect", "stride", "pad", "single_cls")
"""Settings of a training run that shape the images of its validation, besides imgsz."""


def trained_config(weights: Path, **flags: Any) -> YOLOConfig:
    """The settings at which a weights file is used: those it was trained at, then `flags` that are not None.

    Of its training a file keeps imgsz, and what else decides which pixels validation sees (`AS_TRAINED`; the
    batch size only with rect, where the shape of a batch depends on its images). A file without imgsz gets
    the default, with a warning. Raises `CheckpointError` for a file that cannot be read or whose header does
    not make sense, `ConfigError` for a setting out of range.
    """
    from yolofast.models import read_metadata

    metadata = read_metadata(weights)
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        sections = json.loads(metadata.get("settings", "{}")).values()
        kept = {name: section[name] for section in sections for name in AS_TRAINED if name in section}
        if "imgsz" in metadata:
            kept["imgsz"] = int(metadata["imgsz"])
        if not given.get("rect", kept.get("rect")):
            kept.pop("batch", None)  # it decides no pixel, and may be too large for this machine
        trained = YOLOConfig().replace(**kept)
    except (ValueError, TypeError, AttributeError) as error:
        if "imgsz" not in given:
            raise CheckpointError(
                f"{weights}: its header has settings that make no sense ({error}). Give --imgsz."
            ) from None
        trained = YOLOConfig()
    if "imgsz" not in metadata and "imgsz" not in given:
        _log.warning(
            "%s does not say at which image size it was trained: using %d. Give --imgsz for another.",
            weights,
            trained.dataset.imgsz,
        )
    return trained.replace(**given)
