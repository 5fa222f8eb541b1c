"""The packed index: what goes in comes out, whatever the names; and a million images stay small."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.property_tests import examples

from yolofast.load.index import PackedIndex
from yolofast.types import ImageRecord

NAMES = st.one_of(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=30),
    st.binary(min_size=1, max_size=30).map(lambda b: os.fsdecode(b.replace(b"/", b"_").replace(b"\0", b"_"))),
    st.just("long" * 300),
)


def record(path: str, height: int = 40, width: int = 50, classes: list[int] | None = None) -> ImageRecord:
    """A record with one box a class, the i-th at x = i."""
    classes = classes or []
    boxes = np.array([(i, 2, i + 10, 22) for i in range(len(classes))], dtype=np.float64).reshape(-1, 4)
    lines = np.arange(1, len(classes) + 1)
    return ImageRecord(Path(path), width, height, boxes, np.array(classes, np.int64), lines, None, "train")


@given(
    st.lists(st.tuples(NAMES, st.integers(1, 65500), st.lists(st.integers(0, 90), max_size=4)), max_size=12)
)
@examples(100)
def test_everything_comes_out_as_it_went_in(images: list[tuple[str, int, list[int]]]) -> None:
    records = [record(f"folder/{name}", 40, width, classes) for name, width, classes in images]
    for index in (PackedIndex(iter(records)), pickle.loads(pickle.dumps(PackedIndex(records)))):
        assert len(index) == len(index.paths) == len(index.labels) == len(index.shapes) == len(images)
        assert list(index.paths) == [str(each.path) for each in records]
        assert [os.fsencode(path) for path in index.paths] == [os.fsencode(each.path) for each in records]
        assert index.shapes.dtype == np.int32
        assert index.shapes.tolist() == [[40, width] for _, width, _ in images]
        for labels, each in zip(index.labels, records, strict=True):
            assert labels.dtype == np.float32
            assert labels.shape == (len(each.classes), 5)
            np.testing.assert_array_equal(labels[:, 0], each.classes)
            np.testing.assert_allclose(labels[:, 1], (each.boxes[:, 0] + 5) / each.width, rtol=1e-6)
            wanted = np.broadcast_to([0.3, 10 / each.width, 0.5], (len(labels), 3))
            np.testing.assert_allclose(labels[:, 2:], wanted, rtol=1e-6)


def test_single_class_and_classes_that_float32_must_hold() -> None:
    records = [record("a.jpg", classes=[0, 99_999]), record("b.jpg"), record("c.jpg", classes=[7])]
    assert PackedIndex(records).labels.rows[:, 0].tolist() == [0, 99_999, 7]
    assert PackedIndex(records, single_cls=True).labels.rows[:, 0].tolist() == [0, 0, 0]


def test_items_are_counted_from_either_end() -> None:
    index = PackedIndex([record("a.jpg", classes=[1]), record("b.jpg"), record("c.jpg", classes=[3, 4])])
    assert [index.paths[i] for i in (-3, -2, -1)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [index.labels[i][:, 0].tolist() for i in (-3, -2, -1)] == [[1], [], [3, 4]]
    for outside in (3, -4):
        with pytest.raises(IndexError, match=str(outside)):
            index.paths[outside]
        with pytest.raises(IndexError, match=str(outside)):
            index.labels[outside]
    assert "b.jpg" in index.paths
    assert index.paths.index("c.jpg") == 2


def test_bytes_are_those_of_the_facts() -> None:
    names = [f"train/images/{number:012}.jpg" for number in range(1000)]
    index = PackedIndex(record(name, classes=[1, 2, 3]) for name in names)
    assert index.nbytes <= 1001 * (len(names[0]) + 1 + 8 + 8 + 8 + 3 * 20)


MILLION = """
    import gc
    import numpy as np
    from pathlib import Path
    from yolofast.load.index import PackedIndex
    from yolofast.types import ImageRecord

    def memory(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    def records(count):
        boxes = np.array([(1.0, 2, 30, 40), (5, 6, 70, 80), (9, 10, 110, 120)])
        classes = lines = np.arange(3)
        for number in range(count):
            path = Path("/data/coco/train2017/images/%012d.jpg" % number)
            yield ImageRecord(path, 640, 480, boxes, classes, lines, None, "train")

    PackedIndex(records(1000))
    gc.collect()
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    index = PackedIndex(records(1_000_000))
    peak = memory("VmHWM") - before
    gc.collect()
    assert index.paths[999_999] == "/data/coco/train2017/images/000000999999.jpg"
    assert index.labels[999_999].shape == (3, 5)
    print(memory("VmRSS") - before, peak, index.nbytes / 2**20)
"""


@pytest.mark.deep
def test_a_million_images_take_less_than_150_mb() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MILLION)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    resident, peak, counted = map(float, done.stdout.split())
    print(f"a million images: {resident:.0f} MB resident, {peak:.0f} MB at most, {counted:.0f} MB counted")
    assert resident < 150
    assert peak < 250
    assert counted < resident + 1
