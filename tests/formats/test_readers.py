"""The COCO and VOC readers, and the choice of one: every image and row is read, or reported with its file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dataset_files import (
    coco_json,
    codes,
    image_bytes,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.errors import ConfigError, DataError
from yolofast.formats.discover import in_path_order, scan_dataset
from yolofast.formats.registry import open_dataset

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
    dataset, _, items = read_all(tmp_path)
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
    segment = {"id": 1, "category_id": 200, "bbox": [0, 0, 5, 5], "iscrowd": 0}
    panoptic = {"image_id": 10, "file_name": "a.png", "segments_info": [segment]}
    write_json(
        tmp_path / "panoptic.json",
        content | {"annotations": [panoptic], "categories": [{"id": 200, "name": "rug"}]},
    )
    write_json(tmp_path / "results.json", [{"bbox": [1, 2, 3, 4], "score": 0.5}])
    write_text(tmp_path / "empty.json", "")
    dataset, images, items = read_all(tmp_path)
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
    _, images, items = read_all(tmp_path)
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
        ({"images": [{"id": [1], "file_name": "a.jpg"}]}, "expected a number or text as 'id'"),
        ({"images": [{"file_name": "a.jpg"}]}, "expected a number or text as 'id'"),
    ],
)
def test_broken_coco(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(
        tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}) | {"_": "bbox"} | change
    )
    write_text(tmp_path / "c.json", (tmp_path / "c.json").read_text().replace('"_": "bbox"', '"bbox": 0'))
    with pytest.raises(DataError, match=r"c\.json") as caught:
        read_all(tmp_path)
    assert expected in str(caught.value)


def test_coco_number_of_5000_digits(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    content = write_json(tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 77])]}, {1: "cat"}))
    write_text(content, content.read_text().replace("77", "7" * 5000))
    _, _, items = read_all(tmp_path)
    assert [f.message for f in items[0].dropped] == [
        "annotation 100: box (0, 0, 5, inf): got NaN or infinity, expected numbers"
    ]


def test_coco_values_of_odd_types_are_listed(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    good: list[float] = [0, 0, 5, 5]
    content = coco_json(
        {"a.jpg": [(1, good), (1, [10**400, -(10**400), 5, 5]), (1, [0, 0, 9, 9])]}, {1: "cat"}
    )
    content["annotations"][1]["id"] = 2**70
    content["annotations"][2]["id"] = -(2**70)
    content["annotations"].append({"id": 7, "image_id": [1], "category_id": 1, "bbox": good})
    write_json(tmp_path / "c.json", content)
    _, images, items = read_all(tmp_path)
    assert images["a.jpg"].record.lines.tolist() == [100, 2]  # type: ignore[union-attr]
    assert [(f.code, f.message.split(":")[0]) for i in items for f in i.dropped] == [
        ("box-nan", "annotation 1"),
        ("box-no-image", "annotation 7"),
    ]


# ---------------------------------------------------------------- VOC


def test_voc_splits_names_and_pixel_edges(tmp_path: Path) -> None:
    images = {"a": [("dog", 0, 0, 100, 50)], "b": [("cat", 1, 2, 3, 4)], "c": []}
    lists = {"train": ["a"], "val": ["b 1"], "test": ["c"], "trainval": ["a", "b"], "dog_train": ["a  1"]}
    write_voc(tmp_path, images, lists)
    dataset, images_read, items = read_all(tmp_path)
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
    lists = {"trainval": ["a", "gone"], "test": ["missing", "too"]}
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)]}, lists)
    dataset, images, items = read_all(tmp_path)
    assert images["a.jpg"].record.split == "train"  # type: ignore[union-attr]
    (missing,) = [f for i in items for f in i.dropped]
    folder = tmp_path / "ImageSets" / "Main"
    assert (missing.code, missing.file, missing.line) == ("image-missing", str(folder / "trainval.txt"), 2)
    assert [(f.code, f.file) for f in dataset.findings] == [("split-list-unused", str(folder / "test.txt"))]


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
    _, images, items = read_all(tmp_path)
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
    dataset, images, items = read_all(tmp_path)
    assert dataset.names == ("x",)
    assert list(images) == ["a.jpg"]
    finding = next(f for i in items for f in i.dropped)
    assert (finding.code, finding.line) == ("image-label-unreadable", 1)
    assert "DOCTYPE" in finding.message


@pytest.mark.parametrize("encoding", ["gbk", "big5", "shift_jis"])
def test_voc_encodings_of_several_bytes(tmp_path: Path, encoding: str) -> None:
    write_voc(tmp_path, {"a": []})
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + voc_xml(
        [("中", 1, 1, 5, 5), ("中", 1, 1, 1, 1)]
    )
    (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
    dataset, _, items = read_all(tmp_path)
    assert dataset.names == ("中",)
    assert [(f.code, f.line) for i in items for f in i.findings] == [("box-empty", 8)]


@pytest.mark.parametrize("encoding", ["foo", "rot13", "hex", "idna", "undefined", "gbk"])
def test_voc_encodings_that_cannot_be_read_are_listed(tmp_path: Path, encoding: str) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)], "b": []})
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + voc_xml([("x" * 99, 1, 1, 5, 5)])
    (tmp_path / "Annotations/b.xml").write_bytes(text.encode() + b"\xff\xff")
    dataset, images, items = read_all(tmp_path)
    assert (dataset.names, list(images)) == (("x",), ["a.jpg"])
    assert codes(items) == ["image-label-unreadable"]


@pytest.mark.parametrize("text", ["<annotation><object>", "<a>" * 100, ""])
def test_voc_broken_xml_is_listed(tmp_path: Path, text: str) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 5, 5)], "b": []})
    write_text(tmp_path / "Annotations/b.xml", text)
    _, images, items = read_all(tmp_path)
    assert list(images) == ["a.jpg"]
    assert codes(items) == ["image-label-unreadable"]


# ---------------------------------------------------------------- choice


def test_several_formats_need_a_choice(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": "0 .5 .5 .1 .1"})
    write_json(tmp_path / "c.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}))
    tree = scan_dataset(tmp_path)
    with pytest.raises(DataError, match=r"several formats: yolo \(1 files\), coco \(1 .*\(--label-format\)"):
        open_dataset(tree)
    assert open_dataset(tree, "coco").names == ("cat",)
    with pytest.raises(DataError, match="no voc labels here; found: yolo, coco"):
        open_dataset(tree, "voc")
    with pytest.raises(ConfigError, match="Did you mean 'coco'"):
        open_dataset(tree, "cocoo")


def test_hidden_files_and_odd_names(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"bücher 1.JPG": "0 .5 .5 .1 .1"})
    write_text(tmp_path / "._bücher 1.JPG", "resource fork")
    write_image(tmp_path / "__MACOSX/x.jpg")
    raw = Path(str(tmp_path) + "/b\udcff.jpg")
    raw.write_bytes(image_bytes(100, 50))
    raw.with_suffix(".txt").write_text("0 .5 .5 .2 .2")
    _, images, _ = read_all(tmp_path)
    assert set(images) == {"bücher 1.JPG", "b\udcff.jpg"}
    assert all(len(i.record.boxes) == 1 for i in images.values() if i.record)


@given(st.lists(st.text(st.sampled_from("a/.-Z é"), min_size=1, max_size=8).map(lambda name: f"/r{name}x")))
def test_path_order_is_that_of_sorted_paths(names: list[str]) -> None:
    clean = [str(Path(name)) for name in names]
    assert in_path_order(clean) == [str(path) for path in sorted(map(Path, clean))]


ODD_ENTRIES = [
    {"image_id": "10", "category_id": 1, "bbox": [0, 0, 5, 5], "id": 1},
    {"image_id": 10.0, "category_id": 1, "bbox": [0, 0, 6, 5], "id": 2},
    {"image_id": 10, "category_id": 1.5, "bbox": [0, 0, 7, 5], "id": 3},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, "8", 5], "id": 4},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, 9], "id": 5},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, 10, 5, 5], "id": 6},
    {"image_id": 10, "category_id": 1, "bbox": None, "id": 7},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, 11, 5], "id": "eight"},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, 12, 5], "iscrowd": True, "id": 9},
    {"image_id": 10, "category_id": 1, "bbox": [0, 0, 13, 5], "iscrowd": 0.0, "id": 10},
    {"image_id": 10, "category_id": 7, "bbox": [0, 0, 14, 5], "id": 11, "x": [{"y": "]}"}]},
    {"image_id": 10, "category_id": True, "bbox": [0, 0, 15, 5], "id": 12},
    {"image_id": [], "category_id": 1, "bbox": [0, 0, 16, 5], "id": 13},
    {},
]


def test_coco_entries_that_are_not_as_usual(tmp_path: Path) -> None:
    """What the native reader does not take is looked at one by one; order and places stay."""
    write_image(tmp_path / "a.jpg")
    content = coco_json({"a.jpg": [(1, [0, 0, 4, 5])], "gone.jpg": []}, {1: "cat"})
    content["images"].append({"id": "10", "file_name": "a.jpg"})
    last = {"image_id": 10, "category_id": 1, "bbox": [0, 0, 17, 5], "id": 20}
    content["annotations"] += [*ODD_ENTRIES, last]
    write_json(tmp_path / "c.json", content)
    _, _, items = read_all(tmp_path)
    assert [item.record.lines.tolist() for item in items if item.record] == [[100, 2, 8, 10, 12, 20, 1]]
    assert [item.record.boxes[:, 2].tolist() for item in items if item.record] == [[4, 6, 11, 13, 15, 17, 5]]
    assert [f.message for item in items for f in item.dropped] == [
        "annotation 3: category id 1.5: not in the file's categories",
        "annotation 4: bbox [0, 0, '8', 5]: expected [x, y, width, height] in pixels",
        "annotation 5: bbox [0, 0, 9]: expected [x, y, width, height] in pixels",
        "annotation 6: bbox [0, 0, 10, 5, 5]: expected [x, y, width, height] in pixels",
        "annotation 7: bbox None: expected [x, y, width, height] in pixels",
        "annotation 9: crowd: the box stands for many objects (one object has iscrowd 0)",
        "annotation 11: category id 7: not in the file's categories",
        "image 'gone.jpg': no such image, or several, below the dataset's folder",
        "annotation 13: its image_id is not in the file's images",
        "annotation 14: its image_id is not in the file's images",
    ]


def test_coco_with_a_byte_order_mark(tmp_path: Path) -> None:
    write_image(tmp_path / "ä.jpg")
    text = json.dumps(coco_json({"ä.jpg": [(1, [0, 0, 5, 5])]}, {1: "Käfer"}), ensure_ascii=False)
    (tmp_path / "c.json").write_bytes(text.encode("utf-8-sig"))
    dataset, images, _ = read_all(tmp_path)
    assert dataset.names == ("Käfer",)
    assert len(images) == 1


def test_voc_lists_may_have_flags_and_names_may_look_like_them(tmp_path: Path) -> None:
    box = [("x", 1.0, 1.0, 5.0, 5.0)]
    write_voc(tmp_path, {"a": box, "photo 1": box}, {"train": ["a  1"], "val": ["photo 1"]})
    _, images, _ = read_all(tmp_path)
    assert {name: item.record.split for name, item in images.items() if item.record} == {
        "a.jpg": "train",
        "photo 1.jpg": "valid",
    }


def test_coco_ids_as_whole_floats(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(7, [10, 10, 20, 20]), (9, [30, 10, 20, 20])]}, {7: "cat", 9: "dog"})
    for entry in content["annotations"]:
        entry.update({key: float(str(entry[key])) for key in ("id", "image_id", "category_id")})
    content["categories"][0]["id"] = 7.0
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content)
    dataset, images, items = read_all(tmp_path)
    record = images["a.jpg"].record
    assert dataset.names == ("cat", "dog")
    assert codes(items) == []
    assert record is not None
    assert record.classes.tolist() == [0, 1]
    assert record.lines.tolist() == [100, 101]


def test_voc_filename_out_of_date_takes_no_other_image(tmp_path: Path) -> None:
    for name in ("b", "c"):
        write_image(tmp_path / f"{name}.jpg")
    for name, left, says in (("a", 10, "b.jpg"), ("b", 20, "b.jpg"), ("x", 30, "c.jpg")):
        write_text(tmp_path / f"{name}.xml", voc_xml([("cat", left, 10, 50, 40)], filename=says))
    _, images, items = read_all(tmp_path)
    lefts = {name: item.record.boxes[:, 0].tolist() for name, item in images.items() if item.record}
    assert lefts == {"b.jpg": [20], "c.jpg": [30]}
    assert [str(f) for i in items for f in i.findings] == [
        f"{tmp_path}/a.xml: error: no image 'a' for this xml [image-missing]",
        f"{tmp_path}/a.xml:4: error: its image 'a' is missing [box-no-image]",
    ]


def test_utf16_labels_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    (tmp_path / "README.txt").write_bytes("holidays\n".encode("utf-16"))
    with pytest.raises(DataError, match="got labels of an unknown format"):
        read_all(tmp_path)
    (tmp_path / "a.txt").write_bytes("0 0.5 0.5 0.1 0.1\n".encode("utf-16"))
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: 'a.txt' is UTF-16 text, which is not read: save such files as UTF-8."
    )
