"""Which split an image is in, and whose labels it gets, where each split numbers its images from 1."""

from __future__ import annotations

from pathlib import Path

from support.dataset_files import (
    Box,
    coco_json,
    codes,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.formats.dataset import ReadImage

BOXES: list[Box] = [("cat", 10, 10, 50, 40)]
OTHER: list[Box] = [("cat", 20, 10, 60, 40)]


def splits(images: dict[str, ReadImage]) -> dict[str, str | None]:
    return {name: item.record.split for name, item in images.items() if item.record}


def lefts(items: list[ReadImage]) -> dict[str, list[float]]:
    """The left edges of each image's boxes, by its folder and name."""
    records = [item.record for item in items if item.record]
    return {"/".join(r.path.parts[-2:]): r.boxes[:, 0].tolist() for r in records}


def test_voc_lists_of_other_tasks_do_not_count(tmp_path: Path) -> None:
    write_voc(tmp_path, dict.fromkeys("abcd", BOXES), {"train": ["a", "b"], "val": ["c", "d"]})
    for task in ("Action", "Layout", "Segmentation"):
        write_text(tmp_path / "ImageSets" / task / "train.txt", "a\n")
        write_text(tmp_path / "ImageSets" / task / "val.txt", "b\n")
    _, images, items = read_all(tmp_path)
    assert splits(images) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "valid", "d.jpg": "valid"}
    assert codes(items) == []


def test_each_voc_devkit_has_its_own_lists(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", dict.fromkeys("ab", BOXES), {"train": ["a"], "val": ["b"]})
    write_voc(tmp_path / "VOC2012", dict.fromkeys("bc", BOXES), {"trainval": ["b"], "test": ["c", "d"]})
    dataset, _, items = read_all(tmp_path)
    found = {(i.image.parts[-3], i.image.stem): i.record.split for i in items if i.image and i.record}
    assert found == {
        ("VOC2007", "a"): "train",
        ("VOC2007", "b"): "valid",
        ("VOC2012", "b"): "train",
        ("VOC2012", "c"): "test",
    }
    assert dataset.splits == ("train", "valid", "test")
    assert [str(f) for i in items for f in i.findings] == [
        f"{tmp_path}/VOC2012/ImageSets/Main/test.txt:2: error: 'd' is listed: no such image, or several, "
        "below the dataset's folder [image-missing]"
    ]


def test_labels_without_a_split_take_that_of_the_image(tmp_path: Path) -> None:
    names = ["images/train/a.jpg", "images/val/b.jpg"]
    for kind in ("coco", "voc"):
        for name in names:
            write_image(tmp_path / kind / name)
    for name in names:
        write_text(tmp_path / "voc" / "xml" / f"{Path(name).stem}.xml", voc_xml(BOXES))
    content = coco_json({name: [(1, [10, 10, 20, 20])] for name in names}, {1: "cat"})
    write_json(tmp_path / "coco" / "instances.json", content)
    for kind in ("coco", "voc"):
        dataset, images, _ = read_all(tmp_path / kind)
        assert dataset.splits == ("train", "valid"), kind
        assert splits(images) == {"a.jpg": "train", "b.jpg": "valid"}, kind


def test_voc_labels_of_a_missing_image_are_not_given_to_another_split(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "2.jpg")
    write_image(tmp_path / "valid" / "1.jpg")
    for name, boxes in {"train/1": BOXES, "train/2": BOXES, "valid/1": OTHER}.items():
        write_text(tmp_path / f"{name}.xml", voc_xml(boxes, filename=f"{name[-1]}.jpg"))
    _, _, items = read_all(tmp_path)
    assert lefts(items) == {"train/2.jpg": [10], "valid/1.jpg": [20]}
    assert codes(items) == ["box-no-image", "image-missing"]


def test_coco_labels_of_a_missing_image_are_not_given_to_another_split(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "2.jpg")
    write_image(tmp_path / "valid" / "1.jpg")
    for split, names, left in (("train", "12", 10), ("valid", "1", 20)):
        content = coco_json({f"{name}.jpg": [(1, [left, 10, 20, 20])] for name in names}, {1: "cat"})
        write_json(tmp_path / split / "_annotations.coco.json", content)
    _, _, items = read_all(tmp_path)
    assert lefts(items) == {"train/2.jpg": [10], "valid/1.jpg": [20]}
    assert codes(items) == ["box-no-image", "image-missing"]


def test_coco_split_by_its_files_alone(tmp_path: Path) -> None:
    for name in ("train2017/1.jpg", "train2017/2.jpg", "val2017/3.jpg"):
        write_image(tmp_path / name)
    for split, name in (("train", "1.jpg"), ("val", "train2017/2.jpg")):  # named with its folder
        content = coco_json({name: [(1, [10, 10, 20, 20])]}, {1: "cat"})
        write_json(tmp_path / "annotations" / f"my_{split}.json", content)
    _, images, items = read_all(tmp_path)
    assert splits(images) == {"1.jpg": "train", "2.jpg": "valid"}
    assert [str(f) for i in items for f in i.findings] == [
        f"{tmp_path}/val2017/3.jpg: warning: no COCO file lists this image (a picture without boxes is an "
        "entry of 'images') [image-unlabelled]"
    ]


def test_yolo_labels_of_a_missing_image_are_not_given_to_another_split(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/images/1.jpg": None, "train/images/2.jpg": "0 0.5 0.5 0.1 0.1\n"})
    write_text(tmp_path / "valid" / "labels" / "1.txt", "0 0.2 0.2 0.1 0.1\n")
    _, _, items = read_all(tmp_path)
    assert lefts(items) == {"images/1.jpg": [], "images/2.jpg": [45]}
    assert codes(items) == ["box-no-image", "label-orphan"]
