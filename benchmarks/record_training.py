"""Writes results/train_NAME.json from the folder of a training run: its curve, settings and time."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from folders import RESULTS

from yolofast.bench.figures import write_result
from yolofast.config import YOLOConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the run, such as runs/bccd")
    parser.add_argument("name", help="NAME of the result, such as bccd")
    options = parser.parse_args()
    folder, name = options.folder, options.name
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
