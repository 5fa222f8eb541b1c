"""Plots a row of samples with their boxes for every augmentation, for inspection by eye."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from yolofast.config import AugmentConfig
from yolofast.load import YOLODataset
from yolofast.types import Sample

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

SAMPLES = 7
ROWS: dict[str, dict[str, float]] = {
    "letterbox": {},
    "hsv_h = 0.1": {"hsv_h": 0.1},
    "hsv_s = 0.7": {"hsv_s": 0.7},
    "hsv_v = 0.4": {"hsv_v": 0.4},
    "translate = 0.2": {"translate": 0.2},
    "scale = 0.5": {"scale": 0.5},
    "degrees = 30": {"degrees": 30},
    "shear = 15": {"shear": 15},
    "perspective = 0.001": {"perspective": 0.001},
    "fliplr = 1": {"fliplr": 1},
    "flipud = 1": {"flipud": 1},
    "mosaic = 1": {"mosaic": 1},
    "mixup = 1": {"mixup": 1},
    "default": AugmentConfig().__dict__ | {"close_mosaic": 0},
    "everything": {
        "hsv_s": 0.7, "hsv_v": 0.4, "hsv_h": 0.015, "degrees": 15, "shear": 5, "perspective": 0.0005,
        "scale": 0.5, "translate": 0.1, "fliplr": 0.5, "mosaic": 1, "mixup": 0.5,
    },
}  # fmt: skip


def plot(axes: plt.Axes, image: NDArray[np.uint8], sample: Sample) -> None:
    axes.imshow(image)
    height, width = image.shape[:2]
    for label, x, y, w, h in sample.labels:
        corner = (x - w / 2) * width - 0.5, (y - h / 2) * height - 0.5
        colour = f"C{int(label) % 10}"
        axes.add_patch(Rectangle(corner, w * width, h * height, fill=False, color=colour, linewidth=1.2))
    axes.set_xticks([])
    axes.set_yticks([])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data.yaml")
    parser.add_argument("out", type=Path, help="the plot (PNG)")
    options = parser.parse_args()
    figure, grid = plt.subplots(len(ROWS), SAMPLES, figsize=(2.2 * SAMPLES, 2.25 * len(ROWS)))
    for (name, changes), row in zip(ROWS.items(), grid, strict=True):
        augment = replace(AugmentConfig.none(), **changes)
        dataset = YOLODataset(options.data, "train", imgsz=320, augment=augment, seed=1)
        for index, axes in enumerate(row):
            sample = dataset[index]
            plot(axes, sample.image.transpose(1, 2, 0), sample)
        row[0].set_ylabel(name)
    figure.tight_layout(pad=0.4)
    figure.savefig(options.out, dpi=70)
    print(options.out)


if __name__ == "__main__":
    main()
