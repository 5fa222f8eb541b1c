"""The names that people give to the parts of a dataset."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePath
from typing import get_args

from yolofast.errors import ConfigError, nearest
from yolofast.types import Split

SPLITS: tuple[Split, ...] = get_args(Split)
WRITTEN_NAMES: dict[Split, str] = {"train": "train", "valid": "val", "test": "test"}
"""What COCO and Pascal VOC call the splits."""

WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
"""Every word for a split, in lower case."""
_WORD = re.compile(rf"(?:^|[_\-. ])({'|'.join(WORDS)})(?=$|[_\-. \d])", re.IGNORECASE)


def split_of_name(name: str) -> Split | None:
    """The split that a file or folder name has as a word; the last word wins.

    `val2017`, `instances_test2017.json`, `Test-1`, `training_data` -> valid, test, test, train.
    """
    words = _WORD.findall(name)
    return WORDS[words[-1].lower()] if words else None


def split_of(path: PurePath) -> Split | None:
    """The split that a relative path names in one of its parts; the innermost part wins.

    `train/images/a.jpg`, `Test-1/images/val2017`, `instances_test2017.json` -> train, valid, test.
    """
    return next((split for part in reversed(path.parts) if (split := split_of_name(part))), None)


def as_split(name: str) -> Split:
    """The split of a word such as 'val' or 'validation', in any case. Raises `ConfigError` for others."""
    split = WORDS.get(name.lower())
    if split is None:
        raise ConfigError(
            f"split: got '{name}', expected train, val (or valid) or test.{nearest(name, WORDS)}"
        )
    return split


def in_split_order(splits: Collection[Split | None]) -> tuple[Split, ...]:
    """The splits among `splits`, each once, in the order train, valid, test."""
    return tuple(split for split in SPLITS if split in splits)


def default_split(named: Collection[Split | None]) -> Split | None:
    """The split of the images that nothing names (None in `named`): train, where only others are named.

    A person who sets apart validation or test images in a folder or list of their own trains on the rest.
    """
    return "train" if None in named and "train" not in named and in_split_order(named) else None
