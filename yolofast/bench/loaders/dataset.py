"""The copy of a dataset that loaders are compared on.

Other packages repair images in place and write cache files next to labels; a user's files are never at risk
when every loader works on a copy. It also makes the work the same: only usable images, with the labels that
we read, under simple names.
"""

from __future__ import annotations

import itertools
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolofast.errors import DataError
from yolofast.formats.boxes import xyxy_to_xywhn
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.formats.yolo.writer import write_data_yaml
from yolofast.types import ImageRecord, Split

MAX_IMAGES = 1024
"""Enough for every effect on a loader's speed, few enough for the page cache."""


@dataclass(frozen=True)
class Copied:
    """`folder` holds images/, labels/ and data.yaml: `files` files of `images` different images."""

    folder: Path
    data_yaml: Path
    classes: int
    images: int
    files: int


def copy_for_bench(data: Path, split: Split, folder: Path, min_files: int) -> Copied:
    """Copy the first `MAX_IMAGES` images of a split, and all of them again under other names until there are
    `min_files` files.

    Raises `DataError` when the split has no usable image.
    """
    source = read_data_yaml(data)
    usable = (record for record, _ in iter_yolo_records(source, split) if record is not None)
    records = list(itertools.islice(usable, MAX_IMAGES))
    if not records:
        raise DataError(f"{data}: split '{split}' has no readable image. Run `yolofast check` on it.")
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    files = len(records) * math.ceil(min_files / len(records))
    for number, record in enumerate(itertools.islice(itertools.cycle(records), files)):
        shutil.copyfile(record.path, folder / "images" / f"{number:06d}{record.path.suffix.lower()}")
        (folder / "labels" / f"{number:06d}.txt").write_text(_rows(record), encoding="utf-8")
    data_yaml = write_data_yaml(folder / "data.yaml", {split: "images"}, source.names)
    return Copied(folder, data_yaml, len(source.names), len(records), files)


def _rows(record: ImageRecord) -> str:
    boxes = xyxy_to_xywhn(record.boxes, (record.width, record.height))
    rows = np.column_stack([record.classes, boxes])
    return "".join(f"{int(row[0])} " + " ".join(f"{v:.6f}" for v in row[1:]) + "\n" for row in rows)
