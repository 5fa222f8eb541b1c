"""Single kernels and their equivalents in OpenCV and numpy, with the check that both do the same.

Images are those of the generated sample dataset, so that the input is the same anywhere; everything runs on
one thread and from memory.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.bench.detections.nms_inputs import random_boxes
from yolofast.config import AugmentConfig
from yolofast.errors import DataError
from yolofast.kernels import reference
from yolofast.load.plan.plan import plan_batch
from yolofast.sample import make_sample_dataset
from yolofast.types import BatchPlan, Ycc

IMAGES = 16

Image: TypeAlias = Any
"""uint8 [H, W, 3] or, where it says planar, [3, H, W]; cv2's annotations are too wide to keep as types."""


@dataclass(frozen=True)
class Case:
    """One operation: ours and its peers; `check` raises `DataError` when their results differ too much."""

    what: str
    ours: Callable[[], object]
    peers: dict[str, Callable[[], object]]
    check: Callable[[], None]


@cache
def jpegs() -> list[bytes]:
    """JPEG files of 640 x 480, 4:2:0, as cameras write them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(make_sample_dataset(Path(folder) / "raw", count=IMAGES).glob("*.jpg"))
        images: list[Image] = [cv2.imread(str(path)) for path in paths]
    options = [cv2.IMWRITE_JPEG_QUALITY, 90]
    return [cv2.imencode(".jpg", cv2.resize(i, (640, 480)), options)[1].tobytes() for i in images]


@cache
def images() -> list[Image]:
    return [kernels.decode_jpeg(data) for data in jpegs()]


def _require(agree: bool, what: str) -> None:
    if not agree:
        raise DataError(f"ours and the peer differ too much to be compared: {what}")


def _require_close(a: Image, b: Image, maximum: int, mean: float) -> None:
    difference = np.abs(a.astype(int) - b.astype(int))
    _require(difference.max() <= maximum, f"{difference.max()} levels, expected at most {maximum}")
    _require(difference.mean() <= mean, f"{difference.mean():.3f} levels on average, expected {mean}")


def _require_equal(a: NDArray[Any], b: NDArray[Any]) -> None:
    """Up to rounding in float32."""
    _require(a.shape == b.shape, f"shapes {a.shape} and {b.shape}")
    _require(np.allclose(a, b, rtol=1e-7, atol=1e-6), f"by up to {np.abs(a - b).max():g}")


def decode() -> Case:
    def opencv() -> None:
        for data in jpegs():
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def check() -> None:
        for data in jpegs():
            theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            _require_close(kernels.decode_jpeg(data, layout="bgr"), theirs, maximum=2, mean=0.05)

    return Case(
        f"decode {IMAGES} JPEGs 640x480 4:2:0 to BGR",
        lambda: [kernels.decode_jpeg(data, layout="bgr") for data in jpegs()],
        {"opencv": opencv},
        check,
    )


def decode_half() -> Case:
    def opencv() -> None:
        for data in jpegs():
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)

    def check() -> None:
        for data in jpegs():
            theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
            _require_close(
                kernels.decode_jpeg(data, layout="bgr", min_size=(240, 320)), theirs, maximum=2, mean=0.05
            )

    return Case(
        f"decode {IMAGES} JPEGs 640x480 4:2:0 at half size to BGR",
        lambda: [kernels.decode_jpeg(data, layout="bgr", min_size=(240, 320)) for data in jpegs()],
        {"opencv": opencv},
        check,
    )


def letterbox() -> Case:
    def by_hand(image: Image, size: int) -> Image:
        scale = size / max(image.shape[:2])
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        top, left = (size - height) // 2, (size - width) // 2
        return cv2.copyMakeBorder(
            resized,
            top,
            size - height - top,
            left,
            size - width - left,
            cv2.BORDER_CONSTANT,
            value=(114,) * 3,
        )

    def check() -> None:
        for image in images():
            _require_close(kernels.letterbox(image, 416)[0], by_hand(image, 416), maximum=2, mean=0.3)

    return Case(
        f"letterbox {IMAGES} images 640x480 to 416",
        lambda: [kernels.letterbox(image, 416) for image in images()],
        {"opencv": lambda: [by_hand(image, 416) for image in images()]},
        check,
    )


def warp() -> Case:
    """An affine warp to planar output; OpenCV needs its own pass to split the channels."""
    angle = np.deg2rad(7)
    forward = np.array([[np.cos(angle), np.sin(angle), 40.0], [-np.sin(angle), np.cos(angle), 90.0]])
    inverse = cv2.invertAffineTransform(forward)
    out = np.empty((3, 640, 640), np.uint8)
    # OpenCV counts from pixel centres, we from pixel edges.
    shift = np.array([0.5, 0.5])
    edges = inverse.copy()
    edges[:, 2] += shift - inverse[:, :2] @ shift

    def opencv(image: Image) -> Image:
        flat = cv2.warpAffine(image, forward, (640, 640), borderValue=(114,) * 3)
        return np.ascontiguousarray(flat.transpose(2, 0, 1))

    def ours(image: Image) -> Image:
        out.fill(114)
        kernels.warp_affine(image, edges, out)
        return out

    def check() -> None:
        for image in images():
            a, b = ours(image).astype(int), opencv(image).astype(int)
            # The one-pixel rim: OpenCV blends it into the border.
            share = np.mean(np.abs(a - b) > 6)
            _require(share < 0.01, f"{share:.1%} of the pixels by more than 6 levels, expected 1 %")

    return Case(
        f"warp {IMAGES} images 640x480 to planar 640x640, 7 degrees",
        lambda: [ours(image) for image in images()],
        {"opencv": lambda: [opencv(image) for image in images()]},
        check,
    )


SAMPLES = 8


@cache
def planes() -> list[Ycc]:
    return [kernels.decode_jpeg(data, layout="ycc") for data in jpegs()]


def training_plan(augment: AugmentConfig) -> BatchPlan:
    """Mosaics of the sample images at 640 x 640."""
    shapes = np.array([(480, 640)] * IMAGES, dtype=np.int32)
    order = np.arange(IMAGES)
    return plan_batch(order, order[:SAMPLES], shapes, (640, 640), augment, seed=0, epoch=0)


GENERAL = AugmentConfig(degrees=10, shear=2, perspective=0.0005)


def _render(what: str, augment: AugmentConfig) -> Case:
    """Mosaic samples from planes in memory, against OpenCV's warp of a prepared canvas and its HSV jitter."""
    plan = training_plan(augment)
    out = np.empty((SAMPLES, 3, 640, 640), np.uint8)
    tables = [
        ((np.arange(256) * gain) % top).astype(np.uint8)
        for gain, top in ((1.01, 180), (0.9, 256), (0.8, 256))
    ]

    def canvas(still: BatchPlan, sample: int) -> Image:
        """What OpenCV warps: the four images where they meet, neither scaled nor rotated."""
        filled = np.full((1280, 1280, 3), 114, np.uint8)
        for tile in np.flatnonzero(still.tile_sample == sample):
            # The window on the canvas: images of 640 x 480 are pasted at their own size.
            x0, y0, x1, y1 = (round(v) for v in still.tile_window[tile])
            left, top = (round(v) for v in still.tile_forward[tile][:2, 2] + 320)
            into = np.s_[max(top + y0, 0) : top + y1, max(left + x0, 0) : left + x1]
            part = images()[still.tile_image[tile]][y0:y1, x0:x1]
            filled[into] = part[-filled[into].shape[0] :, -filled[into].shape[1] :]
        return filled

    # Without scale and translation the output is the centre of the canvas: forward matrices give the offsets.
    placed = training_plan(AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0, scale=0, translate=0, fliplr=0))
    canvases = [canvas(placed, sample) for sample in range(SAMPLES)]
    # The matrices canvas -> output of each sample, from its first tile in both plans.
    matrices = []
    for sample in range(SAMPLES):
        tile = int(np.flatnonzero(plan.tile_sample == sample)[0])
        other = int(
            np.flatnonzero((placed.tile_image == plan.tile_image[tile]) & (placed.tile_sample == sample))[0]
        )
        shift = np.array([[1, 0, 320], [0, 1, 320], [0, 0, 1.0]])
        forward = plan.tile_forward[tile] @ np.linalg.inv(shift @ placed.tile_forward[other])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrices.append(np.linalg.inv(half) @ forward @ half)  # OpenCV counts from pixel centres

    def warped(sample: int) -> Image:
        if np.abs(matrices[sample][2, :2]).max() > 1e-12:
            return cv2.warpPerspective(canvases[sample], matrices[sample], (640, 640), borderValue=(114,) * 3)
        return cv2.warpAffine(canvases[sample], matrices[sample][:2], (640, 640), borderValue=(114,) * 3)

    def opencv() -> None:
        for sample in range(SAMPLES):
            image = warped(sample)
            hsv = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
            jittered = cv2.merge(
                [cv2.LUT(channel, table) for channel, table in zip(hsv, tables, strict=True)]
            )
            cv2.cvtColor(jittered, cv2.COLOR_HSV2RGB, dst=image)

    def check() -> None:
        still = dataclasses.replace(plan, colour=placed.colour)
        for sample, ours in enumerate(kernels.render(still, planes())):
            difference = np.abs(ours.transpose(1, 2, 0).astype(int) - warped(sample).astype(int))
            median, share = np.median(difference), (difference <= 16).mean()
            _require(median <= 1, f"a median of {median} levels, expected at most 1")
            _require(share > 0.97, f"{share:.1%} of the pixels within 16 levels, expected 97 %")

    return Case(
        what,
        lambda: kernels.render(plan, planes(), out),
        {"opencv warp + HSV of a ready canvas": opencv},
        check,
    )


def render() -> Case:
    return _render(
        f"render {SAMPLES} mosaics to 640x640, default augmentation", AugmentConfig(close_mosaic=0)
    )


def render_general() -> Case:
    return _render(f"render {SAMPLES} mosaics to 640x640, rotation, shear and perspective", GENERAL)


def nms() -> Case:
    inputs = random_boxes(5000, 80)
    boxes, scores, classes = inputs["boxes"], inputs["scores"], inputs["classes"]
    xywh: Any = boxes.copy()
    xywh[:, 2:] -= xywh[:, :2]

    def opencv() -> Any:
        return cv2.dnn.NMSBoxesBatched(xywh, scores, classes, 0.0, 0.7)  # type: ignore[arg-type]

    def check() -> None:
        ours = kernels.batched_nms(boxes, scores, classes, 0.7)
        expected = reference.batched_nms(boxes, scores, classes, 0.7)
        _require(np.array_equal(ours, expected), "ours keeps other boxes than kernels.reference")
        # OpenCV offsets the boxes of each class, which rounds them.
        only = {int(i) for i in np.ravel(opencv())} ^ set(ours.tolist())
        _require(len(only) <= len(ours) * 0.002, f"{len(only)} boxes are kept by only one of them")

    return Case(
        "batched NMS, 5000 boxes, 80 classes, IoU 0.7",
        lambda: kernels.batched_nms(boxes, scores, classes, 0.7),
        {"opencv": opencv},
        check,
    )


def iou() -> Case:
    boxes = random_boxes(1000, 1)["boxes"]

    def check() -> None:
        _require_equal(kernels.box_iou(boxes, boxes), _numpy_iou(boxes, boxes))

    return Case(
        "IoU matrix, 1000 x 1000 boxes",
        lambda: kernels.box_iou(boxes, boxes),
        {"numpy": lambda: _numpy_iou(boxes, boxes)},
        check,
    )


def _numpy_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b)]
    result: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1][None] - shared)
    return result


def labels() -> Case:
    rng = np.random.default_rng(0)
    rows = np.hstack([rng.integers(0, 80, (50, 1)), rng.uniform(0.2, 0.8, (50, 4))])
    text = "\n".join(f"{int(r[0])} " + " ".join(f"{v:.6f}" for v in r[1:]) for r in rows).encode()

    def python() -> NDArray[np.float32]:
        rows = text.decode().strip().splitlines()
        return np.array([row.split() for row in rows if row], dtype=np.float32)

    def check() -> None:
        ours = kernels.parse_yolo_labels(text)
        _require_equal(np.column_stack([ours.classes, ours.boxes]), python())

    return Case(
        "parse a YOLO label file of 50 lines",
        lambda: kernels.parse_yolo_labels(text),
        {"python+numpy": python},
        check,
    )


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (decode, decode_half, letterbox, warp, render, render_general, nms, iou, labels)
}
