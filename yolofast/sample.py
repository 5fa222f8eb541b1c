"""The built-in sample dataset: generated, not stored; the same seed gives the same dataset.

Coloured shapes on textured backgrounds that overlap, occlude one another and are sometimes tiny. It has the
form of typical raw data: a flat folder of 4:2:0 JPEGs of several sizes with one COCO JSON, without splits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.work_folder import atomic_folder, only_writer

CLASSES = ("circle", "square", "triangle", "star", "ring")
SIZES = ((240, 320), (320, 240), (300, 400), (360, 360), (360, 480), (256, 448))
JPEG_QUALITY = 90
ANNOTATIONS = "annotations.json"
MIN_VISIBLE = 0.4
TINY_SHARE = 0.08

Points = NDArray[np.float64]
Object = tuple[int, tuple[int, int, int, int]]
"""Class, and x0, y0, x1, y1 in pixels."""


def _regular(corners: int, radii: tuple[float, ...] = (1.0,)) -> Points:
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    radius = np.resize(np.array(radii), corners)
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


_OUTLINES: dict[str, Callable[[], Points]] = {
    "circle": lambda: _regular(48),
    "square": lambda: _regular(4) @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2),
    "triangle": lambda: _regular(3),
    "star": lambda: _regular(10, (1.0, 0.42)),
    "ring": lambda: _regular(48),
}


def _background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Muted colour, soft blotches, and fine grain."""
    import cv2

    base = rng.uniform(60, 190, size=3)
    image = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    for cells, strength in ((4, 28.0), (12, 16.0), (40, 8.0)):
        blotches = rng.normal(0, strength, size=(cells, cells, 3)).astype(np.float32)
        blotches = 0.7 * blotches.mean(axis=2, keepdims=True) + 0.3 * blotches
        image = image + cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    image += rng.normal(0, 5, size=(height, width, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """A saturated colour, RGB."""
    import cv2

    hsv = np.array([[[rng.integers(0, 180), rng.integers(150, 256), rng.integers(140, 256)]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def _draw_scene(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.uint8], list[Object]]:
    """An image and its objects: (class, (x0, y0, x1, y1)) of those at least 40 % visible."""
    import cv2

    image = _background(rng, height, width)
    owner = np.zeros((height, width), dtype=np.int32)
    drawn: list[tuple[int, NDArray[np.uint8]]] = []
    for number in range(1, int(rng.integers(2, 9)) + 1):
        kind = int(rng.integers(len(CLASSES)))
        short = min(height, width)
        tiny = rng.random() < TINY_SHARE
        radius = short * (rng.uniform(0.02, 0.035) if tiny else rng.uniform(0.06, 0.2))
        centre = rng.uniform(0.05, 0.95, size=2) * (width, height)
        turn = rng.uniform(-0.4, 0.4)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        stretch = np.array([1.0, rng.uniform(0.8, 1.25)])
        outline = (_OUTLINES[CLASSES[kind]]() * stretch) @ rotation.T * radius + centre
        mask = np.zeros((height, width), dtype=np.uint8)
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
        if CLASSES[kind] == "ring":
            hole = (outline - centre) * 0.55 + centre
            cv2.fillPoly(mask, [np.round(hole).astype(np.int32)], 0)
        if not mask.any():
            continue
        inside = mask.astype(bool)
        shade = np.linspace(1.1, 0.8, height, dtype=np.float32)[:, None, None]
        painted = np.clip(np.array(_colour(rng), dtype=np.float32) * shade, 0, 255)
        image[inside] = np.broadcast_to(painted, image.shape)[inside].astype(np.uint8)
        owner[inside] = number
        drawn.append((kind, mask))
    objects: list[Object] = []
    for number, (kind, mask) in enumerate(drawn, start=1):
        visible = owner == number
        if visible.sum() < MIN_VISIBLE * mask.sum():
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        objects.append((kind, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)))
    return cv2.GaussianBlur(image, (3, 3), 0.6).astype(np.uint8, copy=False), objects


def make_sample_dataset(directory: str | Path, count: int = 300, seed: int = 0) -> Path:
    """Write the sample dataset into `directory` (created if missing) and return it.

    `directory/shape_0000.jpg ...` and `directory/annotations.json` (COCO instances). A folder that already
    contains this dataset is left unchanged; one with any other content raises `DataError`, so that no files
    of a user are overwritten.
    """
    directory = Path(directory)
    info = {"description": f"yolofast sample shapes, seed {seed}, {count} images"}
    if not _is_made(directory, info):
        with only_writer(directory) as waited:
            if waited and _is_made(directory, info):
                return directory
            with atomic_folder(directory) as finished:
                finished.mkdir()
                _write(finished, count, seed, info)
    return directory


def _is_made(directory: Path, info: dict[str, str]) -> bool:
    """Whether `directory` is that dataset; raises `DataError` when it has any other content."""
    annotations = directory / ANNOTATIONS
    if annotations.exists() and _info(annotations) == info:
        return True
    if directory.exists() and any(directory.iterdir()):
        raise DataError(f"{directory}: not empty and not the sample dataset. Choose another folder.")
    return False


def _info(annotations: Path) -> object:
    """The `info` of a COCO JSON; None when it has none."""
    try:
        document = json.loads(annotations.read_bytes())
    except ValueError:
        return None
    return document.get("info") if isinstance(document, dict) else None


def _write(directory: Path, count: int, seed: int, info: dict[str, str]) -> None:
    import cv2

    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    jpeg = [
        *(cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
    ]
    for number in tqdm(range(count), desc="generating", unit="image", leave=False, mininterval=1.0):
        rng = np.random.default_rng([seed, number])
        height, width = SIZES[int(rng.integers(len(SIZES)))]
        image, objects = _draw_scene(rng, height, width)
        encoded = cv2.imencode(".jpg", image[..., ::-1], jpeg)[1]
        name = f"shape_{number:04d}.jpg"
        (directory / name).write_bytes(encoded.tobytes())
        images.append({"id": number + 1, "file_name": name, "height": height, "width": width})
        for kind, (x0, y0, x1, y1) in objects:
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number + 1,
                    "category_id": kind + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    document = {"info": info, "images": images, "annotations": boxes, "categories": categories}
    (directory / ANNOTATIONS).write_text(json.dumps(document), encoding="utf-8")
