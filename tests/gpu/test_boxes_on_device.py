"""IoU and suppression on the device: the values and indices of the CPU kernels and of reference.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from yolofast import kernels
from yolofast.kernels import reference


def random_boxes(rng: np.random.Generator, count: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Boxes of all kinds: many overlap, some are empty, inverted, huge, infinite or NaN."""
    corner = rng.uniform(0, 300, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 90, (count, 2))], axis=1)
    odd = rng.integers(0, 12, count)
    boxes[odd == 0, 2:] = boxes[odd == 0, :2]
    boxes[odd == 1] = boxes[odd == 1][:, [2, 3, 0, 1]]
    boxes[odd == 2] *= 1e18
    boxes[odd == 3, rng.integers(0, 4)] = np.nan
    boxes[odd == 4, 2] = np.inf
    return boxes.astype(dtype)


@pytest.fixture(params=range(2))
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_box_iou(device: Any, rng: np.random.Generator, kind: Any, dtype: Any) -> None:
    for n, m in ((0, 4), (3, 0), (1, 1), (63, 33), (200, 200)):
        a, b = random_boxes(rng, n, dtype), random_boxes(rng, m, dtype)
        device.poison()
        found = device.numpy(device.ops.box_iou(device.put(a), device.put(b), kind=kind))
        expected = kernels.box_iou(a, b, kind=kind)
        assert found.dtype == dtype
        if kind == "ciou" and device.place == "cuda":  # another arctangent
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)
        if dtype == np.float64:
            oracle = reference.box_iou(a, b, kind=kind)
            sane = np.isfinite(a).all(axis=1)[:, None] & np.isfinite(b).all(axis=1)
            np.testing.assert_allclose(found[sane], oracle[sane], rtol=1e-6, atol=1e-9)
        if n == m:
            each = device.ops.box_iou(device.put(a), device.put(b), kind=kind, elementwise=True)
            np.testing.assert_array_equal(device.numpy(each), np.diagonal(found))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("matrix_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("clip", [None, (200.0, 150.5)])
def test_transform_boxes(
    device: Any, rng: np.random.Generator, dtype: Any, matrix_dtype: Any, rows: int, clip: Any
) -> None:
    matrix = np.array([[0.9, -0.3, 5], [0.4, 1.1, -7], [1e-3, -0.01, 1]], matrix_dtype)[:rows]
    for count in (0, 1, 255, 700):
        boxes = random_boxes(rng, count, dtype)
        device.poison()
        found = device.numpy(device.ops.transform_boxes(device.put(boxes), device.put(matrix), clip))
        np.testing.assert_array_equal(found, kernels.transform_boxes(boxes, matrix, clip))
        assert found.dtype == dtype


@pytest.mark.parametrize("threshold", [0.0, 0.45, 0.7, 1.0])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 700, 4500])
def test_nms(device: Any, rng: np.random.Generator, count: int, threshold: float) -> None:
    boxes = random_boxes(rng, count)
    scores = (rng.integers(0, 60, count) / 60).astype(np.float32)
    scores[rng.integers(0, 9, count) == 0] = np.nan
    scores[rng.integers(0, 30, count) == 0] = -np.inf
    classes = rng.integers(-2, 3, count) * (1 << 40)
    put = device.put
    device.poison()
    single = device.ops.nms(put(boxes), put(scores), threshold)
    several = device.ops.batched_nms(put(boxes), put(scores), put(classes), threshold)
    np.testing.assert_array_equal(device.numpy(single), kernels.nms(boxes, scores, threshold))
    np.testing.assert_array_equal(
        device.numpy(several), kernels.batched_nms(boxes, scores, classes, threshold)
    )


def test_strides_do_not_matter(device: Any) -> None:
    rng = np.random.default_rng(5)
    boxes, scores = random_boxes(rng, 50), rng.uniform(0, 1, 50).astype(np.float32)
    wide = device.put(np.repeat(boxes, 2, axis=0))[::2]
    assert not wide.is_contiguous()
    keep = device.ops.nms(wide, device.put(scores), 0.5)
    np.testing.assert_array_equal(device.numpy(keep), kernels.nms(boxes, scores, 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((3, 5), (3,), 0.5), r"nms: boxes has shape \[3, 5\]; expected \[\*, 4\]"),
        (((3, 4), (2,), 0.5), r"nms: scores has shape \[2\]; expected \[3\]"),
        (((3, 4), (3,), 1.5), "nms: iou_threshold is 1.5; expected a number from 0 to 1"),
    ],
)
def test_refusals(device: Any, arguments: Any, message: str) -> None:
    boxes, scores, threshold = arguments
    with pytest.raises(RuntimeError, match=message):
        device.ops.nms(
            device.put(np.zeros(boxes, np.float32)), device.put(np.zeros(scores, np.float32)), threshold
        )
