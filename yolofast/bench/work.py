"""What the comparisons work on: random boxes, heads of a detector, and a COCO set; each from a fixed seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from yolofast.files import atomic_file

CLASSES = 80
STRIDES = (8, 16, 32)
SIZE = 640
CONF = 0.001

Style = Literal["rounded", "full"]


def random_boxes(count: int, classes: int) -> dict[str, NDArray[Any]]:
    """boxes float32 [N, 4] xyxy, scores float32 [N], classes int64 [N]: places and sizes all random."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 600, (count, 2))
    boxes = np.hstack([low, low + rng.uniform(4, 120, (count, 2))]).astype(np.float32)
    return {
        "boxes": boxes,
        "scores": rng.random(count, dtype=np.float32),
        "classes": rng.integers(0, classes, count),
    }


def anchor_points() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres [A, 2] and strides [A] of the three grids of a 640 x 640 image; A = 8400."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (np.arange(SIZE // stride) + 0.5) * stride
        centres.append(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2))
        strides.append(np.full(len(centres[-1]), float(stride)))
    return np.concatenate(centres), np.concatenate(strides)


def detector_head(images: int, objects: int, candidates: int) -> NDArray[np.float32]:
    """float32 [B, 84, 8400]: what a detector gives for images of about so many objects.

    Anchors near an object have boxes close to its own and high scores for its class, lower ones for a few
    that look like it; the others have boxes of their grid's size and scores near nothing. All scores of an
    image are shifted (as logits) until `candidates` of them are above 0.001.
    """
    rng = np.random.default_rng(0)
    centres, strides = anchor_points()
    return np.stack([_one_head(rng, centres, strides, objects, candidates) for _ in range(images)])


def _one_head(
    rng: np.random.Generator,
    centres: NDArray[np.float64],
    strides: NDArray[np.float64],
    objects: int,
    candidates: int,
) -> NDArray[np.float32]:
    count = len(centres)
    sizes = strides[:, None] * np.exp(rng.normal(1.0, 0.5, (count, 2)))
    middles = centres + rng.normal(0, 0.5, (count, 2)) * strides[:, None]
    logits = rng.normal(-13.0, 1.0, (CLASSES, count))
    closest = np.zeros(count)
    for _ in range(max(1, rng.poisson(objects))):
        size = np.exp(rng.normal(4.2, 0.8, 2)).clip(10, 500)
        middle = rng.uniform(0, SIZE, 2)
        alike = rng.choice(CLASSES, 4, replace=False)
        # How well an anchor sees it: inside the middle of the box, on the grid that fits its size.
        apart = (((centres - middle) / (0.35 * size)) ** 2).sum(axis=1)
        apart += np.log2(np.sqrt(size.prod()) / (6 * strides)) ** 2
        seen = np.exp(-0.5 * apart)
        logits[alike] += np.array([[12.0], [7.0], [6.0], [5.0]]) * seen
        nearer = seen > np.maximum(closest, 0.1)
        closest = np.maximum(closest, seen)
        loose = (0.04 + 0.15 * (1 - seen[nearer]))[:, None]
        middles[nearer] = middle + rng.normal(0, 1, (nearer.sum(), 2)) * loose * size
        sizes[nearer] = size * np.exp(rng.normal(0, 1, (nearer.sum(), 2)) * loose)
    least = np.partition(logits, logits.size - candidates, axis=None)[logits.size - candidates]
    logits += np.log(CONF / (1 - CONF)) - least + 1e-6
    return np.concatenate([middles.T, sizes.T, 1 / (1 + np.exp(-logits))]).astype(np.float32)


# ---------------------------------------------------------------- a COCO set


@dataclass(frozen=True)
class CocoSet:
    """Ground truth and results of `bench map` when no files are given.

    `style` "rounded": boxes with 3 decimals and scores with 5, as most tools write them; "full": all digits
    of float32.
    """

    images: int = 5000
    detections: int = 500_000
    style: Style = "rounded"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write gt.json and dt.json, unless this set is already there; their paths."""
        stem = f"coco_{self.images}_{self.detections}_{self.style}"
        gt, dt = folder / f"{stem}_gt.json", folder / f"{stem}_dt.json"
        if not (gt.exists() and dt.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            truth, results = self.made()
            for path, content in ((gt, truth), (dt, results)):
                with atomic_file(path) as temporary:
                    Path(temporary).write_text(json.dumps(content), encoding="utf-8")
        return gt, dt

    def made(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The ground truth and the results, 7.3 objects and an equal number of results an image on average.

        Classes are as uneven as COCO's, one object in a hundred is a crowd, three results in ten are near an
        object, and scores are mostly low.
        """
        rng = np.random.default_rng(0)
        frequency = rng.dirichlet(np.full(CLASSES, 0.6))
        ids = np.sort(rng.choice(600_000, self.images, replace=False)).tolist()
        categories = [k + 1 + (k > 11) + (k > 24) for k in range(CLASSES)]  # COCO leaves numbers out too
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
        """Boxes, classes and scores of an image, best score first."""
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
    """Boxes left, top, width, height, and classes."""
    sizes = np.exp(rng.normal(4, 1, (count, 2))).clip(4, 500)
    middles = rng.uniform(0, 1, (count, 2)) * [640, 480]
    return np.concatenate([middles - sizes / 2, sizes], axis=1), rng.choice(CLASSES, count, p=frequency)
