"""Writes results/train_NAME.json from the folder of a training run: its curve, settings and time.

python benchmarks/record_training.py runs/bccd bccd
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from folders import RESULTS

from yolofast.bench.figures import write_result
from yolofast.config import YOLOConfig


def main() -> None:
    folder, name = Path(sys.argv[1]), sys.argv[2]
    config = YOLOConfig.from_yaml(folder / "config.yaml")
    with (folder / "results.csv").open(newline="") as file:
        rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    best = max(rows, key=lambda row: row["map50_95"])
    entry = {
        "data": Path(config.dataset.data or "").parent.name,
        "settings": {s: v for s, v in config.to_dict().items() if s in ("model", "training", "augment")},
        "imgsz": config.dataset.imgsz,
        "best": best,
        "seconds": round(sum(row["epoch_s"] for row in rows), 1),
        "curve": rows,
    }
    print(write_result(RESULTS / f"train_{name}.json", {name: entry}, ("torch", "numpy", "yolofast")))


if __name__ == "__main__":
    main()
