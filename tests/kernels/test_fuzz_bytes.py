"""The fuzz targets that take any bytes, built with sanitizers: no crash, and what plain loops find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fuzz_programs import feed, fuzz_programs
from support.fuzz_seeds import coco_files, image_files

pytestmark = pytest.mark.deep

TARGETS = ("fuzz_coco", "fuzz_headers", "fuzz_nms")


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
