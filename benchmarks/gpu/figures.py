"""The figures of the device operators, the JPEG decode and the training, written as JSON to a file.

    PYTHONPATH=.:benchmarks python -m gpu.figures figures.json [--data DATASET] [--only NAME ...] [--dry-run]

Run by run_gpu.py. DATASET is a folder that `yolofast prepare` accepts; omitted means the generated sample
dataset. --dry-run runs everything on the CPU with small inputs; those figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from folders import REPOSITORY

import yolofast.kernels.torch_ops  # noqa: F401  (registers)
from gpu import files as gpu_files
from gpu import postprocess as gpu_postprocess
from gpu import render as gpu_render
from gpu import train as gpu_train
from gpu.device_times import copy_bytes_per_s
from yolofast.bench.figures import spread
from yolofast.bench.loaders.dataset import copy_for_bench
from yolofast.prepare import prepare_dataset
from yolofast.sample import make_sample_dataset

FILES = 256
ULTRALYTICS_EPOCHS = 3


def prepared(data: Path | None, folder: Path) -> Path:
    """The data.yaml of the dataset, prepared in `folder`."""
    source = data if data is not None else make_sample_dataset(folder / "raw", count=64)
    return prepare_dataset(source, folder / "prepared").data_yaml


def stand_in_for_nvjpeg() -> str:
    """The library that the tests use in place of nvJPEG."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from support.nvjpeg_library import build_double

    return str(build_double())


def ultralytics(data_yaml: Path, *, size: str, imgsz: int, batch: int, steps: int) -> dict[str, Any]:
    """Images per second of Ultralytics' own training on the same files, in a process of its own.

    With its defaults, except that it does not validate, plot or save, which would make the work differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_for_bench(data_yaml, "train", Path(folder, "copy"), batch * steps)
        document = copied.data_yaml.read_text(encoding="utf-8")
        copied.data_yaml.write_text(document + "\nval: images\n", encoding="utf-8")
        code = (
            "import json, time, ultralytics\n"
            f"model = ultralytics.YOLO('yolov8{size}.yaml')\n"
            "marks = []\n"
            "model.add_callback('on_train_epoch_start', lambda t: marks.append(time.perf_counter()))\n"
            "model.add_callback('on_train_epoch_end', lambda t: marks.append(time.perf_counter()))\n"
            f"model.train(data={str(copied.data_yaml)!r}, epochs={ULTRALYTICS_EPOCHS}, imgsz={imgsz}, "
            f"batch={batch}, val=False, plots=False, save=False, workers=16, project={folder!r})\n"
            "print('RATES', json.dumps([ultralytics.__version__, *marks]))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
        lines = [line for line in done.stdout.splitlines() if line.startswith("RATES ")]
        if not lines:
            return {"not run": (done.stderr or done.stdout).strip().splitlines()[-1:]}
        version, *marks = json.loads(lines[0].removeprefix("RATES "))
        rates = [copied.files / (b - a) for a, b in zip(marks[2::2], marks[3::2], strict=False)]
        return {"version": version, "images_per_s": spread(rates)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    dry: bool = options.dry_run
    device = torch.device("cpu" if dry else "cuda")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @cache
        def data_yaml() -> Path:
            return prepared(options.data, folder)

        bytes_per_s = copy_bytes_per_s(device)
        figures["copy_gb_per_s"] = round(bytes_per_s / 1e9, 1)

        def files() -> Any:
            copied = copy_for_bench(data_yaml(), "train", folder / "files", 8 if dry else FILES)
            jpegs = sorted(copied.folder.glob("images/*.jpg"))[: 8 if dry else FILES]
            library = stand_in_for_nvjpeg() if dry else None
            return gpu_files.run(jpegs, device, size=64 if dry else 640, library=library)

        shape = {"images": 2, "anchors": 300} if dry else {"images": 32, "anchors": 8400}
        work = {
            "size": "n",
            "imgsz": 64 if dry else 640,
            "batch": 4 if dry else 64,
            "steps": 4 if dry else 60,
        }
        parts: dict[str, Callable[[], Any]] = {
            "postprocess": lambda: gpu_postprocess.run(torch.ops.yolofast, device, bytes_per_s, **shape),
            "render": lambda: gpu_render.run(
                device, bytes_per_s, samples=4 if dry else 64, size=64 if dry else 640
            ),
            "files": files,
            "train": lambda: gpu_train.run(data_yaml(), device, **work, rounds=1 if dry else 5),
            "ultralytics": lambda: {} if dry else ultralytics(data_yaml(), **work),
        }
        for part, measure in parts.items():
            if options.only and part not in options.only:
                continue
            try:
                figures[part] = measure()
            except Exception as error:  # the other parts still run
                figures[part] = {"failed": f"{type(error).__name__}: {error}"}
            print(part, json.dumps(figures[part]), flush=True)
            options.target.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
