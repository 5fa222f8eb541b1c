"""A COCO set of any size, generated from a fixed seed: what COCO evaluation is measured on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yolofast.files import atomic_file

CLASSES = 80

Style = Literal["rounded", "full"]


@dataclass(frozen=True)
class CocoSet:
    """Generated ground truth and results, for `bench map` without files.

    `style` "rounded": boxes with 3 decimals and scores with 5, as most tools write them; "full": all digits
    of float32.
    """

    images: int = 5000
    detections: int = 500_000
    style: Style = "rounded"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write gt.json and dt.json unless they exist; returns their paths."""
        stem = f"coco_{self.images}_{self.detections}_{self.style}"
        gt, dt = folder / f"{stem}_gt.json", folder / f"{stem}_dt.json"
        if not (gt.exists() and dt.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            truth, results = self.generate()
            for path, content in ((gt, truth), (dt, results)):
                with atomic_file(path) as temporary:
                    Path(temporary).write_text(json.dumps(content), encoding="utf-8")
        return gt, dt

    def generate(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The ground truth, 7.3 objects per image on average, and the results, equally many in each image.

        Classes are as imbalanced as COCO's, 1 % of the objects are crowds, 30 % of the results are near an
        object, and scores are mostly low.
        """
        rng = np.random.default_rng(0)
        frequency = rng.dirichlet(np.full(CLASSES, 0.6))
        ids = np.sort(rng.choice(600_000, self.images, replace=False)).tolist()
        categories = [k + 1 + (k > 11) + (k > 24) for k in range(CLASSES)]  # COCO skips ids, too
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        shares = np.diff(np.linspace(0, self.detections, self.images + 1).astype(int)).tolist()
        for image, share in zip(ids, shares, strict=True):
            boxes, classes = _objects(rng, rng.poisson(7.3), frequency)
            for box, label in zip(boxes.round(2).tolist(), classes.tolist(), strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": categories[label],
                        "bbox": box,
                        "area": round(box[2] * box[3] * rng.uniform(0.5, 1), 4),
                        "iscrowd": int(rng.random() < 0.01),
                        "segmentation": [rng.uniform(0, 640, 20).round(2).tolist()],
                    }
                )
            found = self._results(rng, share, boxes, classes, frequency)
            for box, label, score in zip(*(column.tolist() for column in found), strict=True):
                results.append(
                    {"image_id": image, "category_id": categories[label], "bbox": box, "score": score}
                )
        return {
            "images": [{"id": i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480} for i in ids],
            "categories": [{"id": c, "name": f"class {c}"} for c in categories],
            "annotations": [annotations[i] for i in rng.permutation(len(annotations))],
        }, results

    def _results(
        self,
        rng: np.random.Generator,
        count: int,
        objects: NDArray[np.float64],
        labels: NDArray[np.int64],
        frequency: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Boxes, classes and scores of one image, highest score first."""
        boxes, classes = _objects(rng, count, frequency)
        scores = rng.beta(0.5, 5, count)
        if len(objects):
            near = rng.random(count) < 0.3
            source = rng.integers(0, len(objects), count)[near]
            off = np.exp(rng.normal(-2, 1, (len(source), 1))) * rng.normal(0, 0.3, (len(source), 4))
            boxes[near] = objects[source] + off * np.tile(objects[source, 2:], 2)
            boxes[near, 2:] = np.abs(boxes[near, 2:]) + 1
            right = rng.random(len(source)) < 0.85
            classes[near] = np.where(right, labels[source], classes[near])
            scores[near] = rng.beta(2, 2, len(source))
        order = np.argsort(-scores)
        boxes, scores = boxes[order], scores[order]
        if self.style == "rounded":
            return boxes.round(3), classes[order], scores.round(5)
        return boxes.astype(np.float32).astype(float), classes[order], scores.astype(np.float32).astype(float)


def _objects(
    rng: np.random.Generator, count: int, frequency: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (left, top, width, height) and classes."""
    sizes = np.exp(rng.normal(4, 1, (count, 2))).clip(4, 500)
    middles = rng.uniform(0, 1, (count, 2)) * [640, 480]
    return np.concatenate([middles - sizes / 2, sizes], axis=1), rng.choice(CLASSES, count, p=frequency)
