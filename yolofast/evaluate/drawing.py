"""Boxes drawn on images with OpenCV, each label where it covers no other label."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import DataError
from yolofast.files import atomic_file
from yolofast.printable import drawable
from yolofast.types import Detections

Colour = tuple[int, int, int]
Area = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels."""

READABLE_SIDE = 640
"""Smaller images are enlarged to about this long side, so that labels have room."""
MAX_NAME_LENGTH = 60
"""Characters of a class name on a label."""
JPEG_QUALITIES = (90, 80, 65, 50, 35, 20)


def plot_detections(
    image: NDArray[np.uint8], detections: Detections, class_names: Sequence[str], path: str | Path
) -> Path:
    """Write `image` uint8 [H, W, 3] RGB with its boxes, class names and scores to `path`.

    The suffix of `path` selects the format (.png, .jpg, .jpeg, .webp or .bmp). An image with a long side
    below 640 is enlarged. Raises `DataError` for another suffix or a path that cannot be written.
    """
    return write_image(draw_boxes(image, readable_scale(image), detections, class_names), path)


def readable_scale(image: NDArray[np.uint8]) -> float:
    """How much to enlarge a small image so that its labels have room; 1 for others."""
    height, width = image.shape[:2]
    return max(1.0, READABLE_SIDE / max(int(height), int(width)))


def write_image(picture: NDArray[np.uint8], path: str | Path, *, max_bytes: int | None = None) -> Path:
    """Write `picture` uint8 [H, W, 3] RGB to `path`, atomically; its suffix selects the format.

    With `max_bytes` a JPEG gets the best quality of 90 to 20 at which it is no larger. Raises `DataError` for
    another suffix or a path that cannot be written.
    """
    import cv2

    path, bgr = Path(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    qualities = [[cv2.IMWRITE_JPEG_QUALITY, quality] for quality in JPEG_QUALITIES]
    for options in qualities if max_bytes is not None else [[]]:
        try:
            done, data = cv2.imencode(path.suffix, bgr, options)
        except cv2.error:
            done = False
        if not done:
            raise DataError(f"{path}: got suffix '{path.suffix}', expected .png, .jpg, .jpeg, .webp or .bmp")
        if max_bytes is None or len(data) <= max_bytes:
            break
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path


def draw_boxes(
    image: NDArray[np.uint8],
    scale: float,
    found: Detections,
    class_names: Sequence[str],
    *,
    with_labels: bool = True,
    with_scores: bool = True,
    line_width: int | None = None,
) -> NDArray[np.uint8]:
    """`image` uint8 [H, W, 3] RGB enlarged by `scale`, with the boxes of `found` (xyxy in its pixels).

    Each box has, if `with_labels`, a label in the colour of its class: the class name and, if `with_scores`,
    the score. `line_width` in pixels; None = a 400th of the longer side, at least 2.
    """
    names = [shown_name(class_names, index) for index in found.classes.tolist()]
    scores = found.scores.tolist()
    texts = [f"{n} {s:.2f}" if with_scores else n for n, s in zip(names, scores, strict=True)]
    colours = [_class_colour(c) for c in found.classes.tolist()]
    shown = texts if with_labels else None
    return draw_labelled(image, scale, found.boxes, shown, colours, line_width=line_width)


def draw_labelled(
    image: NDArray[np.uint8],
    scale: float,
    boxes: NDArray[np.float32],
    texts: Sequence[str] | None,
    colours: Sequence[Colour],
    *,
    line_width: int | None = None,
) -> NDArray[np.uint8]:
    """`image` uint8 [H, W, 3] RGB enlarged by `scale`, with `boxes` [N, 4] (xyxy in its pixels).

    Each box has its text on a label of its colour (none if `texts` is None); the first boxes are on top.
    """
    import cv2

    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    picture: NDArray[np.uint8] = np.ascontiguousarray(cv2.resize(image, (width, height)))
    font, thickness = (
        max(0.4, max(height, width) / 1600),
        line_width or max(2, round(max(height, width) / 400)),
    )
    corners = np.rint(boxes.astype(np.float64) * scale).astype(int).tolist()
    for (x1, y1, x2, y2), colour in zip(reversed(corners), reversed(colours), strict=True):
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), colour, thickness, cv2.LINE_AA)
    if texts is None:
        return picture
    taken: list[Area] = []
    for (x1, y1, x2, y2), colour, text in zip(corners, colours, texts, strict=True):
        text_width, text_height = text_size(text, font)
        area = _label_area((x1, y1, x2, y2), (text_width + 4, text_height + 6), (width, height), taken)
        taken.append(area)
        cv2.rectangle(picture, area[:2], (area[2] - 1, area[3] - 1), colour, -1)
        bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        put_text(picture, text, (area[0] + 2, area[3] - 4), font, (0, 0, 0) if bright else (255, 255, 255))
    return picture


def put_text(
    picture: NDArray[np.uint8], text: str, origin: tuple[int, int], font: float, colour: Colour
) -> None:
    """Write `text` on `picture`, its bottom left at `origin`, as `drawable` makes it."""
    import cv2

    cv2.putText(picture, drawable(text), origin, cv2.FONT_HERSHEY_SIMPLEX, font, colour, 1, cv2.LINE_AA)


def text_size(text: str, font: float) -> tuple[int, int]:
    """(width, height) in pixels of `text` as `put_text` writes it."""
    import cv2

    (width, height), _ = cv2.getTextSize(drawable(text), cv2.FONT_HERSHEY_SIMPLEX, font, 1)
    return width, height


def _label_area(box: Area, label: tuple[int, int], picture: tuple[int, int], taken: Sequence[Area]) -> Area:
    """The area for a label: the first candidate around `box` that covers no other label, else the one that
    covers the least. `label` and `picture` are (width, height)."""
    x1, y1, x2, y2 = box
    width, height = label
    candidates = (
        (x1, y1 - height),
        (x1, y2),
        (x2 - width, y1 - height),
        (x2 - width, y2),
        (x1, y1),
        (x1, y2 - height),
        (x2 - width, y1),
        (x2 - width, y2 - height),
        (x1, (y1 + y2 - height) // 2),
    )
    corners = [
        (max(0, min(x, picture[0] - width)), max(0, min(y, picture[1] - height))) for x, y in candidates
    ]
    areas = [(x, y, x + width, y + height) for x, y in corners]
    return min(areas, key=lambda area: sum(_overlap(area, other) for other in taken))


def _overlap(a: Area, b: Area) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def shown_name(class_names: Sequence[str], index: int) -> str:
    """The class name, or the class number when OpenCV's ASCII fonts could show none of it."""
    name = class_names[index] if index < len(class_names) else ""
    name = drawable(name, MAX_NAME_LENGTH)
    return name if any(c.isascii() and c.isalnum() for c in name) else f"class {index}"


def _class_colour(index: int) -> Colour:
    """Hues a golden ratio apart: the first classes are well separated, and a class keeps its colour."""
    r, g, b = colorsys.hsv_to_rgb(index * 0.6180339887 % 1.0, 0.95, 1.0 if index % 2 == 0 else 0.8)
    return round(255 * r), round(255 * g), round(255 * b)
