"""The fuzz targets that take any bytes, built with sanitizers: no crash, and what plain loops find."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.fuzz_programs import feed, fuzz_programs

pytestmark = pytest.mark.deep

TARGETS = ("fuzz_coco", "fuzz_headers", "fuzz_nms")


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


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes(target: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    inputs = [b"", b"\x00", bytes(4000), b"\xf0" * 4000, *coco_files(rng), *image_files(rng)]
    for _ in range(300):
        size = int(rng.choice([30, 300, 3000, 6000]))
        inputs.append(rng.integers(0, rng.choice([60, 130, 256]), size, dtype=np.uint8).tobytes())
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i, data in enumerate(inputs):
        (folder / f"{i:04}").write_bytes(data)
    assert feed(fuzz_programs(target)[target], folder)[0] == len(inputs)
