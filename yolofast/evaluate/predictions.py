"""Predictions as a COCO results file, written image by image in bounded memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from yolofast.files import atomic_file
from yolofast.types import Detections


class CocoResults:
    """The open results file; see `coco_results`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._separator = "\n"

    def add(self, image_id: int, file_name: str, detections: Detections) -> None:
        """Append the detections of one image; boxes are rounded to 0.001 px, scores are exact."""
        name = json.dumps(file_name)
        for (x1, y1, x2, y2), score, label in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True
        ):
            box = f"[{x1:.3f}, {y1:.3f}, {x2 - x1:.3f}, {y2 - y1:.3f}]"
            # 9 significant digits tell every float32 apart.
            self._file.write(
                f'{self._separator}{{"image_id": {image_id}, "category_id": {label + 1}, "bbox": {box}, '
                f'"score": {score:.9g}, "file_name": {name}}}'
            )
            self._separator = ",\n"


@contextlib.contextmanager
def coco_results(path: str | Path) -> Iterator[CocoResults]:
    """Write `path`: a JSON list of {image_id, category_id, bbox, score, file_name}.

    `category_id` is the class number from 1 (class 0 is category 1), as in the ground truth that
    `convert_dataset` writes; `bbox` is x, y (top left), width, height in pixels of the original image. The
    file appears when the block ends; an error inside it leaves an earlier file as it was.

    Raises `DataError` when the file cannot be written.
    """
    with atomic_file(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        yield CocoResults(file)
        file.write("\n]\n")
