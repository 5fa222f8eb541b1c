"""A user's own format: registered, then analysed and prepared like the built-in ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dataset_files import write_image, write_json, write_text

from yolofast.analyze import analyze_dataset
from yolofast.errors import ConfigError, DataError
from yolofast.formats import (
    FileTree,
    FoundImage,
    LabelledDataset,
    RawRows,
    Reader,
    complete_images,
    register_reader,
)
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import READERS, open_dataset
from yolofast.prepare import prepare_dataset


def find_points(tree: FileTree) -> tuple[Path, ...]:
    return tuple(path for path in tree.texts if path.name.startswith("points_"))


def open_points(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    def find() -> Iterator[FoundImage]:
        for path in files:
            rows = []
            for number, line in enumerate(path.read_text().splitlines(), 1):
                x1, y1, x2, y2 = map(float, line.split())
                rows.append(((x1, y1, x2, y2), 0, number))
            image = path.with_name(path.stem.removeprefix("points_") + ".jpg")
            yield FoundImage(image, None, path, RawRows.collect(rows))

    return LabelledDataset("anything", ("thing",), (), lambda: complete_images(find(), num_classes=1))


@pytest.fixture(autouse=True)
def _registry_is_as_before() -> Iterator[None]:
    before = dict(READERS)
    yield
    READERS.clear()
    READERS.update(before)


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A folder with labels of a format called 'points', which is registered as long as the test lasts."""
    register_reader("points", Reader(find_points, open_points))
    root = tmp_path / "set"
    for name in "abcde":
        write_image(root / f"{name}.jpg")
        write_text(root / f"points_{name}.txt", "10 10 20 20\n0 0 500 500\n")
    return root


def test_own_format_is_analysed_and_prepared(points: Path, tmp_path: Path) -> None:
    info = analyze_dataset(points)
    assert (info.label_format, info.class_names, info.total_boxes) == ("points", ("thing",), 10)
    assert info.format_counts == {"points": 5}
    assert {(f.code, f.line) for f in info.findings} == {("box-outside", 2)}
    assert sum(prepare_dataset(points, tmp_path / "out").boxes.values()) == 5
    chosen = prepare_dataset(points, tmp_path / "out", label_format="points")
    assert (chosen.class_names, chosen.source_boxes, len(chosen.dropped)) == (("thing",), 10, 5)


def test_own_format_is_known_by_name(points: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_dataset(scan_dataset(points), "point")
    assert str(caught.value) == (
        "label_format: got 'point', expected one of yolo, coco, voc, csv, openimages, labelme, cvat, "
        "label_studio, via, vott, createml, visdrone, kitti, dota, lvis, bdd100k, ndjson, points. "
        "Did you mean 'points'?"
    )


def test_class_file_beside_labels_with_names_is_compared(points: Path) -> None:
    write_text(points / "classes.txt", "cat\ndog\n")
    write_json(points / "sub/class_names.json", ["thing", "more"])
    dataset = open_dataset(scan_dataset(points))
    assert [str(f).removeprefix(f"{points}/") for f in dataset.findings] == [
        "classes.txt: warning: names 'cat', 'dog', without 'thing' of the points labels, which count "
        "[names-conflict]"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("yolo", "label format: 'yolo' is taken. Choose another name, or pass replace=True."),
        ("mixed", "label format: got the name 'mixed', expected one word such as 'my_format'."),
        ("two words", "label format: got the name 'two words', expected one word such as 'my_format'."),
    ],
)
def test_names_that_cannot_be(name: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        register_reader(name, Reader(find_points, open_points))
    assert str(caught.value) == message


def test_a_reader_is_replaced_when_asked() -> None:
    reader = Reader(find_points, open_points)
    register_reader("yolo", reader, replace=True)
    assert READERS["yolo"] is reader
