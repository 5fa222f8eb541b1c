"""Writes YOLO label files and data.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import numpy as np
import yaml

from yolofast.files import write_text
from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.formats.data_yaml import YAML_KEYS
from yolofast.formats.splits import SPLITS
from yolofast.printable import printable
from yolofast.types import ImageRecord, Split

_ROW = "%d %.10g %.10g %.10g %.10g\n"
_EXPONENT = re.compile(r"\d(?:\.\d+)?e[-+]\d+")


@lru_cache(256)
def _rows(count: int) -> str:
    return _ROW * count


def label_texts(records: Sequence[ImageRecord]) -> list[str]:
    """The label file of each record: `class x y w h` per line, normalised, with ten significant digits."""
    counts = [len(record.classes) for record in records]
    if not any(counts):
        return [""] * len(records)
    boxes = np.concatenate([record.boxes for record in records])
    size = np.array([(record.width, record.height) for record in records], dtype=np.float64).repeat(
        counts, axis=0
    )
    values = np.empty((len(boxes), 5))
    values[:, 0] = np.concatenate([record.classes for record in records])
    values[:, 1:] = xyxy_to_xywhn(boxes, size)
    flat = values.ravel().tolist()
    texts, begin = [], 0
    for count in counts:
        end = begin + 5 * count
        text = _rows(count) % tuple(flat[begin:end])
        if "e" in text:  # below 0.0001; not every reader of labels accepts exponents
            text = _EXPONENT.sub(lambda number: f"{Decimal(number[0]):f}", text)
        texts.append(text)
        begin = end
    return texts


class _Dumper(yaml.SafeDumper):
    """Writes a text that is not plain in double quotes, with escapes: other styles lose some line ends."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = printable(text) == text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def write_data_yaml(path: str | Path, splits: Mapping[Split, str], names: Sequence[str]) -> Path:
    """Write a data.yaml next to its split folders, atomically, and return its path.

    `splits` maps each split to an image folder relative to the yaml. `path` is written empty: this package
    and Ultralytics then both use the folder of the yaml, from any working directory and after the dataset
    was moved (a relative `path` means another folder to Ultralytics).
    """
    path = Path(path)
    content: dict[str, object] = {"path": ""}
    content |= {YAML_KEYS[split]: splits[split] for split in SPLITS if split in splits}
    content |= {"nc": len(names), "names": dict(enumerate(names))}
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    write_text(path, text)
    return path
