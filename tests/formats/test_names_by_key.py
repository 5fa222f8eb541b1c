"""Names that differ in spelling only: matched where no exact name is, said once, and never when in doubt."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from urllib.parse import quote

import pytest
from support.dataset_files import (
    Box,
    coco_json,
    codes,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_yolo,
)

from yolofast.formats.name_keys import pair_by_key, same_name
from yolofast.load import YOLODataset
from yolofast.prepare import prepare_dataset

ROW = "0 0.5 0.5 0.1 0.1\n"
BOXES: list[Box] = [("cat", 10, 10, 50, 40)]
NFC = unicodedata.normalize("NFC", "café 헬멧")
NFD = unicodedata.normalize("NFD", NFC)
SPELLINGS = [
    (NFC, NFD),
    (NFD, NFC),
    ("IMG_0", "img_0"),
    ("b c", "b%20c"),
    ("écran", quote("écran")),
    ("Straße", "STRASSE"),
    ("photo", "1a2b3c4d-photo"),
    ("1a2b3c4d-photo", "photo"),
    ("photo", "photo.jpg"),
    ("photo.webp", "photo"),
]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        *((a, b, True) for a, b in SPELLINGS),
        ("a.jpg", "a.jpg?token=x.y&size=2", True),
        ("1a2b3c4d-photo", "5e6f7a8b-photo", False),
        ("20240101-photo", "photo", False),
        ("photo.webp", "photo.jpg", False),
        ("a-1", "a_1", False),
        ("what", "what?", False),
    ],
)
def test_same_name(a: str, b: str, equal: bool) -> None:
    assert same_name(a, b) is same_name(b, a) is equal


def test_pairs_are_the_only_ones_on_both_sides() -> None:
    assert pair_by_key(["A", "b", "é"], ["a", "B", "É"]) == {"A": "a", "b": "B", "é": "É"}
    assert pair_by_key(["A", "a"], ["Ａ", "a%20"]) == {}
    assert pair_by_key(["Img"], ["IMG", "img"]) == {}
    assert pair_by_key(["x", "0f1e2d3c-x"], ["1a2b3c4d-x"]) == {}
    assert pair_by_key(["X", "y"], ["x", "1a2b3c4d-x", "1a2b3c4d-y"]) == {"X": "x", "y": "1a2b3c4d-y"}


@pytest.mark.parametrize(
    "layout", ["images/{}.jpg labels/{}.txt", "{}.jpg {}.txt", "pics/{}.jpg boxes/{}.txt"]
)
@pytest.mark.parametrize(("image", "label"), SPELLINGS)
def test_yolo_labels_of_another_spelling(tmp_path: Path, layout: str, image: str, label: str) -> None:
    image_path, label_path = layout.split()
    write_image(tmp_path / image_path.format(image))
    write_text(tmp_path / label_path.format(label), ROW)
    write_text(tmp_path / "classes.txt", "cat\n")
    _, images, items = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [1]
    assert codes(items) == ["names-matched"]


def test_the_loader_and_prepare_say_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = {f"images/IMG_{i}.JPG": None for i in range(3)} | {"images/x.jpg": ROW}
    root = write_yolo(tmp_path / "set", images, "train: images\nnames: [a]\n")
    for i in range(3):
        write_text(root / "labels" / f"img_{i}.txt", ROW)
    message = (
        "3 names were matched although they differ in case, Unicode form, percent-encoding, export prefix or "
        "suffix, such as 'IMG_0.JPG' and 'img_0.txt'"
    )
    dataset = YOLODataset(root / "data.yaml", "train", imgsz=32)
    assert [len(labels) for labels in dataset.labels] == [1, 1, 1, 1]
    assert [f.message for f in dataset.findings] == [message]
    assert caplog.text.count(message) == 1
    done = prepare_dataset(root)
    assert (sum(done.boxes.values()), done.dropped) == (4, ())
    assert [f.message for f in done.noticed][:2] == ["splits from data.yaml", message]


def test_folders_of_another_spelling(tmp_path: Path) -> None:
    write_image(tmp_path / NFC / "images" / "Cam 1" / "a.jpg")
    write_text(tmp_path / NFC / "LABELS" / "cam 1" / "a.txt", ROW)
    write_text(tmp_path / "data.yaml", f"train: {NFD}/images\nnames: [a]\n")
    _, images, _ = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [1]
    assert len(YOLODataset(tmp_path / "data.yaml", "train", imgsz=32).labels[0]) == 1


def test_an_exact_name_counts_before_a_key(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": ROW, "images/A.jpg": "0 0.5 0.5 0.2 0.2\n", "images/á.jpg": None})
    _, images, items = read_all(tmp_path)
    widths = {name: item.record.boxes[:, 2].round(3).tolist() for name, item in images.items() if item.record}
    assert widths == {"a.jpg": [55], "A.jpg": [60], "á.jpg": []}
    assert codes(items) == []


def test_doubtful_names_are_not_matched(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/IMG.jpg": None, "images/x.jpg": ROW})
    write_text(tmp_path / "labels" / "Img.txt", ROW)
    write_text(tmp_path / "labels" / "img.txt", ROW)
    _, images, items = read_all(tmp_path)
    assert len(images["IMG.jpg"].record.boxes) == 0  # type: ignore[union-attr]
    assert codes(items) == ["box-no-image", "box-no-image", "label-orphan", "label-orphan"]


def test_no_label_elsewhere_where_there_is_a_folder_of_labels(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"images/a.jpg": None, "images/b.jpg": ROW, "more/c.jpg": ROW, "more/d.jpg": None})
    write_text(tmp_path / "old" / "a.txt", ROW)
    write_text(tmp_path / "old" / "d.txt", ROW)
    _, images, _ = read_all(tmp_path)
    boxes = {name: len(item.record.boxes) for name, item in images.items() if item.record}
    assert boxes == {"a.jpg": 0, "b.jpg": 1, "c.jpg": 1, "d.jpg": 0}


def test_with_a_data_yaml_labels_are_where_trainers_look(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"pics/a.jpg": None, "pics/b.jpg": None}, "train: pics\nval: pics\nnames: [a]\n")
    write_text(tmp_path / "boxes" / "a.txt", ROW)
    assert codes(read_all(tmp_path)[2]) == ["box-no-image", "label-orphan"]
    assert [len(rows) for rows in YOLODataset(tmp_path / "data.yaml", "train", imgsz=32).labels] == [0, 0]


@pytest.mark.parametrize("kind", ["coco", "voc", "csv", "labelme"])
@pytest.mark.parametrize(
    ("image", "stated"),
    [
        (NFC, f"{NFD}.jpg"),
        ("IMG_0", "img_0.JPG"),
        ("b c", "b%20c.jpg"),
        ("b c", "https://host.org/a/b%20c.jpg?raw=true"),
        ("b c", "images%2Fb%20c.jpg"),
        ("photo", "1a2b3c4d-photo.jpg"),
        ("photo", "/data/local-files/?d=photo.jpg"),
    ],
)
def test_images_of_another_spelling(tmp_path: Path, kind: str, image: str, stated: str) -> None:
    write_image(tmp_path / "images" / f"{image}.jpg")
    if kind == "coco":
        write_json(tmp_path / "labels.json", coco_json({stated: [(1, [10, 10, 20, 20])]}, {1: "cat"}))
    elif kind == "voc":
        write_text(tmp_path / "xml" / "1.xml", voc_xml(BOXES, filename=stated))
    elif kind == "csv":
        text = f"filename,class,xmin,ymin,xmax,ymax\n{stated},cat,10,10,40,40\n"
        write_text(tmp_path / "labels.csv", text)
    else:
        box = {"label": "cat", "shape_type": "rectangle", "points": [[10, 10], [30, 30]]}
        write_json(tmp_path / "json" / "1.json", {"imagePath": stated, "shapes": [box]})
    _, images, items = read_all(tmp_path)
    assert [len(item.record.boxes) for item in images.values() if item.record] == [1]
    assert codes(items) == ["names-matched"]


def test_labels_of_a_missing_image_are_not_those_of_a_similar_name(tmp_path: Path) -> None:
    for name in ("a", "IMG_1"):
        write_image(tmp_path / "images" / f"{name}.jpg")
    files = {
        "A.jpg": [(1, [1, 1, 20, 20])],
        "a.jpg": [(1, [2, 2, 20, 20])],
        "img_1.jpg": [(1, [3, 3, 20, 20])],
    }
    write_json(tmp_path / "labels.json", coco_json(files, {1: "cat"}))
    _, images, items = read_all(tmp_path)
    lefts = {name: item.record.boxes[:, 0].tolist() for name, item in images.items() if item.record}
    assert lefts == {"a.jpg": [2], "IMG_1.jpg": [3]}
    assert codes(items) == ["box-no-image", "image-missing", "names-matched"]


def test_lists_of_another_spelling(tmp_path: Path) -> None:
    write_yolo(tmp_path, {f"images/{NFC}.jpg": ROW, "images/B.jpg": ROW})
    write_text(tmp_path / "train.txt", f"images/{NFD}.jpg\n")
    write_text(tmp_path / "val.txt", "images/b.JPG\n")
    _, images, items = read_all(tmp_path)
    splits = {name: item.record.split for name, item in images.items() if item.record}
    assert splits == {f"{NFC}.jpg": "train", "B.jpg": "valid"}
    assert codes(items) == ["names-matched"]
