"""`import yolofast.kernels` stays quick and light: nothing heavy comes in before it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import yolofast
from yolofast import kernels

HEAVY = ("torch", "cv2", "numba", "matplotlib", "scipy")


def run(code: str) -> str:
    """What `code` prints in a fresh interpreter that finds the same yolofast."""
    home = str(Path(yolofast.__file__).resolve().parent.parent)
    paths = [home, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_takes_less_than_300_ms() -> None:
    code = "import time; t = time.perf_counter(); import yolofast.kernels; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.3


@pytest.mark.parametrize(
    "use", ["", "k.decode_jpeg", "k.letterbox; k.warp_affine", "k.nms; k.box_iou", "k.transform_boxes"]
)
def test_nothing_heavy_is_imported(use: str) -> None:
    code = f"import json, sys\nimport yolofast.kernels as k\n{use}\nprint(json.dumps(list(sys.modules)))"
    assert not set(json.loads(run(code))) & set(HEAVY)


def test_loading_needs_no_numba(sample_yolo: Path) -> None:
    """Batches come where Numba cannot be imported: it is for users' own transforms."""
    code = f"""
import sys
sys.modules["numba"] = None
from yolofast.load import AugmentConfig, Loader, YOLODataset
dataset = YOLODataset({str(sample_yolo)!r}, "train", imgsz=64, augment=AugmentConfig())
print(sum(len(batch) for batch in Loader(dataset, 4, threads=1)), len(dataset))
"""
    seen, wanted = run(code).split()
    assert int(seen) == int(wanted) > 0


@pytest.mark.parametrize("name", kernels.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(kernels)
    assert getattr(kernels, name).__doc__


def test_unknown_names_raise_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'decode_jpg'"):
        kernels.decode_jpg  # noqa: B018
