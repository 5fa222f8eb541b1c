"""One scan of a YOLO dataset, ours or Ultralytics', as `yolofast.bench.data_stages` measures it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from .serve import Answer, Requests, versions


def yolofast(root: Path) -> tuple[float, list[str], list[Any]]:
    from yolofast.formats.data_yaml import read_data_yaml
    from yolofast.formats.yolo.split import read_split
    from yolofast.load.index import PackedIndex

    started = time.perf_counter()
    data = read_data_yaml(root / "data.yaml")
    indices = [PackedIndex.of_chunks(read_split(data, split)) for split in ("train", "valid")]
    seconds = time.perf_counter() - started
    return seconds, [p for i in indices for p in i.paths], [rows for i in indices for rows in i.labels]


def ultralytics(root: Path) -> tuple[float, list[str], list[Any]]:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset

    for cache in (root / "labels").glob("*.cache"):
        cache.unlink()
    started = time.perf_counter()
    data = check_det_dataset(str(root / "data.yaml"))
    sets = [
        YOLODataset(img_path=data[key], data=data, task="detect", augment=False) for key in ("train", "val")
    ]
    seconds = time.perf_counter() - started
    labels = [label for each in sets for label in each.labels]
    rows = [np.hstack([label["cls"], label["bboxes"]]) for label in labels]
    return seconds, [label["im_file"] for label in labels], rows


SCANS = {"yolofast": yolofast, "ultralytics": ultralytics}


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Scan before the first answer, which has seconds, images and boxes; nothing is served.

    The job: `participant`, a key of `SCANS`; `root`, the dataset's folder; `out`, a file (npz) for the labels
    of all images, sorted by path.
    """
    seconds, paths, labels = SCANS[job["participant"]](Path(job["root"]))
    order = sorted(range(len(paths)), key=paths.__getitem__)
    counts = [len(labels[i]) for i in order]
    rows = np.concatenate([labels[i] for i in order]).astype(np.float32)
    np.savez(job["out"], paths=np.array([Path(paths[i]).name for i in order]), counts=counts, rows=rows)
    hello = {"seconds": seconds, "images": len(paths), "boxes": len(rows)}
    return hello | {"versions": versions((job["participant"],))}, {}
