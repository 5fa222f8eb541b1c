"""Pictures that were decoded at a reduced size, or turned, keep the size and place of the whole one."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from yolofast import kernels
from yolofast.errors import ImageError
from yolofast.kernels import decode_jpeg, decode_letterbox, jpeg_info, letterbox
from yolofast.kernels.packed_pictures import pack_pictures
from yolofast.load.plan.plan import plan_batch
from yolofast.types import Letterbox, Picture, Ycc

HEIGHT, WIDTH = 301, 447
"""Odd, so that a reduced picture is a little larger than its share."""
BOX = (60, 90, 180, 210)
"""The red square of the upright picture, xyxy."""


def photo(orientation: int = 1) -> bytes:
    """A gray picture with one red square, HEIGHT x WIDTH when it has been turned by its orientation."""
    upright = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    upright[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (230, 20, 30)
    stored = np.rot90(upright, {1: 0, 3: 2, 6: 1, 8: -1}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(buffer, "JPEG", quality=98, subsampling=0, exif=exif)
    return buffer.getvalue()


def red_box(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the red square of an image [H, W, 3] is, xyxy."""
    red = image[..., 0].astype(int) - image[..., 1] > 100
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("size", [96, (64, 200), 640])
def test_a_letterbox_of_a_reduced_picture_maps_to_the_whole_one(orientation: int, size: Any) -> None:
    data = photo(orientation)
    whole = jpeg_info(data).shape
    assert whole == (HEIGHT, WIDTH)
    target = size if isinstance(size, tuple) else (size, size)
    wanted = Letterbox.fit(whole, target)
    reduced = decode_jpeg(data, min_size=wanted.inner)
    assert (reduced.shape[:2] == whole) == (size == 640)
    image, placed = letterbox(reduced, size)
    assert placed == wanted
    assert letterbox(np.ascontiguousarray(np.array(reduced)), size, source=whole)[1] == wanted
    np.testing.assert_allclose(placed.to_source(red_box(image)), BOX, atol=1.5 / min(1, wanted.scale))
    full, full_placed = letterbox(decode_jpeg(data), size)
    assert full_placed == placed
    assert np.abs(image.astype(int) - full).mean() < 3
    for layout in ("hwc", "chw"):
        made, known = decode_letterbox(data, size, layout=layout, fill=114)
        assert known == placed
        np.testing.assert_array_equal(made if layout == "hwc" else made.transpose(1, 2, 0), image)


@pytest.mark.parametrize("source", [(WIDTH, HEIGHT), (0, 0), (HEIGHT, WIDTH + 40), "wide", (3,), 640])
def test_a_source_that_cannot_be_is_refused(source: Any) -> None:
    reduced = decode_jpeg(photo(), min_size=100)
    height, width = reduced.shape[:2]
    with pytest.raises(ValueError, match=rf"source is .* for an image of {height} x {width}; expected"):
        letterbox(reduced, 64, source=source)


def test_every_reduction_of_a_decoder_is_a_reduction_of_its_source() -> None:
    for sides in [(1, 1), (3, 2), (8, 5), (1, 90), (333, 499), (500, 17)]:
        data = cv2.imencode(".jpg", np.zeros((*sides, 3), np.uint8))[1].tobytes()
        for smallest in range(1, max(sides) + 1, 1 + max(sides) // 12):
            image = np.array(decode_jpeg(data, min_size=smallest))
            assert letterbox(image, 64, source=sides)[1] == Letterbox.fit(sides, (64, 64))


def test_decode_letterbox_refuses_what_its_parts_refuse() -> None:
    data = photo()
    with pytest.raises(ValueError, match="size is 0; expected a side in pixels"):
        decode_letterbox(data, 0)
    with pytest.raises(ValueError, match="fill is 300"):
        decode_letterbox(data, 32, fill=300)
    with pytest.raises(ImageError, match="truncated"):
        decode_letterbox(data[: len(data) // 2], 32)
    with pytest.warns(RuntimeWarning, match="damaged JPEG"):
        decode_letterbox(data[: len(data) // 2], 32, salvage=True)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("smallest", [None, 40, 200])
def test_a_picture_knows_its_size_and_its_place(orientation: int, smallest: int | None) -> None:
    """Rendered, packed or not, it shows what the whole upright picture shows."""
    ycc = decode_jpeg(photo(orientation), layout="ycc", min_size=smallest)
    picture = Picture.of(ycc)
    assert picture.shape == (HEIGHT, WIDTH)
    assert (max(picture.ycc.y.shape) < WIDTH) == (smallest is not None)
    image = np.zeros(1, np.int64)
    plan = plan_batch(image, image, np.array([picture.shape]), (128, 128), None, seed=0, epoch=0)
    shown = kernels.render(plan, [ycc])[0].transpose(1, 2, 0)
    placed = Letterbox.fit(picture.shape, (128, 128))
    np.testing.assert_allclose(placed.to_source(red_box(shown)), BOX, atol=8)
    plain = Ycc(ycc.y, ycc.cb, ycc.cr, ycc.subsampling)  # which says nothing of where it comes from
    packed = pack_pictures([picture, ycc, plain])
    assert packed.shapes.tolist() == [[HEIGHT, WIDTH], [HEIGHT, WIDTH], list(ycc.y.shape)]
    for place in packed.places[:2]:
        np.testing.assert_array_equal(place, picture.place)
    assert packed.select(np.array([2])).shapes.tolist() == [list(ycc.y.shape)]
    assert packed.append_missing(1).shapes.tolist()[3] == [0, 0]


@pytest.mark.parametrize("orientation", [1, 6])
def test_planes_of_a_part_keep_their_place(orientation: int) -> None:
    data = photo(orientation)
    height, width = decode_jpeg(data, layout="ycc").y.shape
    region = (16, 24, width - 8, height - 3)
    part = Picture.of(decode_jpeg(data, layout="ycc", region=region))
    image = np.zeros(1, np.int64)
    plan = plan_batch(image, image, np.array([part.shape]), (HEIGHT, WIDTH), None, seed=0, epoch=0)
    np.testing.assert_allclose(red_box(kernels.render(plan, [part])[0].transpose(1, 2, 0)), BOX, atol=1)
    stored = decode_jpeg(data, layout="ycc", orient=False)
    assert stored.shape == stored.y.shape
    np.testing.assert_array_equal(stored.place, np.eye(2, 3))


def test_who_knows_the_whole_picture() -> None:
    """What is derived from a reduced picture, as long as it has its shape; no part of it, nothing whole."""
    data = photo(6)
    reduced = decode_jpeg(data, min_size=100)
    for alike in (reduced.copy(), reduced[::-1], np.minimum(reduced, 200), reduced):
        assert letterbox(alike, 64)[1].source == (HEIGHT, WIDTH)
    assert letterbox(reduced[:50, :50], 64)[1].source == (50, 50)
    assert letterbox(np.array(reduced), 64)[1].source == reduced.shape[:2]
    for whole in (decode_jpeg(data), decode_jpeg(data, min_size=10_000), decode_jpeg(data, min_size=HEIGHT)):
        assert type(whole) is np.ndarray
    assert type(decode_jpeg(data, min_size=100, region=(0, 0, 20, 30))) is np.ndarray
    assert decode_jpeg(data, min_size=100, out=np.array(reduced)).shape == reduced.shape
    stored = decode_jpeg(data, min_size=100, orient=False)
    assert letterbox(stored, 64)[1].source == (WIDTH, HEIGHT)
    (batched,) = kernels.decode_jpeg_batch([data], min_size=100)
    assert letterbox(batched, 64)[1].source == (HEIGHT, WIDTH)


def test_a_reduced_picture_goes_to_another_process_and_through_other_kernels() -> None:
    reduced = decode_jpeg(photo(6), min_size=100)
    copies = [pickle.loads(pickle.dumps(reduced, protocol)) for protocol in range(2, 6)]
    for alike in (
        *copies,
        copy.deepcopy(reduced),
        kernels.flip(reduced, horizontal=True),
        kernels.hsv_jitter(reduced, 0.1, 1.0, 1.0),
        np.rot90(reduced, 2),
    ):
        assert letterbox(alike, 64)[1].source == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(copies[-1], reduced)
    for part in (reduced[:50], pickle.loads(pickle.dumps(reduced[:50])), kernels.flip(reduced[:50])):
        assert letterbox(part, 64)[1].source == (50, reduced.shape[1])
    plain = np.array(reduced)
    assert letterbox(kernels.flip(reduced, out=plain), 64)[1].source == plain.shape[:2]


def test_a_quarter_turn_swaps_the_sides_of_the_whole_picture() -> None:
    reduced = decode_jpeg(photo(), min_size=100)
    for turned in (np.rot90(reduced), np.rot90(reduced).copy(), reduced.transpose(1, 0, 2)):
        assert letterbox(turned, 64)[1].source == (WIDTH, HEIGHT)
    planar = reduced.transpose(2, 0, 1)
    assert letterbox(planar.transpose(1, 2, 0)[:20], 64)[1].source == (20, reduced.shape[1])


def test_numbers_of_a_reduced_picture_are_plain_numbers() -> None:
    reduced = decode_jpeg(photo(), min_size=100)
    plain = np.array(reduced)
    for name in ("max", "sum", "mean", "argmax", "all"):
        got, wanted = getattr(reduced, name)(), getattr(plain, name)()
        assert type(got) is type(wanted)
        assert {got: name} == {wanted: name}


def test_letterboxing_tensors_of_reduced_pictures() -> None:
    torch = pytest.importorskip("torch")
    files = [photo(), photo(6)]
    reduced = [torch.from_numpy(decode_jpeg(data, min_size=60)) for data in files]
    sources = [jpeg_info(data).shape for data in files]
    images, placed = kernels.letterbox_batch(reduced, 64, sources=sources)
    for number, image in enumerate(reduced):
        expected, one = letterbox(image.numpy(), 64, layout="chw", source=sources[number])
        assert placed[number] == one
        np.testing.assert_array_equal(images[number].numpy(), expected)
    with pytest.raises(ValueError, match="sources has 1 sizes for 2 images"):
        kernels.letterbox_batch(reduced, 64, sources=sources[:1])
    with pytest.raises(ValueError, match=r"source is \(300, 900\) for images\[1\]"):
        kernels.letterbox_batch(reduced, 64, sources=[sources[0], (300, 900)])
