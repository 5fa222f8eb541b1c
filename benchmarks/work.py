"""The work that the kernel benchmarks time, and the check that both sides do the same.

Pictures are the drawn sample dataset's, so that anyone gets the same input anywhere; everything
runs on one thread and from memory.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.config import AugmentConfig
from yolofast.kernels import reference
from yolofast.load.plan.plan import plan_batch
from yolofast.sample import make_sample_dataset
from yolofast.types import BatchPlan, Ycc

IMAGES = 16


@dataclass(frozen=True)
class Case:
    """One operation: ours and its peers, and how far results may differ (`same` raises if more)."""

    what: str
    ours: Callable[[], object]
    peers: dict[str, Callable[[], object]]
    same: Callable[[], None]


@cache
def jpegs() -> list[bytes]:
    """JPEG files of 640 x 480, 4:2:0, as cameras write them."""
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted(make_sample_dataset(Path(folder) / "raw", count=IMAGES).glob("*.jpg"))
        pictures = [cv2.imread(str(path)) for path in paths]
    options = [cv2.IMWRITE_JPEG_QUALITY, 90]
    return [cv2.imencode(".jpg", cv2.resize(p, (640, 480)), options)[1].tobytes() for p in pictures]


@cache
def pictures() -> list[NDArray[np.uint8]]:
    return [kernels.decode_jpeg(data) for data in jpegs()]


def _close(a: NDArray[np.uint8], b: NDArray[np.uint8], most: int, mean: float) -> None:
    difference = np.abs(a.astype(int) - b.astype(int))
    assert difference.max() <= most, difference.max()
    assert difference.mean() <= mean, difference.mean()


def decode() -> Case:
    def opencv() -> None:
        for data in jpegs():
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def same() -> None:
        for data in jpegs():
            theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            _close(kernels.decode_jpeg(data, layout="bgr"), theirs, most=2, mean=0.05)

    return Case(
        f"decode {IMAGES} JPEGs 640x480 4:2:0 to BGR",
        lambda: [kernels.decode_jpeg(data, layout="bgr") for data in jpegs()],
        {"opencv": opencv},
        same,
    )


def decode_half() -> Case:
    def opencv() -> None:
        for data in jpegs():
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)

    def same() -> None:
        for data in jpegs():
            theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2)
            _close(kernels.decode_jpeg(data, layout="bgr", min_size=(240, 320)), theirs, most=2, mean=0.05)

    return Case(
        f"decode {IMAGES} JPEGs 640x480 4:2:0 at half size to BGR",
        lambda: [kernels.decode_jpeg(data, layout="bgr", min_size=(240, 320)) for data in jpegs()],
        {"opencv": opencv},
        same,
    )


def letterbox() -> Case:
    def by_hand(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
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

    def same() -> None:
        for image in pictures():
            _close(kernels.letterbox(image, 416)[0], by_hand(image, 416), most=2, mean=0.3)

    return Case(
        f"letterbox {IMAGES} images 640x480 to 416",
        lambda: [kernels.letterbox(image, 416) for image in pictures()],
        {"opencv": lambda: [by_hand(image, 416) for image in pictures()]},
        same,
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

    def opencv(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flat = cv2.warpAffine(image, forward, (640, 640), borderValue=(114,) * 3)
        return np.ascontiguousarray(flat.transpose(2, 0, 1))

    def ours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        out.fill(114)
        kernels.warp_affine(image, edges, out)
        return out

    def same() -> None:
        for image in pictures():
            a, b = ours(image).astype(int), opencv(image).astype(int)
            assert np.mean(np.abs(a - b) > 6) < 0.01  # the one-pixel rim: OpenCV blends it into the border

    return Case(
        f"warp {IMAGES} images 640x480 to planar 640x640, 7 degrees",
        lambda: [ours(image) for image in pictures()],
        {"opencv": lambda: [opencv(image) for image in pictures()]},
        same,
    )


SAMPLES = 8


@cache
def planes() -> list[Ycc]:
    return [kernels.decode_jpeg(data, layout="ycc") for data in jpegs()]


def training_plan(augment: AugmentConfig) -> BatchPlan:
    """Mosaics of the sample pictures at 640 x 640."""
    shapes = np.array([(480, 640)] * IMAGES, dtype=np.int32)
    order = np.arange(IMAGES)
    return plan_batch(order, order[:SAMPLES], shapes, (640, 640), augment, seed=0, epoch=0)


GENERAL = AugmentConfig(degrees=10, shear=2, perspective=0.0005)
STILL = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}


def _render(what: str, augment: AugmentConfig) -> Case:
    """A mosaic sample from planes in memory, against OpenCV's warp of a ready canvas and its HSV jitter."""
    plan = training_plan(augment)
    out = np.empty((SAMPLES, 3, 640, 640), np.uint8)
    tables = [
        ((np.arange(256) * gain) % top).astype(np.uint8)
        for gain, top in ((1.01, 180), (0.9, 256), (0.8, 256))
    ]

    def canvas(still: BatchPlan, sample: int) -> NDArray[np.uint8]:
        """What OpenCV warps: the four pictures as they meet, not yet zoomed or turned."""
        made = np.full((1280, 1280, 3), 114, np.uint8)
        for tile in np.flatnonzero(still.tile_sample == sample):
            # The window's place on the canvas: pictures of 640 x 480 are placed at their own size.
            x0, y0, x1, y1 = (round(v) for v in still.tile_window[tile])
            left, top = (round(v) for v in still.tile_forward[tile][:2, 2] + 320)
            into = np.s_[max(top + y0, 0) : top + y1, max(left + x0, 0) : left + x1]
            part = pictures()[still.tile_image[tile]][y0:y1, x0:x1]
            made[into] = part[-made[into].shape[0] :, -made[into].shape[1] :]
        return made

    # Without zoom and move the output is the middle of the canvas, so forward matrices give the placement.
    placed = training_plan(AugmentConfig(**STILL, scale=0, translate=0, fliplr=0))
    canvases = [canvas(placed, sample) for sample in range(SAMPLES)]
    # canvas -> output of each sample, from two descriptions of its first tile
    moves = []
    for sample in range(SAMPLES):
        tile = int(np.flatnonzero(plan.tile_sample == sample)[0])
        other = int(
            np.flatnonzero((placed.tile_image == plan.tile_image[tile]) & (placed.tile_sample == sample))[0]
        )
        shift = np.array([[1, 0, 320], [0, 1, 320], [0, 0, 1.0]])
        forward = plan.tile_forward[tile] @ np.linalg.inv(shift @ placed.tile_forward[other])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        moves.append(np.linalg.inv(half) @ forward @ half)  # OpenCV counts from pixel centres

    def warped(sample: int) -> NDArray[np.uint8]:
        if np.abs(moves[sample][2, :2]).max() > 1e-12:
            return cv2.warpPerspective(canvases[sample], moves[sample], (640, 640), borderValue=(114,) * 3)
        return cv2.warpAffine(canvases[sample], moves[sample][:2], (640, 640), borderValue=(114,) * 3)

    def opencv() -> None:
        for sample in range(SAMPLES):
            image = warped(sample)
            hsv = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
            jittered = cv2.merge(
                [cv2.LUT(channel, table) for channel, table in zip(hsv, tables, strict=True)]
            )
            cv2.cvtColor(jittered, cv2.COLOR_HSV2RGB, dst=image)

    def same() -> None:
        still = dataclasses.replace(plan, colour=placed.colour)
        for sample, ours in enumerate(kernels.render(still, planes())):
            difference = np.abs(ours.transpose(1, 2, 0).astype(int) - warped(sample).astype(int))
            assert np.median(difference) <= 1, np.median(difference)
            assert (difference <= 16).mean() > 0.97, (difference <= 16).mean()

    return Case(
        what,
        lambda: kernels.render(plan, planes(), out),
        {"opencv warp + HSV of a ready canvas": opencv},
        same,
    )


def render() -> Case:
    return _render(
        f"render {SAMPLES} mosaics to 640x640, default augmentation", AugmentConfig(close_mosaic=0)
    )


def render_general() -> Case:
    return _render(f"render {SAMPLES} mosaics to 640x640, rotation, shear and perspective", GENERAL)


def boxes(count: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 600, (count, 2))
    made = np.hstack([low, low + rng.uniform(4, 120, (count, 2))]).astype(np.float32)
    return made, rng.random(count, dtype=np.float32), rng.integers(0, classes, count)


def nms() -> Case:
    made, scores, classes = boxes(5000, 80)
    xywh = made.copy()
    xywh[:, 2:] -= xywh[:, :2]

    def opencv() -> object:
        return cv2.dnn.NMSBoxesBatched(xywh, scores, classes, 0.0, 0.7)

    def same() -> None:
        ours = kernels.batched_nms(made, scores, classes, 0.7)
        np.testing.assert_array_equal(ours, reference.batched_nms(made, scores, classes, 0.7))
        theirs = {int(i) for i in np.ravel(opencv())}
        assert len(theirs ^ set(ours.tolist())) <= len(ours) * 0.002  # OpenCV shifts boxes by class

    return Case(
        "batched NMS, 5000 boxes, 80 classes, IoU 0.7",
        lambda: kernels.batched_nms(made, scores, classes, 0.7),
        {"opencv": opencv},
        same,
    )


def iou() -> Case:
    made, _, _ = boxes(1000, 1)
    return Case(
        "IoU matrix, 1000 x 1000 boxes",
        lambda: kernels.box_iou(made, made),
        {"numpy": lambda: _numpy_iou(made, made)},
        lambda: np.testing.assert_allclose(kernels.box_iou(made, made), _numpy_iou(made, made), atol=1e-6),
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
        return np.array([x.split() for x in text.decode().strip().splitlines() if x], dtype=np.float32)

    def same() -> None:
        ours = kernels.parse_yolo_labels(text)
        np.testing.assert_allclose(np.column_stack([ours.classes, ours.boxes]), python(), atol=1e-6)

    return Case(
        "parse a YOLO label file of 50 lines",
        lambda: kernels.parse_yolo_labels(text),
        {"python+numpy": python},
        same,
    )


CASES: dict[str, Callable[[], Case]] = {
    f.__name__: f for f in (decode, decode_half, letterbox, warp, render, render_general, nms, iou, labels)
}
