"""Makes a dataset of COCO's size from nothing: 118,000 tiny JPEGs (hard links), 860,000 boxes, 80 classes.

The same boxes as YOLO label files with a data.yaml, and as one COCO json. What is measured on it is the
bookkeeping of a large dataset: finding, opening and reading files, parsing, checking and writing labels.
"""

from __future__ import annotations

import argparse
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
SIZES = ((640, 480), (480, 640), (640, 427), (500, 375))
PICTURES = 512
"""Different files; every image is a hard link to one of them."""


def _pictures(folder: Path, rng: np.random.Generator) -> list[tuple[Path, int, int]]:
    """Small files whose headers state usual sizes: a smooth picture compresses to a few kB."""
    folder.mkdir(parents=True)
    made = []
    for i in range(PICTURES):
        width, height = SIZES[i % len(SIZES)]
        small = rng.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        _, data = cv2.imencode(".jpg", cv2.resize(small, (width, height)), [cv2.IMWRITE_JPEG_QUALITY, 30])
        path = folder / f"{i}.jpg"
        path.write_bytes(data.tobytes())
        made.append((path, width, height))
    return made


def make(root: Path, images: int = IMAGES, boxes: int = BOXES) -> Path:
    """Make the dataset below `root` unless it is there: `yolo/` and `coco/`. Returns `root`."""
    if (root / "done").exists():
        return root
    rng = np.random.default_rng(0)
    pictures = _pictures(root / "pictures", rng)
    counts = rng.multinomial(boxes, rng.dirichlet(np.full(images, 1.2)))
    entries, annotations = [], io.StringIO()
    for split, first, last in (
        ("train2017", 0, images - images // 24),
        ("val2017", images - images // 24, images),
    ):
        for kind in ("images", "labels"):
            (root / "yolo" / kind / split).mkdir(parents=True)
        (root / "coco" / split).mkdir(parents=True)
        for i in tqdm(range(first, last), split, disable=None):
            picture, width, height = pictures[i % PICTURES]
            name = f"{i:012d}"
            os.link(picture, root / "yolo" / "images" / split / f"{name}.jpg")
            os.link(picture, root / "coco" / split / f"{name}.jpg")
            number = int(counts[i])
            side = rng.uniform(0.01, 0.6, (number, 2)).round(6)
            centre = (side / 2 + rng.random((number, 2)) * (1 - side)).round(6)
            label = rng.integers(0, CLASSES, number)
            rows = [
                f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
                for c, (x, y), (w, h) in zip(label.tolist(), centre.tolist(), side.tolist())
            ]
            (root / "yolo" / "labels" / split / f"{name}.txt").write_text("".join(rows))
            entries.append({"id": i, "file_name": f"{name}.jpg", "width": width, "height": height})
            for c, (x, y), (w, h) in zip(label.tolist(), centre.tolist(), side.tolist()):
                box = [
                    round((x - w / 2) * width, 2),
                    round((y - h / 2) * height, 2),
                    round(w * width, 2),
                    round(h * height, 2),
                ]
                row = {
                    "id": annotations.tell(),
                    "image_id": i,
                    "category_id": c + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "segmentation": [[*box, *box]],
                }
                annotations.write(("," if annotations.tell() else "") + json.dumps(row))
        categories = [{"id": c + 1, "name": f"class {c}"} for c in range(CLASSES)]
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        with (root / "coco" / "annotations" / f"instances_{split}.json").open("w") as file:
            file.write('{"images": ' + json.dumps(entries) + ', "annotations": [' + annotations.getvalue())
            file.write('], "categories": ' + json.dumps(categories) + "}")
        entries, annotations = [], io.StringIO()
    names = "".join(f"  {c}: class {c}\n" for c in range(CLASSES))
    (root / "yolo" / "data.yaml").write_text(
        f"path: \ntrain: images/train2017\nval: images/val2017\nnames:\n{names}"
    )
    (root / "done").touch()
    return root


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--boxes", type=int, default=BOXES)
    options = parser.parse_args()
    print(make(options.root, options.images, options.boxes))
