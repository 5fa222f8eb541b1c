"""The other loaders that `yolofast bench loader --peers` measures, each in one process and one thread.

`participate` serves one of them:

    run    count  -> samples, seconds, cpu_seconds
    save   count, images, to  -> samples; the file `to` (npz) gets the first images uint8 [images, 3, S, S]
           and the number of boxes of every sample, int64 [count]

A sample is an image uint8 [3, S, S] RGB and its labels, whatever the peer makes of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .serve import Answer, Requests, timed, versions

Sample = tuple[Any, Any]
"""Image uint8 [3, S, S] RGB and labels [N, ...], numpy or torch."""
Samples = Iterator[Sample]

FILL = 114
MIDDLE = 0.4999
"""DALI's crop position: centred; odd padding has its extra pixel on the right and below."""
BUFFER = 128
"""Decoded images that the partners of a mosaic are drawn from: what Ultralytics keeps at batch 16."""


@dataclass(frozen=True)
class LoaderJob:
    """What to load, and how. The folder holds `images/` and `labels/` with equal names, all usable."""

    peer: str
    folder: str
    classes: int
    imgsz: int
    augment: bool
    cache: str

    @property
    def images(self) -> list[Path]:
        return sorted((Path(self.folder) / "images").iterdir())

    def labels(self, image: Path) -> NDArray[np.float32]:
        """Labels float32 [N, 5] class, xywhn of an image; polygons become their boxes."""
        path = Path(self.folder) / "labels" / f"{image.stem}.txt"
        rows = [_box(line.split()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return np.array(rows, dtype=np.float32).reshape(-1, 5)


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """The peer cannot do this job."""


def _box(row: list[str]) -> list[float]:
    values = [float(x) for x in row]
    if len(values) == 5:
        return values
    xs, ys = values[1::2], values[2::2]
    low, high = (min(xs), min(ys)), (max(xs), max(ys))
    centre = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2]
    return [values[0], *centre, high[0] - low[0], high[1] - low[1]]


def _order(count: int, shuffled: bool) -> Iterator[int]:
    """Endless positions: file order, or a new permutation every epoch."""
    rng = np.random.default_rng(0)
    while True:
        yield from (int(i) for i in (rng.permutation(count) if shuffled else range(count)))


def _fit(height: int, width: int, *, size: int) -> tuple[int, int]:
    """(height, width) with the long side `size`."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _letterboxed(labels: NDArray[np.float32], height: int, width: int, size: int) -> NDArray[np.float32]:
    """Labels of an image of height x width that is centred in a square."""
    scale = np.array([width, height, width, height], np.float32) / size
    moved = labels.copy()
    moved[:, 1:] *= scale
    moved[:, 1:3] += np.array([(size - width) // 2, (size - height) // 2], np.float32) / size
    return moved


# ---------------------------------------------------------------- Ultralytics


def ultralytics(job: LoaderJob) -> Samples:
    """Its own YOLODataset with its default hyperparameters, one sample at a time."""
    import_module("torch").set_num_threads(1)
    config = import_module("ultralytics.cfg").get_cfg(
        overrides={"task": "detect", "imgsz": job.imgsz, "cache": False if job.cache == "none" else job.cache}
    )
    dataset = import_module("ultralytics.data.build").build_yolo_dataset(
        config,
        str(Path(job.folder) / "images"),
        16,
        {"names": {i: str(i) for i in range(job.classes)}, "nc": job.classes, "channels": 3},
        mode="train" if job.augment else "val",
        rect=False,
    )
    import_module("cv2").setNumThreads(0)
    if (dataset.cache or "none") != job.cache:
        raise Unsupported(f"it would not cache in {job.cache}: too little memory or disk space")
    samples = (dataset[i] for i in _order(len(dataset), job.augment))
    return ((s["img"], s["bboxes"]) for s in samples)


# ---------------------------------------------------------------- OpenCV, hand-written


def opencv(job: LoaderJob) -> Samples:
    """Hand-written: imdecode, resize, then copyMakeBorder, or mosaic, warpAffine and an HSV LUT."""
    if job.cache == "disk":
        raise Unsupported("the hand-written pipeline has no disk cache")
    pipeline = _OpenCV(job)
    return map(pipeline.mosaic if job.augment else pipeline.letterbox, _order(len(pipeline), job.augment))


class _OpenCV:
    def __init__(self, job: LoaderJob) -> None:
        self.cv2 = import_module("cv2")
        self.cv2.setNumThreads(0)
        self.size = job.imgsz
        self.paths = [str(path) for path in job.images]
        self.labels = [job.labels(path) for path in job.images]
        self.rng = np.random.default_rng(0)
        self.kept: list[NDArray[np.uint8] | None] = [None] * len(self.paths)
        self.recent: deque[int] = deque()
        if job.cache == "ram":
            self.kept = [self._decode(i) for i in range(len(self))]
            self.recent.extend(range(len(self)))
        self.uncached = job.cache == "none"

    def __len__(self) -> int:
        return len(self.paths)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """The image in BGR, its long side resized to the sample's."""
        data = np.fromfile(self.paths[index], dtype=np.uint8)
        image: NDArray[np.uint8] = self.cv2.imdecode(data, self.cv2.IMREAD_COLOR)
        height, width = _fit(*image.shape[:2], size=self.size)
        if image.shape[:2] != (height, width):
            image = self.cv2.resize(image, (width, height), interpolation=self.cv2.INTER_LINEAR)
        return image

    def _remembered(self, index: int) -> NDArray[np.uint8]:
        """The image from the buffer of recent ones, or decoded and added to the buffer."""
        image = self.kept[index]
        if image is None:
            image = self.kept[index] = self._decode(index)
            self.recent.append(index)
            if len(self.recent) > BUFFER:
                self.kept[self.recent.popleft()] = None
        return image

    def _planes(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack(self.cv2.split(image)[::-1])

    def letterbox(self, index: int) -> Sample:
        image = self._decode(index) if self.uncached else self._remembered(index)
        height, width = image.shape[:2]
        top, left = (self.size - height) // 2, (self.size - width) // 2
        edges = top, self.size - height - top, left, self.size - width - left
        padded = self.cv2.copyMakeBorder(image, *edges, self.cv2.BORDER_CONSTANT, value=(FILL,) * 3)
        return self._planes(padded), _letterboxed(self.labels[index], height, width, self.size)

    def mosaic(self, index: int) -> Sample:
        """Four images around a random centre, scaled and shifted, with HSV jitter and left-right flip."""
        size, rng = self.size, self.rng
        canvas = np.full((2 * size, 2 * size, 3), FILL, dtype=np.uint8)
        centre = rng.uniform(size / 2, 3 * size / 2, 2).astype(int)
        self._remembered(index)
        partners = [self.recent[i] for i in rng.integers(0, len(self.recent), 3)]
        labels = [self._paste(canvas, i, tile, centre) for tile, i in enumerate([index, *partners])]
        zoom = rng.uniform(0.5, 1.5)
        shift = rng.uniform(0.4, 0.6, 2) * size - zoom * size
        matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        image = self.cv2.warpAffine(canvas, matrix, (size, size), borderValue=(FILL,) * 3)
        rows = self._moved(np.concatenate(labels), zoom, shift)
        image = self._jitter(image)
        if rng.random() < 0.5:
            image = self.cv2.flip(image, 1)
            rows[:, 1] = 1 - rows[:, 1]
        return self._planes(image), rows

    def _paste(self, canvas: NDArray[np.uint8], index: int, tile: int, centre: Any) -> NDArray[np.float32]:
        """Paste one of the four images; returns its labels as class, xyxy in canvas pixels."""
        image = self._remembered(index)
        height, width = image.shape[:2]
        left = int(centre[0]) - (width if tile % 2 == 0 else 0)
        top = int(centre[1]) - (height if tile < 2 else 0)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, 2 * self.size), min(top + height, 2 * self.size)
        canvas[y0:y1, x0:x1] = image[y0 - top : y1 - top, x0 - left : x1 - left]
        rows = self.labels[index].copy()
        middle, half = rows[:, 1:3].copy(), rows[:, 3:] / 2
        rows[:, 1:3], rows[:, 3:] = middle - half, middle + half
        rows[:, 1:] = rows[:, 1:] * np.array([width, height] * 2) + np.array([left, top] * 2)
        rows[:, 1:] = rows[:, 1:].clip(0, 2 * self.size)
        return rows

    def _moved(self, rows: NDArray[np.float32], zoom: float, shift: Any) -> NDArray[np.float32]:
        """Canvas labels (class, xyxy) as sample labels (class, xywhn), dropped by the usual rule."""
        moved = rows[:, 1:] * zoom + np.tile(shift, 2)
        shown = moved.clip(0, self.size)
        old, new = moved[:, 2:] - moved[:, :2], shown[:, 2:] - shown[:, :2]
        aspect = np.maximum(new[:, 0] / (new[:, 1] + 1e-9), new[:, 1] / (new[:, 0] + 1e-9))
        keep = (new > 2).all(1) & (aspect < 100) & (new.prod(1) > 0.1 * old.prod(1))
        boxes = np.hstack([(shown[:, :2] + shown[:, 2:]) / 2, new]) / self.size
        kept: NDArray[np.float32] = np.hstack([rows[:, :1], boxes])[keep].astype(np.float32)
        return kept

    def _jitter(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        cv2 = self.cv2
        hue, saturation, value = 1 + self.rng.uniform(-1, 1, 3) * (0.015, 0.7, 0.4)
        ramp = np.arange(256)
        table = np.stack([ramp * hue % 180, ramp * saturation, ramp * value], axis=1).clip(0, 255)
        hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), table.astype(np.uint8)[None])
        jittered: NDArray[np.uint8] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return jittered


# ---------------------------------------------------------------- torchvision


def torchvision(job: LoaderJob) -> Samples:
    """Transforms v2: decode, resize and pad. It has no mosaic, so it has no training equivalent."""
    if job.augment:
        raise Unsupported("torchvision has no mosaic: validation only")
    if job.cache != "none":
        raise Unsupported("torchvision has no cache of decoded images")
    import_module("torch").set_num_threads(1)
    io = import_module("torchvision.io")
    functional = import_module("torchvision.transforms.v2.functional")
    paths, labels = job.images, [job.labels(path) for path in job.images]

    def sample(index: int) -> Sample:
        data = io.read_file(str(paths[index]))
        image = io.decode_image(data, mode=io.ImageReadMode.RGB, apply_exif_orientation=True)
        height, width = _fit(*image.shape[1:], size=job.imgsz)
        if image.shape[1:] != (height, width):
            image = functional.resize(image, [height, width], antialias=False)
        top, left = (job.imgsz - height) // 2, (job.imgsz - width) // 2
        edges = [left, top, job.imgsz - width - left, job.imgsz - height - top]
        return functional.pad(image, edges, fill=FILL), _letterboxed(labels[index], height, width, job.imgsz)

    return map(sample, _order(len(paths), shuffled=False))


# ---------------------------------------------------------------- DALI


def dali(job: LoaderJob) -> Samples:
    """Its CPU operators: file reader, image decoder, resize, crop with padding. Validation only."""
    if job.augment:
        raise Unsupported("DALI has no mosaic of several images in a sample: validation only")
    if job.cache != "none":
        raise Unsupported("DALI's CPU operators have no cache of decoded images")
    fn = import_module("nvidia.dali.fn")
    types = import_module("nvidia.dali.types")
    pipeline_class = import_module("nvidia.dali").Pipeline
    size, batch = job.imgsz, 16
    # One thread and no prefetching: it would run while another participant is measured.
    pipeline = pipeline_class(
        batch, 1, None, prefetch_queue_depth=1, exec_async=False, exec_pipelined=False, exec_dynamic=False
    )
    with pipeline:
        data, index = fn.readers.file(
            files=[str(path) for path in job.images],
            labels=list(range(len(job.images))),
            prefetch_queue_depth=1,
        )
        image = fn.decoders.image(data, device="cpu", output_type=types.RGB)
        image = fn.resize(
            image, size=[size, size], mode="not_larger", interp_type=types.INTERP_LINEAR, antialias=False
        )
        planes = fn.crop_mirror_normalize(
            image,
            crop=(size, size),
            crop_pos_x=MIDDLE,
            crop_pos_y=MIDDLE,
            dtype=types.UINT8,
            output_layout="CHW",
            out_of_bounds_policy="pad",
            fill_values=[FILL] * 3,
            mean=[0.0],
            std=[1.0],
        )
        pipeline.set_outputs(planes, index, fn.shapes(image))
    pipeline.build()
    labels = [job.labels(path) for path in job.images]

    def samples() -> Samples:
        while True:
            images, indices, shapes = (output.as_array() for output in pipeline.run())
            for image, index, (height, width, _) in zip(images, indices.ravel(), shapes, strict=True):
                yield image, _letterboxed(labels[index], height, width, size)

    return samples()


# ---------------------------------------------------------------- taking part

PEERS: dict[str, tuple[tuple[str, ...], Callable[[LoaderJob], Samples]]] = {
    "ultralytics": (("ultralytics", "torch", "opencv-python-headless", "opencv-python"), ultralytics),
    "opencv": (("opencv-python-headless", "opencv-python", "numpy"), opencv),
    "torchvision": (("torchvision", "torch"), torchvision),
    "dali": (("nvidia-dali-cuda130", "nvidia-dali-cuda120"), dali),
}
"""Name -> (distributions whose versions are reported where installed, what builds the endless samples)."""


def save(samples: Samples, count: int, images: int, to: str) -> Answer:
    """Write the numbers of boxes of the next `count` samples and the pixels of the first `images`."""
    shown: list[NDArray[np.uint8]] = []
    boxes: list[int] = []
    for image, labels in islice(samples, count):
        boxes.append(len(labels))
        if len(shown) < images:
            shown.append(np.array(image))
    np.savez(to, images=np.stack(shown), boxes=np.array(boxes, dtype=np.int64))
    return {"samples": len(boxes)}


def participate(job: dict[str, Any]) -> tuple[Answer, Requests]:
    """Build the peer of a `LoaderJob`, given as a dict."""
    loading = LoaderJob(**job)
    packages, build = PEERS[loading.peer]
    try:
        samples = build(loading)
    except Unsupported as reason:
        return {"left_out": str(reason)}, {}

    def run(count: int) -> int:
        return sum(1 for _ in islice(samples, count))

    hello = {"versions": versions(packages), "images": len(loading.images)}
    return hello, {"run": timed(run), "save": partial(save, samples)}
