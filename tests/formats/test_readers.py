"""The readers: every image and row of each format comes out, or is listed with its place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dataset_files import (
    coco_json,
    image_bytes,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.errors import DataError
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.yolo import iter_yolo_records


def read(root: Path) -> tuple[LabelledDataset, dict[str, ReadImage], list[ReadImage]]:
    """The dataset, its usable images by name, and all that was read."""
    dataset = open_dataset(scan_dataset(root))
    items = list(dataset.read())
    for item in items:
        kept = len(item.record.boxes) if item.record else 0
        assert item.rows == kept + sum(f.code.startswith("box-") for f in item.dropped)
    return dataset, {i.image.name: i for i in items if i.image and i.record}, items


def codes(items: list[ReadImage]) -> list[str]:
    return sorted(f.code for item in items for f in item.findings)


# ---------------------------------------------------------------- YOLO


LAYOUTS = {
    "images and labels, splits inside": ["images/train/a.jpg", "images/val/b.jpg"],
    "splits outside": ["train/images/a.jpg", "valid/images/b.jpg"],
    "labels beside the images": ["train/a.jpg", "val2017/b.jpg"],
}


@pytest.mark.parametrize("names", LAYOUTS.values(), ids=LAYOUTS)
def test_yolo_layouts(tmp_path: Path, names: list[str]) -> None:
    write_yolo(tmp_path, dict.fromkeys(names, "1 0.5 0.5 0.5 0.5\n"))
    write_text(tmp_path / "classes.txt", "cat\ndog\n")
    dataset, images, _ = read(tmp_path)
    assert (dataset.format, dataset.names, dataset.splits) == ("yolo", ("cat", "dog"), ("train", "valid"))
    record = images["b.jpg"].record
    assert record is not None
    assert (record.split, record.width, record.height, record.classes.tolist()) == ("valid", 100, 50, [1])
    np.testing.assert_allclose(record.boxes, [[25, 12.5, 75, 37.5]])


def test_yolo_labels_in_a_folder_of_another_name(tmp_path: Path) -> None:
    write_image(tmp_path / "pictures/a.jpg")
    write_text(tmp_path / "boxes/a.txt", "0 .5 .5 .1 .1")
    assert len(read(tmp_path)[1]["a.jpg"].record.boxes) == 1  # type: ignore[union-attr]


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
    assert read(tmp_path)[0].names == ("cat", "dog")


def test_class_file_with_a_hole_is_refused(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "1 .5 .5 .1 .1"})
    write_text(tmp_path / "classes.txt", "cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes.txt:2: got an empty line"):
        read(tmp_path)


def test_without_names_classes_are_numbered(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "2 .5 .5 .1 .1", "b.jpg": None})
    assert read(tmp_path)[0].names == ("class_0", "class_1", "class_2")


def test_data_yaml_rules_over_class_files_and_lists_the_rest(tmp_path: Path) -> None:
    yaml = "train: a/images\nval: b/images\nnames: [x, y]\n"
    write_yolo(tmp_path, {"a/images/1.jpg": "1 .5 .5 .1 .1", "b/images/2.jpg": "", "c/3.jpg": None}, yaml)
    write_text(tmp_path / "classes.txt", "other\n")
    dataset, images, items = read(tmp_path)
    assert dataset.names == ("x", "y")
    assert [f.code for f in dataset.findings] == ["names-conflict"]
    assert sorted(images) == ["1.jpg", "2.jpg"]
    assert codes(items) == ["image-unlisted"]


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


# ---------------------------------------------------------------- COCO


def test_coco_ids_with_gaps_crowds_and_two_files(tmp_path: Path) -> None:
    write_image(tmp_path / "images/train/sub/a.jpg")
    write_image(tmp_path / "images/val/a.jpg")
    categories = {90: "zebra", 3: "ant", 7: "bee"}
    train = coco_json({"sub/a.jpg": [(90, [10, 10, 20, 20]), (7, [0, 0, 5, 5])]}, categories)
    train["annotations"].append(
        {"id": 9, "image_id": 10, "category_id": 3, "bbox": [1, 1, 9, 9], "iscrowd": 1}
    )
    write_json(tmp_path / "annotations/instances_train2017.json", train)
    write_json(tmp_path / "annotations/instances_val2017.json", coco_json({"a.jpg": []}, categories))
    dataset, _, items = read(tmp_path)
    assert dataset.names == ("ant", "bee", "zebra")
    records = [i.record for i in items if i.record]
    assert [(r.split, r.path.relative_to(tmp_path).as_posix()) for r in records] == [
        ("train", "images/train/sub/a.jpg"),
        ("valid", "images/val/a.jpg"),
    ]
    assert records[0].classes.tolist() == [2, 1]
    np.testing.assert_allclose(records[0].boxes, [[10, 10, 30, 30], [0, 0, 5, 5]])
    crowd = next(f for i in items for f in i.dropped)
    assert (crowd.code, crowd.message[:13]) == ("box-crowd", "annotation 9:")


def test_coco_neighbours_do_not_confuse(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    content = coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"})
    write_json(tmp_path / "instances.json", content)
    persons = coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "person"}, keypoints=[1, 2, 2], num_keypoints=1)
    write_json(tmp_path / "person_keypoints.json", persons)
    write_json(tmp_path / "captions.json", {"images": content["images"], "annotations": [{"caption": "x"}]})
    write_json(tmp_path / "results.json", [{"bbox": [1, 2, 3, 4], "score": 0.5}])
    write_text(tmp_path / "empty.json", "")
    dataset, images, items = read(tmp_path)
    assert (dataset.format, dataset.names, len(items), list(images)) == ("coco", ("cat",), 1, ["a.jpg"])


def test_coco_faults_are_listed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    content = coco_json(
        {
            "a.jpg": [(1, [0, 0, 5, 5]), (2, [0, 0, 5, 5]), (1, [0, 0, 5]), (1, [])],
            "../a/b.jpg": [(1, [0, 0, 5, 5])],
        },
        {1: "cat"},
    )
    content["images"][0]["width"] = 999
    content["annotations"].append({"id": 500, "image_id": 77, "category_id": 1, "bbox": [0, 0, 5, 5]})
    write_json(tmp_path / "c.json", content)
    _, images, items = read(tmp_path)
    assert len(images["a.jpg"].record.boxes) == 1  # type: ignore[union-attr]
    assert Counter(codes(items)) == {
        "box-class": 1,
        "box-columns": 2,
        "box-no-image": 2,
        "image-missing": 1,
        "size-mismatch": 1,
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"categories": []}, "got no category"),
        ({"categories": [{"id": "1", "name": "x"}]}, "expected a whole number 'id'"),
        (
            {"categories": [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]},
            "category id 1 is both 'x' and 'y'",
        ),
        ({"annotations": {}}, "expected 'annotations' to be a list"),
        ({"images": [1]}, "expected 'images' to be a list of objects"),
    ],
)
def test_broken_coco(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(
        tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}) | {"_": "bbox"} | change
    )
    write_text(tmp_path / "c.json", (tmp_path / "c.json").read_text().replace('"_": "bbox"', '"bbox": 0'))
    with pytest.raises(DataError, match=r"c\.json") as caught:
        read(tmp_path)
    assert expected in str(caught.value)


def test_coco_files_that_disagree(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "train.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}))
    write_json(tmp_path / "val.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "dog"}))
    with pytest.raises(DataError, match=r"val\.json: category id 1 is 'dog' here and 'cat' in .*train\.json"):
        read(tmp_path)


# ---------------------------------------------------------------- VOC


def test_voc_splits_names_and_pixel_edges(tmp_path: Path) -> None:
    images = {"a": [("dog", 0, 0, 100, 50)], "b": [("cat", 1, 2, 3, 4)], "c": []}
    lists = {"train": ["a"], "val": ["b 1"], "test": ["c"], "trainval": ["a", "b"], "dog_train": ["a  1"]}
    write_voc(tmp_path, images, lists)
    dataset, images_read, items = read(tmp_path)
    assert (dataset.format, dataset.names) == ("voc", ("cat", "dog"))
    assert dataset.splits == ("train", "valid", "test")
    assert {n: i.record.split for n, i in images_read.items() if i.record} == {
        "a.jpg": "train",
        "b.jpg": "valid",
        "c.jpg": "test",
    }
    assert images_read["a.jpg"].record.boxes.tolist() == [[0, 0, 100, 50]]  # type: ignore[union-attr]
    assert codes(items) == []


def test_voc_trainval_only_without_train_and_val(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)]}, {"trainval": ["a"], "test": ["gone"]})
    _, images, items = read(tmp_path)
    assert images["a.jpg"].record.split == "train"  # type: ignore[union-attr]
    missing = next(f for i in items for f in i.dropped)
    assert (missing.code, Path(missing.file or "").name, missing.line) == ("image-missing", "test.txt", 1)


def test_voc_faults_are_listed_with_lines(tmp_path: Path) -> None:
    good = ("x", 1, 1, 9, 9)
    write_voc(tmp_path, {"a": [good, ("x", 5, 5, 5, 5), ("x", 1, 1, 300, 9)], "odd": [good], "two": [good]})
    annotations = tmp_path / "Annotations"
    write_image(tmp_path / "JPEGImages/nolabel.jpg")
    write_text(annotations / "noimage.xml", voc_xml([good, good]))
    write_text(annotations / "two.xml", voc_xml([good], width=33))
    write_text(annotations / "odd.xml", voc_xml([("x", "one", 1, 2, 2), ("", 1, 1, 2, 2)]))  # type: ignore[list-item]
    write_image(tmp_path / "JPEGImages/renamed.jpg")
    write_text(annotations / "other.xml", voc_xml([good], filename="renamed.jpg"))
    _, images, items = read(tmp_path)
    assert sorted(images) == ["a.jpg", "odd.jpg", "renamed.jpg", "two.jpg"]
    assert [(f.code, f.line) for f in images["a.jpg"].findings] == [("box-empty", 7), ("box-outside", 10)]
    assert [(f.code, f.line) for f in images["two.jpg"].findings] == [("size-mismatch", 3)]
    assert Counter(codes(items)) == {
        "box-class": 1,
        "box-columns": 1,
        "box-empty": 1,
        "box-no-image": 2,
        "box-outside": 1,
        "image-missing": 1,
        "image-unlabelled": 1,
        "size-mismatch": 1,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_voc_doctype_is_refused(tmp_path: Path, encoding: str) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)], "b": []})
    bomb = '<!DOCTYPE a [<!ENTITY x "&#120;">]>\n' + voc_xml([("&x;", 1, 1, 5, 5)])
    (tmp_path / "Annotations/b.xml").write_bytes(bomb.encode(encoding))
    dataset, images, items = read(tmp_path)
    assert dataset.names == ("x",)
    assert list(images) == ["a.jpg"]
    finding = next(f for i in items for f in i.dropped)
    assert (finding.code, finding.line) == ("image-label-unreadable", 1)
    assert "DOCTYPE" in finding.message


@pytest.mark.parametrize("text", ["<annotation><object>", "<a>" * 100, "<html></html>", ""])
def test_voc_broken_xml_is_listed(tmp_path: Path, text: str) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)], "b": []})
    write_text(tmp_path / "Annotations/b.xml", text)
    _, images, items = read(tmp_path)
    assert list(images) == ["a.jpg"]
    assert codes(items) == ["image-label-unreadable"]


# ---------------------------------------------------------------- choice


def test_several_formats_need_a_choice(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "0 .5 .5 .1 .1"})
    write_json(tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}))
    tree = scan_dataset(tmp_path)
    with pytest.raises(DataError, match=r"several formats: yolo \(1 files\), coco \(1 files\)"):
        open_dataset(tree)
    assert open_dataset(tree, "coco").names == ("cat",)
    with pytest.raises(DataError, match="no voc labels here; found: yolo, coco"):
        open_dataset(tree, "voc")
    with pytest.raises(DataError, match="Did you mean 'coco'"):
        open_dataset(tree, "cocoo")


def test_hidden_files_and_odd_names(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"bücher 1.JPG": "0 .5 .5 .1 .1"})
    write_text(tmp_path / "._bücher 1.JPG", "resource fork")
    write_image(tmp_path / "__MACOSX/x.jpg")
    raw = Path(str(tmp_path) + "/b\udcff.jpg")
    raw.write_bytes(image_bytes(100, 50))
    raw.with_suffix(".txt").write_text("0 .5 .5 .2 .2")
    _, images, _ = read(tmp_path)
    assert sorted(images) == ["bücher 1.JPG", "b\udcff.jpg"] or sorted(images) == [
        "b\udcff.jpg",
        "bücher 1.JPG",
    ]
    assert all(len(i.record.boxes) == 1 for i in images.values() if i.record)
