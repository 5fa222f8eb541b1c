"""Generates a dataset of COCO's size: 118,000 tiny JPEGs (hard links), 860,000 boxes, 80 classes.

The same boxes as YOLO label files with a data.yaml, and as COCO json with polygons as long as COCO's. It
measures the bookkeeping of a large dataset: finding, opening and reading files, parsing, checking and writing
labels.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
SIZES = ((640, 480), (480, 640), (640, 427), (500, 375))
FILES = 512
"""Different image files; every image is a hard link to one of them."""
POLYGON_POINTS = 24


def _image_files(folder: Path, rng: np.random.Generator) -> list[tuple[Path, int, int]]:
    """Small files with the usual image sizes: a smooth image compresses to a few kB."""
    folder.mkdir(parents=True)
    made = []
    for i in range(FILES):
        width, height = SIZES[i % len(SIZES)]
        corners = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        _, data = cv2.imencode(".jpg", cv2.resize(corners, (width, height)), [cv2.IMWRITE_JPEG_QUALITY, 30])
        path = folder / f"{i}.jpg"
        path.write_bytes(data.tobytes())
        made.append((path, width, height))
    return made


def _annotation(number: int, image: int, label: int, box: list[float]) -> dict[str, Any]:
    x, y, width, height = box
    corners = (x, y, x + width, y, x + width, y + height, x, y + height)
    polygon = [round(value * 1.01, 2) for value in corners * (POLYGON_POINTS // 4)]
    return {
        "segmentation": [polygon],
        "area": round(width * height, 4),
        "iscrowd": 0,
        "image_id": image,
        "bbox": box,
        "category_id": label + 1,
        "id": number,
    }


def _label_text(labels: list[int], rows: NDArray[np.float64]) -> str:
    lines = zip(labels, rows.tolist(), strict=True)
    return "".join(f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for c, (x, y, w, h) in lines)


def _write_split(root: Path, split: str, first: int, counts: list[int], rng: np.random.Generator) -> None:
    files = _image_files(root / "pictures" / split, rng)
    for folder in (f"yolo/images/{split}", f"yolo/labels/{split}", f"coco/{split}", "coco/annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    images = []
    written = 0
    with (root / "coco" / "annotations" / f"instances_{split}.json").open("w") as file:
        file.write('{"annotations": [')
        for i, count in enumerate(tqdm(counts, split, disable=None), first):
            path, width, height = files[i % FILES]
            name = f"{i:012d}"
            os.link(path, root / "yolo" / "images" / split / f"{name}.jpg")
            os.link(path, root / "coco" / split / f"{name}.jpg")
            size = rng.uniform(0.01, 0.6, (count, 2)).round(6)
            centre = (size / 2 + rng.random((count, 2)) * (1 - size)).round(6)
            labels = rng.integers(0, CLASSES, count).tolist()
            text = _label_text(labels, np.hstack([centre, size]))
            (root / "yolo" / "labels" / split / f"{name}.txt").write_text(text)
            images.append({"id": i, "file_name": f"{name}.jpg", "width": width, "height": height})
            boxes = (np.hstack([centre - size / 2, size]) * [width, height, width, height]).round(2).tolist()
            for label, box in zip(labels, boxes, strict=True):
                written += 1
                file.write(", " * (written > 1) + json.dumps(_annotation(written, i, label, box)))
        categories = [{"id": c + 1, "name": f"class {c}"} for c in range(CLASSES)]
        file.write(f'], "images": {json.dumps(images)}, "categories": {json.dumps(categories)}}}')


def make(root: Path, images: int = IMAGES, boxes: int = BOXES) -> Path:
    """Generate `yolo/` and `coco/` in `root` unless that was done before. Returns `root`."""
    if (root / "done").exists():
        return root
    rng = np.random.default_rng(0)
    counts = rng.multinomial(boxes, rng.dirichlet(np.full(images, 1.2))).tolist()
    train = images - images // 24
    _write_split(root, "train2017", 0, counts[:train], rng)
    _write_split(root, "val2017", train, counts[train:], rng)
    names = "".join(f"  {c}: class {c}\n" for c in range(CLASSES))
    text = f"path:\ntrain: images/train2017\nval: images/val2017\nnames:\n{names}"
    (root / "yolo" / "data.yaml").write_text(text)
    (root / "done").touch()
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--boxes", type=int, default=BOXES)
    options = parser.parse_args()
    print(make(options.root, options.images, options.boxes))
