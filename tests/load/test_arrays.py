"""`array_batch`: images in memory have, bit for bit, the pixels that PNG files of them have."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolofast.errors import ConfigError
from yolofast.load import array_batch, image_batches

SIDES = st.one_of(st.integers(1, 12), st.integers(1, 200))


def drawn(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    """Noise of all levels, something as smooth as a photograph, or pure colours, whose chroma is extreme."""
    rng = np.random.default_rng(seed)
    if kind == "pure":
        return rng.integers(0, 2, (height, width, 3), np.uint8) * np.uint8(255)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    return noise if kind == "noise" else cv2.GaussianBlur(noise, (0, 0), 3)


def from_files(folder: Path, images: list[np.ndarray], imgsz: int, rect: bool) -> np.ndarray:
    paths = [folder / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), image[:, :, ::-1])

    def refused(path: Path, error: Exception) -> None:
        raise AssertionError(path) from error

    (batch,) = image_batches(paths, imgsz=imgsz, batch_size=len(paths), rect=rect, on_error=refused)
    return np.asarray(batch.images)


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3),
    kind=st.sampled_from(["noise", "smooth", "pure"]),
    imgsz=st.sampled_from([1, 7, 32, 63, 96, 160]),
    rect=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_arrays_have_the_pixels_of_their_png_files(
    tmp_path: Path, shapes: list[tuple[int, int]], kind: str, imgsz: int, rect: bool, seed: int
) -> None:
    images = [drawn(kind, *shape, seed + i) for i, shape in enumerate(shapes)]
    found = array_batch(images, imgsz=imgsz, rect=rect)
    assert found.dtype == np.uint8
    assert np.array_equal(found, from_files(tmp_path, images, imgsz, rect))


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("shape", [(480, 640), (1080, 1921), (1, 3000), (2999, 1)])
def test_large_arrays_have_the_pixels_of_their_png_files(
    tmp_path: Path, shape: tuple[int, int], rect: bool
) -> None:
    image = drawn("noise", *shape, 1)
    assert np.array_equal(
        array_batch([image], imgsz=320, rect=rect), from_files(tmp_path, [image], 320, rect)
    )


def test_views_are_arrays_like_others(tmp_path: Path) -> None:
    whole = drawn("noise", 61, 90, 0)
    whole.flags.writeable = False
    for view in (whole[::2, ::-3], whole.transpose(1, 0, 2), whole[:, :, ::-1]):
        wanted = from_files(tmp_path, [np.ascontiguousarray(view)], 32, False)
        assert np.array_equal(array_batch([view], imgsz=32), wanted)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"uint8 \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"\(4, 4, 4\); expected an array uint8 \[H, W, 3\]"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.broadcast_to(np.zeros(3, np.uint8), (2**15, 2**14, 3)), "268,435,456 pixels"),
        ([[1]], "list"),
    ],
)
def test_a_wrong_array_is_named(image: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        array_batch([image], imgsz=32)  # type: ignore[list-item]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        array_batch([], imgsz=32)
    with pytest.raises(ConfigError, match="imgsz"):
        array_batch([np.zeros((4, 4, 3), np.uint8)], imgsz=0)
