"""Predictions as a COCO results file, written image by image in bounded memory."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from yolofast.files import atomic_file
from yolofast.types import Detections

log = logging.getLogger(__name__)


class CocoResults:
    """The open results file; see `coco_results`."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._ids: set[str] = set()
        self._separator = "\n"

    def add(self, image: str | Path, detections: Detections) -> None:
        """Append the detections of one image; boxes are rounded to 0.001 px, scores to 1e-6."""
        image_id = Path(image).stem
        if image_id in self._ids:
            log.warning("two images are named '%s': their predictions share an image_id", image_id)
        self._ids.add(image_id)
        for (x1, y1, x2, y2), score, category in zip(
            detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True
        ):
            entry = {
                "image_id": image_id,
                "category_id": category,
                "bbox": [round(x1, 3), round(y1, 3), round(x2 - x1, 3), round(y2 - y1, 3)],
                "score": round(score, 6),
            }
            self._file.write(self._separator + json.dumps(entry))
            self._separator = ",\n"


@contextlib.contextmanager
def coco_results(path: str | Path) -> Iterator[CocoResults]:
    """Write `path`: a JSON list of {image_id, category_id, bbox, score}.

    `image_id` is the image's file name without its suffix, `category_id` the class index from 0,
    `bbox` is x, y (top left), width, height in pixels of the original image. The file appears when
    the block ends; an error inside it leaves an earlier file as it was.

    Raises `DataError` when the file cannot be written.
    """
    with atomic_file(Path(path)) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        yield CocoResults(file)
        file.write("\n]\n")
