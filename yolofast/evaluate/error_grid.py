"""The images of an evaluation with the most errors, every detection marked right, wrong or missed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.evaluate.drawing import Colour, draw_labelled, put_text, shown_name, text_size, write_image
from yolofast.evaluate.plots import GRID_CELL, GRID_IMAGES, TITLE_HEIGHT, tiled, titled
from yolofast.types import Detections

MAX_BYTES = 1_000_000
"""The picture is no larger."""
COLOURS: dict[str, Colour] = {"TP": (40, 170, 60), "FP": (225, 45, 40), "FN": (255, 170, 0)}
MEANINGS = {"TP": "found", "FP": "false", "FN": "missed"}


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """An image with what was found in it, and what was not.

    `image` uint8 [H, W, 3] RGB; boxes are xyxy in its pixels. The scores of `missed` are not shown.
    """

    title: str
    image: NDArray[np.uint8]
    right: Detections
    wrong: Detections
    missed: Detections


class WorstImages:
    """Keeps the images with the most errors; of equally many the one with fewer right detections."""

    def __init__(self, limit: int = GRID_IMAGES) -> None:
        self._limit = limit
        self._heap: list[tuple[int, int, int, JudgedImage]] = []
        self._numbers = itertools.count()

    def add(self, right: int, wrong: int, missed: int, make: Callable[[], JudgedImage]) -> None:
        """Offer an image by its counts; `make` is called only when it is among the worst so far."""
        key = (wrong + missed, -right, -next(self._numbers))  # an earlier image goes before a later equal one
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, (*key, make()))
        elif key > self._heap[0][:3]:
            heapq.heapreplace(self._heap, (*key, make()))

    def __len__(self) -> int:
        return len(self._heap)

    def images(self) -> list[JudgedImage]:
        """The images, worst first."""
        return [entry[-1] for entry in sorted(self._heap, key=lambda entry: entry[:3], reverse=True)]


def plot_errors(
    images: Sequence[JudgedImage], class_names: Sequence[str], path: str | Path, *, thresholds: str
) -> Path:
    """Plot images into one JPEG below 1 MB: found (TP), false (FP) and missed (FN) objects, with a legend.

    `thresholds` says at which settings they were judged: 'confidence 0.25 and IoU 0.45'. Raises `DataError`
    for no images or a path that cannot be written.
    """
    if not images:
        raise DataError("error grid: got no images, expected at least one.")
    page = tiled([_picture(image, class_names) for image in images])
    legend = _legend(page.shape[1], f"at {thresholds}; most errors first")
    return write_image(np.concatenate((legend, page)), path, max_bytes=MAX_BYTES)


def _picture(judged: JudgedImage, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Errors lie on top of what is right."""
    boxes, texts, colours, counts = [], [], [], []
    for tag, found in (("FN", judged.missed), ("FP", judged.wrong), ("TP", judged.right)):
        boxes.append(found.boxes)
        for label, score in zip(found.classes.tolist(), found.scores.tolist(), strict=True):
            name = shown_name(class_names, label)
            texts.append(f"{tag} {name}" if tag == "FN" else f"{tag} {name} {score:.2f}")
        colours += [COLOURS[tag]] * len(found)
        counts.append(f"{len(found)} {tag}")
    scale = GRID_CELL / max(judged.image.shape[:2])
    picture = draw_labelled(judged.image, scale, np.concatenate(boxes), texts, colours)
    return titled(picture, f"{judged.title}: {', '.join(reversed(counts))}")


def _legend(width: int, note: str) -> NDArray[np.uint8]:
    strip = np.full((TITLE_HEIGHT, width, 3), 255, np.uint8)
    x = 8
    for tag, colour in COLOURS.items():
        text = f"{tag} {MEANINGS[tag]}"
        strip[6:20, x : x + 14] = colour
        put_text(strip, text, (x + 20, 18), 0.5, (0, 0, 0))
        x += 36 + text_size(text, 0.5)[0]
    put_text(strip, note, (x, 18), 0.5, (0, 0, 0))
    return strip
