"""The COCO and VOC writers: their exact output, and that no digit is lost."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolofast.errors import DataError
from yolofast.formats.coco.writer import CocoWriter, annotation_lines
from yolofast.formats.numbers import shortest
from yolofast.formats.voc.writer import can_be_listed, check_voc_names, voc_xml
from yolofast.types import ImageRecord

Row = tuple[int, tuple[float, float, float, float]]


def record(rows: list[Row], width: int = 100, height: int = 50) -> ImageRecord:
    return ImageRecord(
        Path("a.jpg"),
        width,
        height,
        np.array([box for _, box in rows], dtype=np.float64).reshape(-1, 4),
        np.array([label for label, _ in rows], dtype=np.int64),
        np.arange(len(rows), dtype=np.int64),
        None,
        None,
    )


ROWS: list[Row] = [(1, (10.0, 5.5, 60.125, 40.0)), (0, (0.0, 0.0, 100.0, 50.0))]


def coco_text(images: dict[str, ImageRecord], names: list[str]) -> str:
    out = io.BytesIO()
    writer = CocoWriter(out, io.BytesIO(), names)
    for name, one in images.items():
        writer.add(name, one)
    writer.finish()
    return out.getvalue().decode("ascii")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(12.0, "12"), (0.0, "0"), (-0.0, "0"), (0.1, "0.1"), (1e-7, "1e-07"), (1 / 3, "0.3333333333333333")],
)
def test_shortest_decimal(value: float, expected: str) -> None:
    assert shortest(value) == expected


def test_coco_file_to_the_letter() -> None:
    assert coco_text({"a.jpg": record(ROWS), "b/ü.jpg": record([], 7, 9)}, ["cat", 'a "dog"']) == (
        '{"info":{"description":"written by yolofast convert"},"licenses":[],\n'
        '"categories":[{"id": 1, "name": "cat"},\n{"id": 2, "name": "a \\"dog\\""}],\n'
        '"images":[{"id":1,"file_name":"a.jpg","width":100,"height":50},\n'
        '{"id":2,"file_name":"b/\\u00fc.jpg","width":7,"height":9}],\n'
        '"annotations":[{"id":1,"image_id":1,"category_id":2,"bbox":[10,5.5,50.125,34.5],'
        '"area":1729.3125,"iscrowd":0,"segmentation":[]},\n'
        '{"id":2,"image_id":1,"category_id":1,"bbox":[0,0,100,50],'
        '"area":5000,"iscrowd":0,"segmentation":[]}]}\n'
    )


@pytest.mark.parametrize("images", [{}, {"a.jpg": record([])}])
def test_coco_without_boxes_is_valid_json(images: dict[str, ImageRecord]) -> None:
    content = json.loads(coco_text(images, ["cat"]))
    assert (len(content["images"]), content["annotations"]) == (len(images), [])


def test_coco_ids_count_over_images() -> None:
    content = json.loads(coco_text({"a": record(ROWS), "b": record([]), "c": record(ROWS)}, ["x", "y"]))
    assert [(a["id"], a["image_id"]) for a in content["annotations"]] == [(1, 1), (2, 1), (3, 3), (4, 3)]


SIDE = st.floats(0, 8192, allow_subnormal=False)


@given(st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), max_size=20))
def test_coco_corners_come_back(corners: list[tuple[float, float, float, float]]) -> None:
    rows: list[Row] = [
        (0, (min(a, c), min(b, d), max(a, c), max(b, d))) for a, b, c, d in corners if a != c and b != d
    ]
    for (_, box), line in zip(rows, annotation_lines(record(rows), 1, 1), strict=True):
        x, y, width, height = map(float, json.loads(line)["bbox"])
        assert (x, y) == box[:2]
        assert width > 0
        assert height > 0
        for got, wanted in ((x + width, box[2]), (y + height, box[3])):
            assert abs(got - wanted) <= np.spacing(wanted)


def test_voc_file_to_the_letter() -> None:
    assert voc_xml(record(ROWS[:1]), "a&b.png", ["cat", '<"ü">'], "L") == (
        "<annotation>\n\t<folder>JPEGImages</folder>\n\t<filename>a&amp;b.png</filename>\n"
        "\t<size>\n\t\t<width>100</width>\n\t\t<height>50</height>\n\t\t<depth>1</depth>\n\t</size>\n"
        "\t<segmented>0</segmented>\n"
        '\t<object>\n\t\t<name>&lt;"ü"&gt;</name>\n\t\t<pose>Unspecified</pose>\n'
        "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n"
        "\t\t<bndbox>\n\t\t\t<xmin>10</xmin>\n\t\t\t<ymin>5.5</ymin>\n"
        "\t\t\t<xmax>60.125</xmax>\n\t\t\t<ymax>40</ymax>\n\t\t</bndbox>\n\t</object>\n"
        "</annotation>\n"
    )


@pytest.mark.parametrize(
    ("mode", "depth"), [("L", "1"), ("LA", "2"), ("RGB", "3"), ("RGBA", "4"), ("P", "3"), ("CMYK", "4")]
)
def test_voc_depth_and_empty_picture(mode: str, depth: str) -> None:
    root = ElementTree.fromstring(voc_xml(record([]), "a.png", [], mode))
    assert root.findtext("size/depth") == depth
    assert root.findall("object") == []


@pytest.mark.parametrize("name", ["a\x01b.jpg", "a\udcffb.jpg", "a\uffffb.jpg"])
def test_voc_file_name_that_xml_cannot_hold(name: str) -> None:
    text = voc_xml(record(ROWS), name, ["x", "line\rbreak"]).encode()
    root = ElementTree.fromstring(text)
    assert root.findtext("filename") == "a?b.jpg"
    assert root.findtext("object/name") == "line\rbreak"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat", ""], "class 1: got the name '', which VOC xml cannot carry"),
        ([" cat"], "class 0: got the name ' cat'"),
        (["c\x00t"], r"class 0: got the name 'c\\x00t'"),
        (["a", "b", "a"], "classes 0 and 2 are both called 'a': VOC tells classes by name alone"),
    ],
)
def test_voc_refuses_class_names(names: list[str], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        check_voc_names(names)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("photo", True),
        ("photo 12", True),
        ("ü b.c", True),
        ("photo 1", False),
        ("photo\t-1", False),
        (" photo", False),
        ("a\nb", False),
        ("a\u2028b", False),
        ("photo.jpg", False),
        ("photo.PNG", False),
    ],
)
def test_voc_lists(stem: str, expected: bool) -> None:
    assert can_be_listed(stem) is expected
