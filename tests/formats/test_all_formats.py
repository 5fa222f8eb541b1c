"""What holds for every label format: found by its own reader alone, and read as it was written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from support.dataset_files import read_all
from support.label_writers import (
    LISTS_CLASSES,
    WITHOUT_BACKGROUND,
    WRITERS,
    Corners,
    Made,
    write_example,
    write_made,
)
from support.property_tests import examples

from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import READERS, find_label_files
from yolofast.load import YOLODataset
from yolofast.prepare import prepare_dataset

FORMATS = sorted(WRITERS)
VISDRONE = ("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus")
NAMES = {
    "visdrone": VISDRONE,
    "kitti": ("Car", "Van", "Person_sitting", "日本", "x-y"),
    "dota": ("large-vehicle", "ship", "日本", "x_y"),
}
"""The names that formats allow, where they do not allow any."""
ANY_NAMES = ("cat", "big dog", "<a & b>", "日本", 'say "x"', "ü", "7", "a,b")
STEMS = ("a", "b 1", "ünï", "画像", "x.y", "0001", "img%20", "c+d")
SPLITS = (("",), ("train",), ("train", "valid"), ("train", "valid", "test"))


def test_every_reader_has_a_writer() -> None:
    assert WRITERS.keys() == READERS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_found_by_its_own_reader_alone(tmp_path: Path, name: str) -> None:
    tree = scan_dataset(write_example(tmp_path, name))
    assert list(find_label_files(tree)) == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_is_prepared(tmp_path: Path, name: str) -> None:
    done = prepare_dataset(write_example(tmp_path / "set", name), tmp_path / "out")
    assert {"bus", "car"} <= set(done.class_names)
    assert (done.images["train"], done.images["valid"]) == (2, 1)
    assert (done.boxes["train"], done.boxes["valid"]) == (3, 1)
    assert done.dropped == ()


@st.composite
def _corners(draw: st.DrawFn, size: tuple[int, int]) -> Corners:
    """A box on quarters of a pixel. It reaches beyond 2: boxes within 0..1 are taken for shares."""
    width, height = size[0] * 4, size[1] * 4
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x2, y2 = draw(st.integers(max(x1 + 1, 9), width)), draw(st.integers(max(y1 + 1, 9), height))
    return x1 / 4, y1 / 4, x2 / 4, y2 / 4


@st.composite
def _datasets(draw: st.DrawFn, label_format: str) -> tuple[tuple[str, ...], list[Made]]:
    allowed = NAMES.get(label_format, ANY_NAMES)
    names = tuple(draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=4, unique=True)))
    splits = draw(st.sampled_from(SPLITS))
    images = []
    for stem in draw(st.lists(st.sampled_from(STEMS), min_size=1, max_size=4, unique=True)):
        size = draw(st.sampled_from([(9, 7), (40, 30), (33, 64)]))
        least = 1 if label_format in WITHOUT_BACKGROUND or not images else 0
        rows = st.lists(
            st.tuples(st.sampled_from(names), _corners(size)), min_size=least, max_size=3, unique=True
        )
        images.append(Made(stem, draw(st.sampled_from(splits)), size, tuple(draw(rows))))
    return names, images


@pytest.mark.parametrize("label_format", FORMATS)
@given(data=st.data())
@examples(40, suppress_health_check=[HealthCheck.too_slow])
def test_readers_read_what_is_written(label_format: str, data: st.DataObject) -> None:
    names, images = data.draw(_datasets(label_format))
    with tempfile.TemporaryDirectory() as folder:
        root = write_made(Path(folder) / "set", label_format, names, images)
        dataset, found, items = read_all(root)
        assert dataset.format == label_format
        if label_format in LISTS_CLASSES:
            assert dataset.names == names
        assert set(dataset.splits) == {image.split for image in images} - {""}
        assert {f.code for i in items for f in i.findings} <= {"label-kinds", "names-matched"}
        assert found.keys() == {image.name for image in images}
        for image in images:
            record = found[image.name].record
            assert record is not None
            assert (record.width, record.height) == image.size
            assert [dataset.names[c] for c in record.classes] == [name for name, _ in image.rows]
            expected = np.array([box for _, box in image.rows]).reshape(-1, 4)
            np.testing.assert_allclose(record.boxes, expected, atol=1e-9)
            assert (record.split or "") == image.split


@pytest.mark.parametrize("label_format", FORMATS)
@given(data=st.data())
@examples(10, suppress_health_check=[HealthCheck.too_slow])
def test_the_loader_trains_on_what_was_written(label_format: str, data: st.DataObject) -> None:
    """`prepare`, then the loader: splits, class names and boxes are those of the source."""
    names, images = data.draw(_datasets(label_format))
    has_both = {"train", "valid"} <= {image.split for image in images}
    assume(has_both or sum(image.split in ("train", "") for image in images) > 1)  # else it is refused
    assume(any(image.rows for image in images))
    with tempfile.TemporaryDirectory() as folder:
        done = prepare_dataset(write_made(Path(folder) / "set", label_format, names, images))
        loaded = {}
        for split in (split for split, count in done.images.items() if count):
            dataset = YOLODataset(done.data_yaml, split, imgsz=64)
            for path, rows in zip(dataset.paths, dataset.labels, strict=True):
                loaded[Path(path).name] = (split, dataset.class_names, rows)
        assert loaded.keys() == {image.name for image in images}
        for image in images:
            split, classes, rows = loaded[image.name]
            assert split == image.split or not has_both
            assert [classes[int(row[0])] for row in rows] == [name for name, _ in image.rows]
            corners = np.array([box for _, box in image.rows]).reshape(-1, 4) / (image.size * 2)
            centres = np.hstack([corners[:, :2] + corners[:, 2:], (corners[:, 2:] - corners[:, :2]) * 2]) / 2
            np.testing.assert_allclose(rows[:, 1:], centres, atol=1e-6)
