"""One scan of a YOLO dataset, ours or Ultralytics', in a process of its own: prints one JSON object.

Run by run_data.py, ours in this interpreter, Ultralytics' in the peers' environment. The arguments: which
side, the dataset's folder, and a file that gets the labels of all images, sorted by path, as numpy arrays.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def ours(root: Path) -> tuple[float, list[str], list[Any]]:
    from yolofast.formats.yolo.data_yaml import read_data_yaml
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


def main() -> None:
    which, root, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    seconds, paths, labels = {"yolofast": ours, "ultralytics": ultralytics}[which](root)
    order = sorted(range(len(paths)), key=paths.__getitem__)
    counts = [len(labels[i]) for i in order]
    rows = np.concatenate([labels[i] for i in order]).astype(np.float32)
    np.savez(out, paths=np.array([Path(paths[i]).name for i in order]), counts=counts, rows=rows)
    print(json.dumps({"seconds": seconds, "images": len(paths), "boxes": len(rows)}))


if __name__ == "__main__":
    main()
