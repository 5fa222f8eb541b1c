"""Keywords of `YOLO` methods: which exist, and what to use for those that other YOLO packages have."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from yolofast.errors import ConfigError, nearest

INSTEAD = {
    "cos_lr": "schedule='cosine'",
    "deterministic": "seed: a run with the same seed, data and device repeats itself",
    "exist_ok": "name: a run never overwrites another one; the name gets a number",
    "half": "half_precision (export), amp (train)",
    "int8": "half_precision: there is no int8 export",
    "nms": "include_nms",
    "persist": "predict: there is no tracker",
    "pretrained": "YOLO(path of the weights)",
    "save": "Result.save(path) after predict, plots (train)",
    "save_crop": "Result.save_crop(folder)",
    "save_dir": "project and name (train), save_dir (val)",
    "save_json": "save_dir (val): predictions.json is written there",
    "save_txt": "Result.to_txt(path)",
    "show": "Result.plot(), which returns the image",
    "stream_buffer": "stream=True",
    "verbose": "progress",
    "visualize": "Result.plot()",
}
"""Keyword that is not known here -> what to use instead."""


def check_keywords(method: str, given: Iterable[str], known: Collection[str]) -> None:
    """Raise `ConfigError` for a keyword that `method` does not have, with what to use instead."""
    for name in given:
        if name in known:
            continue
        instead = INSTEAD.get(name)
        advice = f" Use {instead}." if instead else nearest(name, known)
        raise ConfigError(
            f"{method}: got the unknown keyword '{name}'.{advice} Known: {', '.join(sorted(known))}."
        )
