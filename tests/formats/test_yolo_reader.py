"""The YOLO reader: every image and row of a folder is read, or reported with its location."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import codes, read_all, write_image, write_text, write_yolo

from yolofast.errors import DataError
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.formats.yolo.split import iter_yolo_records
from yolofast.types import Finding

LAYOUTS = {
    "images and labels, splits inside": ["images/train/a.jpg", "images/val/b.jpg"],
    "splits outside": ["train/images/a.jpg", "valid/images/b.jpg"],
    "labels next to the images": ["train/a.jpg", "val2017/b.jpg"],
}


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_yolo_layouts(tmp_path: Path, names: list[str]) -> None:
    write_yolo(tmp_path, dict.fromkeys(names, "1 0.5 0.5 0.5 0.5\n"))
    write_text(tmp_path / "classes.txt", "cat\ndog\n")
    dataset, images, _ = read_all(tmp_path)
    assert (dataset.format, dataset.names, dataset.splits) == ("yolo", ("cat", "dog"), ("train", "valid"))
    record = images["b.jpg"].record
    assert record is not None
    assert (record.split, record.width, record.height, record.classes.tolist()) == ("valid", 100, 50, [1])
    np.testing.assert_allclose(record.boxes, [[25, 12.5, 75, 37.5]])


def test_yolo_labels_next_to_images_in_a_folder_called_images(tmp_path: Path) -> None:
    """ultralytics#21224: half of a dataset is laid out like this, and loses its labels without a word."""
    for name in ("some/folder/1", "another/folder/images/2"):
        write_image(tmp_path / f"{name}.jpg")
        write_text(tmp_path / f"{name}.txt", "0 .5 .5 .1 .1")
    data = write_text(tmp_path / "data.yaml", "train: [some, another]\nnames: [a]\n")
    _, images, _ = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [1, 1]
    loaded = iter_yolo_records(read_data_yaml(data), "train")
    assert [len(record.boxes) for record, _ in loaded if record] == [1, 1]


def test_yolo_labels_in_a_folder_of_another_name(tmp_path: Path) -> None:
    write_image(tmp_path / "pictures/a.jpg")
    write_text(tmp_path / "boxes/a.txt", "0 .5 .5 .1 .1")
    assert len(read_all(tmp_path)[1]["a.jpg"].record.boxes) == 1  # type: ignore[union-attr]


def test_yolo_same_stems_pair_by_the_folders_they_share(tmp_path: Path) -> None:
    for folder, row in {"a": "0 .5 .5 .1 .1", "b": "1 .5 .5 .1 .1", "c": "2 .5 .5 .1 .1"}.items():
        write_image(tmp_path / "pics" / folder / "1.jpg")
        write_text(tmp_path / "labels" / folder / "1.txt", row)
        write_image(tmp_path / folder / "shots" / "2.jpg")
        write_text(tmp_path / folder / "boxes" / "2.txt", row)
    _, _, items = read_all(tmp_path)
    classes = {i.record.path.relative_to(tmp_path).as_posix(): i.record.classes for i in items if i.record}
    assert {name: found.tolist() for name, found in classes.items()} == {
        "pics/a/1.jpg": [0],
        "pics/b/1.jpg": [1],
        "pics/c/1.jpg": [2],
        "a/shots/2.jpg": [0],
        "b/shots/2.jpg": [1],
        "c/shots/2.jpg": [2],
    }
    assert codes(items) == []


def test_yolo_background_takes_no_label_of_another_image(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/train/1.jpg": "0 .5 .5 .1 .1", "images/val/1.jpg": None})
    _, _, items = read_all(tmp_path)
    records = {i.record.split: i.record for i in items if i.record}
    assert [len(records[split].boxes) for split in ("train", "valid")] == [1, 0]
    assert records["valid"].label_file is None


@pytest.mark.parametrize("yaml", [None, "train: Images/train\nval: Images/val\nnames: [a]\n"])
def test_yolo_folders_and_suffixes_in_capitals(tmp_path: Path, yaml: str | None) -> None:
    for image in ("Images/train/a.JPG", "Images/val/b.JPG"):
        write_image(tmp_path / image)
        write_text(tmp_path / image.replace("Images", "Labels").replace("JPG", "TXT"), "0 .5 .5 .1 .1")
    if yaml is not None:
        write_text(tmp_path / "data.yaml", yaml)
        found = list(iter_yolo_records(read_data_yaml(tmp_path / "data.yaml"), "train"))
        assert [len(record.boxes) for record, _ in found if record] == [1]
    _, images, items = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [1, 1]
    assert codes(items) == []


@pytest.mark.parametrize("yaml", [None, "train: images\nnames: [a]\n"])
def test_yolo_rows_without_an_image_are_listed(tmp_path: Path, yaml: str | None) -> None:
    write_yolo(tmp_path, {"images/a.jpg": "0 .5 .5 .1 .1"}, yaml)
    write_text(tmp_path / "labels/gone.txt", "0 .5 .5 .1 .1\n0 .5\n0 .5 .5 .2 .2\n")
    write_text(tmp_path / "labels/README.txt", "drawn by hand\n")
    _, _, items = read_all(tmp_path)
    assert sum(item.rows for item in items) == 4
    lost = [(f.code, Path(f.file or "").name, f.line) for i in items for f in i.dropped]
    assert lost == [("box-no-image", "gone.txt", line) for line in (1, 2, 3)]
    assert codes(items).count("label-orphan") == 2


def test_yolo_rows_beside_the_images_without_an_image_are_listed(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "0 .5 .5 .1 .1"})
    write_text(tmp_path / "gone.txt", "0 .5 .5 .1 .1\n")
    write_text(tmp_path / "notes.txt", "drawn by hand\n")
    assert codes(read_all(tmp_path)[2]) == ["box-no-image", "label-orphan"]


def test_yolo_rows_that_two_images_claim_are_listed(tmp_path: Path) -> None:
    for name in ("pics/a/1.jpg", "pics/b/1.jpg", "pics/2.jpg"):
        write_image(tmp_path / name)
    write_text(tmp_path / "boxes/1.txt", "0 .5 .5 .1 .1")
    write_text(tmp_path / "boxes/2.txt", "0 .5 .5 .1 .1")
    assert codes(read_all(tmp_path)[2]) == ["box-no-image", "label-orphan"]


def test_yolo_rows_of_an_image_in_no_split_are_listed(tmp_path: Path) -> None:
    yaml = "train: a/images\nnames: [x]\n"
    write_yolo(tmp_path, {"a/images/1.jpg": "0 .5 .5 .1 .1", "b/images/2.jpg": "0 .5 .5 .1 .1"}, yaml)
    _, _, items = read_all(tmp_path)
    assert sum(item.rows for item in items) == 2
    assert codes(items) == ["box-no-image", "image-unlisted"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: File too large"),
        ("caption\n" * 10_001, "cannot be read: more than 10,000 lines are not objects: not a label file"),
    ],
    ids=["large", "hopeless"],
)
def test_yolo_label_file_that_cannot_be_read_is_listed(
    tmp_path: Path, text: str | None, message: str
) -> None:
    write_yolo(tmp_path, dict.fromkeys(("a.jpg", "b.jpg"), "0 .5 .5 .1 .1"), "train: .\nnames: [x]\n")
    if text is None:
        with (tmp_path / "b.txt").open("ab") as file:
            file.truncate(65 << 20)  # sparse; no label file is that large
    else:
        write_text(tmp_path / "b.txt", text)
    _, images, items = read_all(tmp_path)
    assert list(images) == ["a.jpg"]
    wanted = [Finding("error", "image-label-unreadable", message, str(tmp_path / "b.txt"))]
    assert [f for i in items for f in i.dropped] == wanted
    (_, none), (gone, found) = iter_yolo_records(read_data_yaml(tmp_path / "data.yaml"), "train")
    assert (none, gone, list(found)) == ((), None, wanted)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "cat\ndog\n\n"),
        ("obj.names", "cat\r\ndog"),
        ("label_map.pbtxt", "item {\n id: 1\n name: 'cat'\n}\nitem { name: \"dog\" id: 4 }\n"),
    ],
)
def test_class_files(tmp_path: Path, name: str, text: str) -> None:
    write_yolo(tmp_path, {"a.jpg": "1 .5 .5 .1 .1"})
    write_text(tmp_path / name, text)
    assert read_all(tmp_path)[0].names == ("cat", "dog")


def test_class_file_with_a_hole_is_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "1 .5 .5 .1 .1"})
    write_text(tmp_path / "classes.txt", "cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt:2: got an empty line"):
        read_all(tmp_path)


def test_without_names_classes_are_numbered(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "2 .5 .5 .1 .1", "b.jpg": None})
    assert read_all(tmp_path)[0].names == ("class_0", "class_1", "class_2")


def test_data_yaml_rules_over_class_files_and_lists_the_rest(tmp_path: Path) -> None:
    yaml = "train: a/images\nval: b/images\nnames: [x, y]\n"
    write_yolo(tmp_path, {"a/images/1.jpg": "1 .5 .5 .1 .1", "b/images/2.jpg": "", "c/3.jpg": None}, yaml)
    write_text(tmp_path / "classes.txt", "other\n")
    dataset, images, items = read_all(tmp_path)
    assert dataset.names == ("x", "y")
    assert [f.code for f in dataset.findings] == ["names-conflict"]
    assert sorted(images) == ["1.jpg", "2.jpg"]
    assert codes(items) == ["image-unlisted"]


def test_a_class_id_that_nothing_explains_has_its_place(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "0 .5 .5 .1 .1\n", "b.jpg": "0 .5 .5 .1 .1\n\n10000.0 .5 .5 .1 .1\n"})
    message = "b.txt:3: class id 10000, and nothing names the classes. Fix the row, or add a data.yaml"
    with pytest.raises(DataError, match=message):
        read_all(tmp_path)


def test_a_split_with_numbers_that_overflow(tmp_path: Path) -> None:
    text = "0 .5 .5 1e308 1e308\n0 1e308 .5 1e308 1\n0 .5 .5 .1 .1\n"
    root = write_yolo(tmp_path, {"images/x.jpg": text}, "train: images\nnames: [a]\n")
    ((record, findings),) = iter_yolo_records(read_data_yaml(root / "data.yaml"), "train")
    assert record is not None
    assert record.lines.tolist() == [3]
    assert [(f.code, f.line) for f in findings] == [("box-nan", 1), ("box-nan", 2)]


def test_yolo_rows_polygons_and_faults(tmp_path: Path) -> None:
    rows = [
        "0 0.5 0.5 0.2 0.2",
        "1 0.1 0.1 0.3 0.1 0.3 0.5",
        "0 0.5 0.5 0.2",
        "0 0.5 nan 0.2 0.2",
        "0 0.5 0.5 0.2 zero",
        "7 0.5 0.5 0.2 0.2",
        "0 1.5 0.5 0.2 0.2",
        "0 0.5 0.5 0.0 0.2",
        "0 0.5 0.5 0.2 0.2",
    ]
    yaml = "train: images\nval: images\nnames: [a, b]\n"
    root = write_yolo(tmp_path, {"images/x.jpg": "\r\n".join(rows), "images/empty.jpg": None}, yaml)
    write_text(root / "images/broken.jpg", "not an image")
    write_text(root / "labels/broken.txt", "0 0.5 0.5 0.2 0.2\n")
    found = {}
    for record, findings in iter_yolo_records(read_data_yaml(root / "data.yaml"), "train"):
        name = record.path.name if record else "broken.jpg"
        found[name] = (record, [(f.code, f.line) for f in findings])
    record, findings = found["x.jpg"]
    assert record is not None
    assert record.lines.tolist() == [1, 2]
    np.testing.assert_allclose(record.boxes[1], [10, 5, 30, 25])
    assert findings == [
        ("box-columns", 3),
        ("box-nan", 4),
        ("box-syntax", 5),
        ("box-class", 6),
        ("box-outside", 7),
        ("box-empty", 8),
        ("box-duplicate", 9),
    ]
    background, none = found["empty.jpg"]
    assert background is not None
    assert background.boxes.shape == (0, 4)
    assert none == []
    assert found["broken.jpg"] == (None, [("image-unreadable", None), ("box-no-image", 1)])


def test_jfif_images_are_jpegs(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": "0 .5 .5 .2 .2\n", "images/b.jfif": "0 .5 .5 .2 .2\n"})
    _, images, items = read_all(tmp_path)
    assert {name: len(item.record.boxes) for name, item in images.items() if item.record} == {
        "a.jpg": 1,
        "b.jfif": 1,
    }
    assert [f for i in items for f in i.findings] == []
