"""Small files that fuzz targets begin with; `python -m support.fuzz_seeds FOLDER` writes them (`make fuzz`).

What lies behind the end of a picture are choices of the targets: scale, orientation, salvage, region.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from support.jpeg_bombs import small_bombs
from support.jpeg_files import coded_file, drawn_file, encoded, first_scans


def jpeg_files() -> list[bytes]:
    """Small JPEGs of every kind, all of them whole but for scans that one lacks."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (9, 13, 3), dtype=np.uint8), (83, 61))
    files = [
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factors])[1].tobytes()
        for factors in (0x111111, 0x211111, 0x221111, 0x121111, 0x411111)
    ]
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("L", {}),
        ("CMYK", {}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"progressive": True, "exif": exif}),
        ("RGB", {"restart_marker_blocks": 3, "exif": exif}),
    ]
    for mode, options in kinds:
        buffer = io.BytesIO()
        image.convert(mode).save(buffer, "JPEG", **options)
        files.append(buffer.getvalue())
    files.append(first_scans(encoded(quality=90, progressive=True).join(), 4))
    return [*files, *(coded_file(seed) for seed in range(3))]


def coco_files(rng: np.random.Generator) -> list[bytes]:
    """Ground truth and results, whole, cut and with a changed byte."""
    entry = {"image_id": 1, "category_id": 2, "bbox": [1, 2.5, 1e1, 3], "score": 0.25, "x": [{"y": "}, {"}]}
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 2, "name": "ö\n"}],
        "annotations": [{"id": 3, **entry}],
    }
    files = []
    for text in (json.dumps(truth), json.dumps([entry] * 3), json.dumps([entry, entry], indent=1)):
        data = text.encode()
        files += [data, data + bytes(200), *(data[:cut] for cut in range(0, len(data), 7))]
        for at in rng.integers(0, len(data), 60).tolist():
            files.append(data[:at] + bytes([rng.integers(256)]) + data[at + 1 :])
    return files


def image_files(rng: np.random.Generator) -> list[bytes]:
    """Small images of each format, whole, cut and with a changed byte."""
    files = []
    kinds = [("jpeg", {}), ("png", {}), ("bmp", {}), ("webp", {}), ("webp", {"lossless": True}), ("tiff", {})]
    for kind, options in [*kinds, ("tiff", {"big_tiff": True})]:
        buffer = io.BytesIO()
        Image.new("RGB", (9, 7), (1, 2, 3)).save(buffer, kind, **options)
        data = buffer.getvalue()
        files += [
            data,
            data + bytes(200),
            data + rng.bytes(8),
            *(data[:cut] for cut in range(0, len(data), 29)),
        ]
        for at in rng.integers(0, min(len(data), 200), 60).tolist():
            files.append(data[:at] + bytes([rng.integers(256)]) + data[at + 1 :])
    return files


def main(folder: Path) -> None:
    """Write all of them, and more JPEGs, each with a few choices."""
    rng = np.random.default_rng(0)
    jpegs = [*jpeg_files(), *small_bombs(), *map(drawn_file, range(80)), *map(coded_file, range(40))]
    folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(
        [*(data + rng.bytes(24) for data in jpegs), *coco_files(rng), *image_files(rng)]
    ):
        (folder / f"{i:04}").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
