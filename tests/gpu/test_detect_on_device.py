"""Detections of a head that lies on a device: those of the same head on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from yolofast.types import Detections

torch = pytest.importorskip("torch")
pytest.importorskip("yolofast.kernels.torch_ops")

from yolofast.evaluate.detect import find_detections, unpadded  # noqa: E402  (after the skips)

LIMITS = {"conf": 0.3, "iou": 0.6, "max_det": 30}


def head(rng: np.random.Generator, images: int) -> Any:
    raw = rng.uniform(0, 1, (images, 7, 90))
    raw[:, :4] *= 100
    if images > 1:
        raw[1, 4:] = 0  # an image without detections among others
    return torch.from_numpy(raw).half()


def assert_equal(found: Sequence[Detections], expected: Sequence[Detections]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        for name in ("boxes", "scores", "classes"):
            got, wanted = getattr(mine, name), getattr(theirs, name)
            np.testing.assert_array_equal(got, wanted, err_msg=name)
            assert (got.dtype, got.base) == (wanted.dtype, None), name


@pytest.mark.parametrize("images", [0, 1, 4])
def test_without_padding(device: Any, images: int) -> None:
    raw = head(np.random.default_rng(images), images)
    padded = device.ops.postprocess(device.put(raw.float()), **LIMITS)
    assert_equal(unpadded(*padded), find_detections(raw, **LIMITS))


@pytest.mark.parametrize("images", [0, 1, 4])
def test_where_the_head_lies(device: Any, images: int) -> None:
    raw = head(np.random.default_rng(images), images)
    assert_equal(find_detections(device.put(raw), **LIMITS), find_detections(raw, **LIMITS))
