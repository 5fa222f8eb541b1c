"""The names that people give to the parts of a dataset."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePath
from typing import get_args

from yolofast.errors import ConfigError
from yolofast.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
WRITTEN_NAMES: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}
"""What COCO and Pascal VOC call the splits."""

_WORDS: tuple[tuple[Split, str], ...] = (
    ("train", "train|training"),
    ("valid", "val|valid|validation"),
    ("test", "test|testing"),
)
_PATTERNS = tuple(
    (split, re.compile(rf"(?:^|[_\-. ])(?:{words})(?=$|[_\-. \d])", re.IGNORECASE)) for split, words in _WORDS
)


def split_of(path: PurePath) -> Split | None:
    """The split that a relative path names in one of its parts; the outermost part wins.

    `train/images/a.jpg`, `images/val2017`, `instances_test2017.json` -> train, valid, test.
    """
    for part in path.parts:
        for split, pattern in _PATTERNS:
            if pattern.search(part):
                return split
    return None


def in_split_order(splits: Collection[Split | None]) -> tuple[Split, ...]:
    """The splits among `splits`, each once, in the order train, valid, test."""
    return tuple(split for split in SPLITS if split in splits)


def as_split(name: str) -> Split:
    """The split of a word such as 'val' or 'validation', in any case. Raises `ConfigError` for others."""
    for split, words in _WORDS:
        if name.lower() in words.split("|"):
            return split
    raise ConfigError(f"split: got '{name}', expected train, val (or valid) or test.")
