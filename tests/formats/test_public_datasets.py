"""VisDrone, KITTI, DOTA, LVIS, BDD100K and NDJSON: units, what is ignored, splits, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import named_boxes, read_all, write_image, write_json, write_text

from yolofast.errors import DataError
from yolofast.formats.visdrone.reader import NAMES


def said(root: Path) -> list[tuple[int | None, str, str]]:
    """(line, severity, code) of all findings about images and rows."""
    return [(f.line, f.severity, f.code) for i in read_all(root)[2] for f in i.findings]


# ---------------------------------------------------------------- VisDrone


def test_visdrone_boxes_and_what_it_ignores(tmp_path: Path) -> None:
    folder = tmp_path / "VisDrone2019-DET-train"
    write_image(folder / "images/a.jpg")
    rows = (
        "1,2,29,38,1,4,0,0\n0,0,50,50,0,0,0,0\n5,5,9,9,0,11,0,1,\n5,5,9,9,1,1,0,1,\n5,5,9,9,1,12,0,0\n1,2\n"
    )
    write_text(folder / "annotations/a.txt", rows)
    assert named_boxes(tmp_path) == [("car", [1, 2, 30, 40]), ("pedestrian", [5, 5, 14, 14])]
    dataset = read_all(tmp_path)[0]
    assert (dataset.names, dataset.splits) == (NAMES, ("train",))
    assert said(tmp_path) == [
        (2, "info", "box-ignored"),
        (3, "info", "box-ignored"),
        (5, "error", "box-class"),
        (6, "error", "box-columns"),
    ]


def test_visdrone_others_that_count_are_a_class(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "a.txt", "1,2,29,38,1,11,0,0\n")
    assert named_boxes(tmp_path) == [("others", [1, 2, 30, 40])]
    assert read_all(tmp_path)[0].names == (*NAMES, "others")


# ---------------------------------------------------------------- KITTI

CAR = "Car 0.00 0 -1.67 1.5 2.00 30.00 40.00 1.38 1.49 3.32 2.41 1.66 34.98 -1.60"
IGNORED = "DontCare -1 -1 -10 5 5 9 9 -1 -1 -1 -1000 -1000 -1000 -10"


def test_kitti_boxes_and_ignored_regions(tmp_path: Path) -> None:
    write_image(tmp_path / "training/image_2/000001.png")
    rows = [CAR, IGNORED, f"{CAR} 0.93", CAR.replace("1.5 2.00", "x 2.00"), "Car 1 2"]
    write_text(tmp_path / "training/label_2/000001.txt", "\n".join(rows) + "\n")
    assert named_boxes(tmp_path, "000001.png") == [("Car", [1.5, 2, 30, 40])]
    assert read_all(tmp_path)[0].names == ("Car",)
    assert said(tmp_path) == [
        (2, "info", "box-ignored"),
        (3, "error", "box-columns"),
        (4, "error", "box-columns"),
        (5, "error", "box-columns"),
    ]


def test_kitti_labels_are_of_the_left_camera(tmp_path: Path) -> None:
    for folder in ("training/image_2", "training/image_3", "testing/image_2"):
        write_image(tmp_path / folder / "000001.png", seed=folder)
    write_text(tmp_path / "training/label_2/000001.txt", f"{CAR}\n")
    _, _, items = read_all(tmp_path)
    (record,) = [item.record for item in items if item.record]
    assert (record.path, record.split) == (tmp_path / "training/image_2/000001.png", "train")
    unlabelled = [i.image.parent.name for i in items if i.image and not i.record]
    assert unlabelled == ["image_2", "image_3"]


# ---------------------------------------------------------------- DOTA


def test_dota_becomes_the_boxes_around_its_quadrilaterals(tmp_path: Path) -> None:
    write_image(tmp_path / "train/images/P1.png")
    write_image(tmp_path / "val/images/P2.png")
    rows = [
        "30 2 60 20.5 35 40 5 20 large-vehicle 1",
        "0 0 9 0 9 9 0 9 ship",
        "1 2 3",
        "0 0 9 0 9 9 0 x ship 0",
    ]
    header = "imagesource:GoogleEarth\ngsd:0.146343590398\n"
    write_text(tmp_path / "train/labelTxt-v1.5/P1.txt", header + "\n".join(rows) + "\n")
    write_text(tmp_path / "val/labelTxt-v1.5/P2.txt", header)
    assert named_boxes(tmp_path, "P1.png") == [("large-vehicle", [5, 2, 60, 40]), ("ship", [0, 0, 9, 9])]
    assert said(tmp_path) == [
        (5, "error", "box-columns"),
        (6, "error", "box-columns"),
        (None, "info", "label-kinds"),
    ]
    assert len(read_all(tmp_path)[1]["P2.png"].record.boxes) == 0  # type: ignore[union-attr]


def test_text_labels_without_an_image_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    write_text(tmp_path / "labelTxt/a.txt", "0 0 9 0 9 9 0 9 ship 0\n")
    write_text(tmp_path / "labelTxt/gone.txt", "0 0 9 0 9 9 0 9 ship 0\n")
    write_text(tmp_path / "labelTxt/README.txt", "Labels of ships.\n")
    (found,) = [i for i in read_all(tmp_path)[2] if i.dropped]
    assert [f.code for f in found.dropped] == ["image-missing", "box-no-image"]
    assert found.dropped[1].file == str(tmp_path / "labelTxt/gone.txt")


# ---------------------------------------------------------------- LVIS


def test_lvis_images_are_named_by_their_url(tmp_path: Path) -> None:
    for folder in ("train2017", "val2017"):
        write_image(tmp_path / folder / "000000000009.jpg", seed=folder)
    image = {"id": 9, "width": 100, "height": 50, "neg_category_ids": [3], "not_exhaustive_category_ids": []}
    images = [image | {"coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg"}]
    box = {"id": 1, "image_id": 9, "category_id": 2, "bbox": [1, 2, 29, 38], "area": 9, "segmentation": []}
    categories = [{"id": 2, "name": "aerosol_can", "synset": "aerosol.n.02", "frequency": "c"}]
    content = {"info": {}, "annotations": [box], "images": images, "categories": categories}
    write_json(tmp_path / "lvis_v1_val.json", content)
    dataset, found, items = read_all(tmp_path)
    assert named_boxes(tmp_path, "000000000009.jpg") == [("aerosol_can", [1, 2, 30, 40])]
    record = found["000000000009.jpg"].record
    assert record is not None
    assert (record.path.parent.name, record.split) == ("train2017", "valid")
    assert dataset.format == "lvis"
    assert "neg_category_ids and not_exhaustive_category_ids are ignored" in dataset.evidence[-1]
    assert [f.code for i in items for f in i.findings] == ["image-unlabelled"]


# ---------------------------------------------------------------- BDD100K


def bdd_label(category: Any, box: Any, **extra: Any) -> dict[str, Any]:
    keys = ("x1", "y1", "x2", "y2")
    return {"id": "1", "category": category, "box2d": dict(zip(keys, box, strict=False)), **extra}


def bdd_labels() -> list[Any]:
    lane = {"id": "2", "category": "lane", "poly2d": [{"vertices": [[1, 2]], "types": "L"}], "box2d": None}
    return [
        bdd_label("traffic light", (1, 2, 30, 40)),
        lane,
        bdd_label("car", (1, 2)),
        bdd_label("", (1, 2, 3, 4)),
        5,
    ]


@pytest.mark.parametrize("form", ["list", "frames", "one file an image"])
def test_bdd100k_forms(tmp_path: Path, form: str) -> None:
    write_image(tmp_path / "100k/val/a.jpg")
    entry = {"name": "a.jpg", "attributes": {"weather": "clear"}, "timestamp": 10000, "labels": bdd_labels()}
    if form == "list":
        write_json(tmp_path / "det_20/det_val.json", [entry])
    elif form == "frames":
        write_json(tmp_path / "labels/det_val.json", {"frames": [entry], "config": None})
    else:
        frame = {"timestamp": 10000, "objects": bdd_labels()}
        write_json(tmp_path / "100k/val/a.json", {"name": "a", "attributes": {}, "frames": [frame]})
    assert named_boxes(tmp_path) == [("traffic light", [1, 2, 30, 40])]
    dataset, _, items = read_all(tmp_path)
    assert dataset.splits == ("valid",)
    assert dataset.evidence[-1] == "1 lanes and areas (poly2d without box2d) skipped: no boxes"
    assert [f.code for i in items for f in i.dropped] == ["box-columns", "box-class", "box-syntax"]


def test_bdd100k_images_without_labels_are_background(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.jpg")
    entries = [
        {"name": "a.jpg", "labels": bdd_labels()[:1]},
        {"name": "b.jpg"},
        {"name": "c.jpg", "labels": None},
    ]
    write_json(tmp_path / "det.json", entries)
    images = read_all(tmp_path)[1]
    assert {name: len(item.record.boxes) for name, item in images.items() if item.record} == {
        "a.jpg": 1,
        "b.jpg": 0,
        "c.jpg": 0,
    }


# ---------------------------------------------------------------- NDJSON

HEAD = {"type": "dataset", "task": "detect", "name": "d", "class_names": {"1": "dog", "0": "cat"}}


def ndjson(root: Path, *records: Any, head: Any = HEAD) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in (head, *records)]
    return write_text(root / "set.ndjson", "\n".join(lines) + "\n").parent


def ndjson_image(file: str, split: str | None = "train", **annotations: Any) -> dict[str, Any]:
    record = {"type": "image", "file": file, "url": f"https://x/{file}", "width": 100, "height": 50}
    return record | ({"split": split} if split else {}) | {"annotations": annotations}


def test_ndjson_boxes_classes_and_splits(tmp_path: Path) -> None:
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg")
    root = ndjson(
        tmp_path,
        ndjson_image("a.jpg", boxes=[[1, 0.155, 0.42, 0.29, 0.76], [0, 0.5, 0.5, 0.2, 0.2]]),
        ndjson_image("b.jpg", "val", segments=[[0, 0.1, 0.1, 0.3, 0.2, 0.2, 0.4]]),
        ndjson_image("c.jpg", "test", pose=[[1, 0.155, 0.42, 0.29, 0.76, 0.1, 0.1, 2]]),
        {"type": "image", "file": "d.jpg", "width": 100, "height": 50, "split": "train"},
    )
    dataset, images, _ = read_all(root)
    assert (dataset.names, dataset.splits) == (("cat", "dog"), ("train", "valid", "test"))
    assert named_boxes(root) == [("dog", [1, 2, 30, 40]), ("cat", [40, 20, 60, 30])]
    assert named_boxes(root, "b.jpg") == [("cat", [10, 5, 30, 20])]
    assert named_boxes(root, "c.jpg") == [("dog", [1, 2, 30, 40])]
    assert len(images["d.jpg"].record.boxes) == 0  # type: ignore[union-attr]
    assert said(root) == [(None, "info", "label-kinds")]


def test_ndjson_names_may_be_a_list(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    root = ndjson(
        tmp_path,
        ndjson_image("a.jpg", boxes=[[1, 0.5, 0.5, 0.2, 0.2]]),
        head=HEAD | {"class_names": ["x", "y"]},
    )
    assert named_boxes(root) == [("y", [40, 20, 60, 30])]


@pytest.mark.parametrize(
    ("record", "code", "message"),
    [
        (
            ndjson_image("b.jpg", boxes=[[5, 0.5, 0.5, 0.1, 0.1]]),
            "box-class",
            "class 5: not in 'class_names'",
        ),
        (
            ndjson_image("b.jpg", boxes=[[0, 0.5]]),
            "box-columns",
            "boxes [0, 0.5]: expected the numbers class, x",
        ),
        (ndjson_image("b.jpg", boxes=["x"]), "box-columns", "boxes 'x': expected"),
        (ndjson_image("b.jpg", segments=[[0, 0.1, 0.1, 0.2, 0.2]]), "box-columns", "segments [0, 0.1"),
        (ndjson_image("b.jpg", boxes=7), "image-label-unreadable", "'boxes': got 7, expected a list"),
        (
            ndjson_image("b.jpg", classification=[1]),
            "image-label-unreadable",
            "'annotations': got 'classification'",
        ),
        (ndjson_image("b.jpg") | {"split": 3}, "image-label-unreadable", "'split': got 3, expected a text"),
        ('{"type": "image", "file"', "image-label-unreadable", "not valid JSON: Expecting ':' delimiter"),
        ("[" * 100_000, "image-label-unreadable", "not valid JSON: maximum recursion depth"),
        ({"type": "video"}, "image-label-unreadable", "'type': got 'video', expected 'image'"),
        (7, "image-label-unreadable", "the line: got 7, expected an object"),
    ],
)
def test_ndjson_lines_that_are_wrong(tmp_path: Path, record: Any, code: str, message: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name)
    root = ndjson(tmp_path, ndjson_image("a.jpg", boxes=[[0, 0.5, 0.5, 0.2, 0.2]]), record)
    _, images, items = read_all(root)
    assert len(images["a.jpg"].record.boxes) == 1  # type: ignore[union-attr]
    (finding,) = [f for i in items for f in i.findings if f.line == 3]
    assert finding.code == code
    assert finding.message.startswith(message)


def test_ndjson_without_names_of_classes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    root = ndjson(tmp_path, head=HEAD | {"class_names": {"x": "cat"}})
    with pytest.raises(DataError, match=r"set\.ndjson:1: error: 'class_names': got the id 'x'"):
        read_all(root)


def test_notes_before_and_behind_a_subfolder_hide_no_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "z.jpg")
    write_text(tmp_path / "README.txt", "The labels of one image.\n")
    write_text(tmp_path / "more/notes.txt", "Nothing here.\n")
    write_text(tmp_path / "z.txt", f"{CAR}\n")
    assert named_boxes(tmp_path, "z.jpg") == [("Car", [1.5, 2, 30, 40])]
