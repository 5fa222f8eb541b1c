"""Sub-pixel truth: where an edge in the file comes out in the sample, and in which colour."""

from __future__ import annotations

import colorsys
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.coloured_dataset import exif

from yolofast.config import AugmentConfig
from yolofast.kernels import render_labels
from yolofast.load import YOLODataset
from yolofast.load.plan.plan import plan_batch

SHARE = 0.9


def write_dataset(root: Path, width: int, height: int, orientation: int) -> float:
    """An upright picture, white right of SHARE of its width, stored as `orientation` says; the edge."""
    edge = round(width * SHARE)
    upright = np.zeros((height, width, 3), np.uint8)
    upright[:, edge:] = 255
    stored = {1: upright, 3: upright[::-1, ::-1], 6: np.rot90(upright, 1), 8: np.rot90(upright, -1)}[
        orientation
    ]
    data = cv2.imencode(".jpg", np.ascontiguousarray(stored), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    (root / "images" / "a.jpg").write_bytes(data[:2] + exif(orientation) + data[2:])
    share = edge / width
    (root / "labels" / "a.txt").write_text(f"0 {(1 + share) / 2:.9f} 0.5 {1 - share:.9f} 1\n")
    (root / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [white]\n")
    return edge


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(505, 97, 64), (961, 640, 128), (1281, 961, 640), (505, 505, 512), (77, 60, 64)],
)
def test_edges_stay_where_labels_say(
    tmp_path: Path, width: int, height: int, size: int, orientation: int
) -> None:
    """At every DCT scale and in every orientation the edge is within 0.3 output pixels of its box."""
    write_dataset(tmp_path, width, height, orientation)
    sample = YOLODataset(tmp_path / "data.yaml", "train", imgsz=size)[0]
    assert sample.shape == (height, width)
    middle = sample.image[0, size // 2].astype(float)
    box_left = (sample.labels[0, 1] - sample.labels[0, 3] / 2) * size
    box_right = (sample.labels[0, 1] + sample.labels[0, 3] / 2) * size
    # The white area's share of the row, up to the picture's right side, is where the edge lies.
    inside = slice(int(box_left - 6), round(box_right))
    edge = round(box_right) - middle[inside].sum() / 255
    assert edge == pytest.approx(box_left, abs=0.3)


def test_zoom_and_rotation_keep_shapes() -> None:
    """Without shear the 2 x 2 part of every warp is a rotation (and flip) times one gain."""
    shapes = np.array([[100, 100]] * 64)
    augment = AugmentConfig(degrees=90, scale=0.5, mosaic=0, fliplr=0.5, flipud=0.5)
    plan = plan_batch(np.arange(64), np.arange(64), shapes, (100, 100), augment, seed=1, epoch=0)
    linear = plan.tile_forward[:, :2, :2]
    gram = linear.transpose(0, 2, 1) @ linear
    gains = np.sqrt(np.abs(np.linalg.det(linear)))
    np.testing.assert_allclose(gram, gains[:, None, None] ** 2 * np.eye(2), atol=1e-9)
    assert gains.min() < 0.6
    assert gains.max() > 1.4
    angles = np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 1, 1]))
    assert np.ptp(angles) > 90


def test_mosaic_boxes_are_cut_at_their_tile() -> None:
    """A box over a whole image covers exactly what its tile shows."""
    shapes = np.array([[300, 400]] * 32)
    augment = AugmentConfig(mosaic=1, scale=0, translate=0, fliplr=0)
    plan = plan_batch(np.arange(32), np.arange(32), shapes, (320, 320), augment, seed=0, epoch=0)
    boxes = np.array([[0, 0.5, 0.5, 1, 1]] * 32, np.float32)
    targets = render_labels(plan, boxes, np.arange(33), shapes.astype(np.int32), filtered=False)
    cut = 0
    for sample in range(32):
        rows = targets[targets[:, 0] == sample, 1:]
        tiles = np.flatnonzero(plan.tile_sample == sample)
        for (_, cx, cy, w, h), tile in zip(rows, tiles, strict=True):
            low = (plan.tile_forward[tile, :2] @ [*plan.tile_window[tile, :2], 1]).clip(0, 320)
            high = (plan.tile_forward[tile, :2] @ [*plan.tile_window[tile, 2:], 1]).clip(0, 320)
            np.testing.assert_allclose([w * 320, h * 320], high - low, atol=1e-3)
            np.testing.assert_allclose([cx * 320, cy * 320], (low + high) / 2, atol=1e-3)
            cut += int((plan.tile_window[tile] != [0, 0, 400, 300]).any())
    assert cut > 10


RED = (200, 40, 60)


def picture_of_one_colour(root: Path) -> Path:
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    image = np.full((64, 64, 3), RED[::-1], np.uint8)
    assert cv2.imwrite(str(root / "images" / "a.png"), image)
    (root / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames: [red]\n")
    return root / "data.yaml"


def test_colour_jitter_reaches_the_pixels_as_drawn(tmp_path: Path) -> None:
    """The centre pixel is the drawn map of the (Y, Cb, Cr) that JFIF's own formulas give."""
    augment = AugmentConfig(hsv_h=0.1, mosaic=0, scale=0, translate=0, fliplr=0)
    dataset = YOLODataset(picture_of_one_colour(tmp_path), "train", imgsz=64, augment=augment, seed=4)
    seen = set()
    for epoch in range(6):
        order = np.zeros(1, np.int64)
        plan = plan_batch(order, order, dataset.shapes, (64, 64), augment, seed=4, epoch=epoch)
        r, g, b = RED
        y = 0.299 * r + 0.587 * g + 0.114 * b
        wanted = plan.colour[0] @ [y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128, 1]
        got = dataset[epoch, 0].image[:, 32, 32]
        np.testing.assert_allclose(got, np.clip(wanted, 0, 255), atol=1.1)
        seen.add(tuple(got.tolist()))
    assert len(seen) == 6


def test_jitter_does_to_a_colour_what_its_names_say() -> None:
    """Value scales brightness, saturation keeps gray and luma, hue turns by its share of a circle."""

    def jitter(**changes: float) -> np.ndarray:
        augment = AugmentConfig(**{"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "mosaic": 0.0} | changes)
        maps = plan_batch(
            np.zeros(40, np.int64), np.arange(40), np.array([[9, 9]]), (32, 32), augment, seed=0, epoch=0
        ).colour
        r, g, b = 120.0, 100.0, 90.0
        y = 0.299 * r + 0.587 * g + 0.114 * b
        return maps @ [y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128, 1]

    value = jitter(hsv_v=0.4)
    gains = value / [120.0, 100.0, 90.0]
    np.testing.assert_allclose(gains, gains[:, :1].repeat(3, axis=1), atol=1e-9)
    assert gains.min() < 0.7
    assert gains.max() > 1.3
    weights = np.array([0.299, 0.587, 0.114])
    for changed in (jitter(hsv_s=0.7), jitter(hsv_h=0.05)):
        np.testing.assert_allclose(changed @ weights, weights @ [120, 100, 90], atol=1e-6)
        assert np.ptp(changed, axis=0).max() > 5
    hues = [colorsys.rgb_to_hsv(*(c / 255))[0] for c in jitter(hsv_h=0.05)]
    base = colorsys.rgb_to_hsv(120 / 255, 100 / 255, 90 / 255)[0]
    turned = [(h - base + 0.5) % 1 - 0.5 for h in hues]
    assert -0.08 < min(turned) < -0.02
    assert 0.02 < max(turned) < 0.08


def test_a_file_that_changed_size_since_it_was_indexed_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dataset(tmp_path, 200, 100, 1)
    (tmp_path / "images" / "b.jpg").write_bytes((tmp_path / "images" / "a.jpg").read_bytes())
    dataset = YOLODataset(tmp_path / "data.yaml", "train", imgsz=64, max_bad_share=0.5)
    data = cv2.imencode(".jpg", np.zeros((300, 50, 3), np.uint8))[1].tobytes()
    (tmp_path / "images" / "a.jpg").write_bytes(data)
    sample = dataset[0]
    assert sample.path == dataset.paths[1]
    np.testing.assert_array_equal(sample.image, dataset[1].image)
    assert len(sample.labels) == 0
    assert "a.jpg: got 50 x 300 pixels, expected 200 x 100" in caplog.text
