"""PackJobs: pictures in one piece of memory, with a row for each that says where its planes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.loader_cases import COUNT, dataset

from yolofast.kernels.packed_paths import PackedPaths, pack_paths, path_ends
from yolofast.kernels.packed_pictures import PictureColumn
from yolofast.load import YOLODataset
from yolofast.load.execute._engine import Engine, PackJobs, load_picture
from yolofast.load.execute.executor import make_engine
from yolofast.types import SUBSAMPLING_FACTORS, Picture

ALL = np.arange(COUNT)
OFFSETS = (PictureColumn.OFFSET_Y, PictureColumn.OFFSET_CB, PictureColumn.OFFSET_CR)
LUMA = (PictureColumn.STRIDE_Y, PictureColumn.HEIGHT, PictureColumn.WIDTH)
CHROMA = (PictureColumn.STRIDE_C, PictureColumn.HEIGHT_C, PictureColumn.WIDTH_C)


def pack(engine: Engine, images: np.ndarray, size: int) -> PackJobs:
    jobs = PackJobs(images, np.full(size, 0xA5, np.uint8))
    engine.expect(images)
    engine.run(jobs)
    return jobs


def expected(samples: YOLODataset, image: int) -> Picture:
    height, width = samples.shapes[image].tolist()
    return load_picture(samples.paths[image], (height, width), samples.decode_side)


def assert_packed(jobs: PackJobs, row: int, picture: Picture) -> int:
    """Its planes are those of `picture`; returns their bytes."""
    found_row = dict(zip(PictureColumn, jobs.packed.pictures[row].tolist(), strict=True))
    ycc = picture.ycc
    factors = (found_row[PictureColumn.FACTOR_X], found_row[PictureColumn.FACTOR_Y])
    assert factors == SUBSAMPLING_FACTORS[ycc.subsampling]
    offsets = [found_row[column] for column in OFFSETS]
    luma, chroma = (tuple(found_row[column] for column in columns) for columns in (LUMA, CHROMA))
    shapes = [luma, chroma, chroma]
    for plane, offset, (stride, rows, columns) in zip((ycc.y, ycc.cb, ycc.cr), offsets, shapes, strict=True):
        if plane is None:
            assert (offset, stride, rows, columns) == (-1, 0, 0, 0)
            continue
        assert offset % 64 == 0
        assert offset + stride * (rows - 1) + columns <= jobs.used
        found = jobs.packed.planes[offset : offset + stride * rows].reshape(rows, stride)[:, :columns]
        np.testing.assert_array_equal(found, plane)
    np.testing.assert_array_equal(jobs.packed.places[row], picture.place)
    return int(jobs.sizes[row])


def test_pictures_are_those_that_are_loaded_alone(data: Path) -> None:
    samples = dataset(data)
    jobs = pack(make_engine(samples), ALL[::-1], 10**6)
    sizes = [
        assert_packed(jobs, row, expected(samples, image)) for row, image in enumerate(ALL[::-1].tolist())
    ]
    assert jobs.used == sum(sizes)
    assert (jobs.packed.planes[jobs.used :] == 0xA5).all()
    assert set(jobs.seconds()) == {"read", "decode", "pack", "wait"}


def test_a_picture_that_does_not_fit_is_left_and_says_its_size(data: Path) -> None:
    samples = dataset(data)
    engine = make_engine(samples)
    whole = pack(engine, ALL, 10**6)
    few = pack(engine, ALL, int(whole.sizes[:5].sum()) + 63)
    np.testing.assert_array_equal(few.sizes, whole.sizes)
    np.testing.assert_array_equal(few.packed.pictures[:5], whole.packed.pictures[:5])
    left = ALL[few.packed.column(PictureColumn.OFFSET_Y) < 0]
    assert not few.failures()
    assert 0 < len(left) < COUNT
    for image in left.tolist():  # decoded before
        rest = PackJobs(np.array([image]), np.zeros(few.sizes[image], np.uint8))
        engine.run(rest)
        assert rest.seconds()["decode"] == 0
        assert_packed(rest, 0, expected(samples, image))
    assert pack(engine, ALL, 0).used == 0


def test_what_cannot_be_read_is_a_failure(data: Path, tmp_path: Path) -> None:
    samples = dataset(data)
    paths = list(samples.paths)
    paths[4] = str(tmp_path / "gone.jpg")
    raw = pack_paths(paths)
    packed = PackedPaths(np.frombuffer(raw, np.uint8), np.array([0, *path_ends(raw)]))
    jobs = pack(Engine(packed, samples.shapes, samples.decode_side), np.array([3, 4, 5]), 10**6)
    assert [(index, image) for index, image, _ in jobs.failures()] == [(1, 4)]
    assert jobs.packed.pictures[1, PictureColumn.OFFSET_Y] == -1
    assert jobs.sizes[1] == 0
    assert_packed(jobs, 2, expected(samples, 5))


def test_images_and_memory_are_checked(data: Path) -> None:
    engine = make_engine(dataset(data))
    for wrong in ([-1], [COUNT]):
        with pytest.raises(ValueError, match="images"):
            engine.run(PackJobs(np.array(wrong), np.zeros(9, np.uint8)))
    for memory in (np.zeros(9, np.int8), np.zeros((3, 3), np.uint8), np.zeros(9, np.uint8)[::2]):
        with pytest.raises(ValueError, match="expected C-contiguous uint8"):
            PackJobs(np.array([0]), memory)
