"""LabelMe json: shapes become boxes or are reported; sizes, paths and hostile files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from support.dataset_files import coco_json, read_all, write_image, write_json, write_text
from support.property_tests import examples

from yolofast.errors import DataError
from yolofast.formats.labelme import parser


def shape(kind: str, points: Any, label: Any = "cat") -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}


def content(shapes: Any, image: str = "a.jpg", width: int = 100, height: int = 50) -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": "bm90IGFuIGltYWdl",
        "imageHeight": height,
        "imageWidth": width,
    }


GOOD = shape("rectangle", [[1, 2], [30, 40]])


@pytest.mark.parametrize(
    ("kind", "points", "box"),
    [
        ("rectangle", [[30, 40], [1, 2]], [1, 2, 30, 40]),
        ("rectangle", [[1, 2], [30, 2], [30, 40], [1, 40]], [1, 2, 30, 40]),
        ("polygon", [[5, 5], [20, 10], [7.5, 30]], [5, 5, 20, 30]),
        ("circle", [[20, 20], [23, 24]], [15, 15, 25, 25]),
        ("mask", [[1, 2], [30, 40]], [1, 2, 30, 40]),
        ("rotation", [[10, 0], [20, 10], [10, 20], [0, 10]], [0, 0, 20, 20]),
    ],
)
def test_shapes_become_boxes(tmp_path: Path, kind: str, points: Any, box: list[float]) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content([shape(kind, points)]))
    dataset, images, items = read_all(tmp_path)
    assert (dataset.format, dataset.names) == ("labelme", ("cat",))
    record = images["a.jpg"].record
    assert record is not None
    assert (record.boxes.tolist(), record.lines.tolist()) == ([box], [1])
    assert [f for i in items for f in i.findings] == []


@pytest.mark.parametrize(
    ("bad", "code", "message"),
    [
        (
            shape("point", [[1, 1]]),
            "box-shape",
            "'cat' is a point: it has no area, so no box. Draw a rectangle.",
        ),
        (
            shape("line", [[1, 1], [2, 2]]),
            "box-shape",
            "'cat' is a line: it has no area, so no box. Draw a rectangle.",
        ),
        (
            shape("spline", []),
            "box-shape",
            "'cat': shape 'spline': expected one of rectangle, mask, polygon, rotation, circle",
        ),
        (
            shape("polygon", [[1, 1], [2, 2]]),
            "box-columns",
            "'cat' is a polygon of 2 points, expected 3 or more points",
        ),
        (
            shape("rectangle", [[1, 1], [2, "x"]]),
            "box-columns",
            "'cat' is a rectangle of points that are not pairs of numbers, expected 2 corners or all 4",
        ),
        (
            shape("rectangle", None),
            "box-columns",
            "'cat' is a rectangle of points that are not pairs of numbers",
        ),
        (
            shape("rectangle", [[1, 1], [2, 10**400]]),
            "box-columns",
            "'cat' is a rectangle of points that are not",
        ),
        (
            shape("rectangle", [[1, 1], [2, float("nan")]]),
            "box-nan",
            "'cat' has a point with NaN or infinity, expected numbers",
        ),
        (shape("rectangle", [[1, 1], [2, 2]], label=7), "box-class", "label 7: expected the name of a class"),
        (
            shape("rectangle", [[1, 1], [2, 2]], label=""),
            "box-class",
            "label '': expected the name of a class",
        ),
        ("cat", "box-syntax", "got 'cat', expected an object with 'label' and 'points'"),
        (shape("rectangle", [[1, 1], [200, 2]]), "box-outside", "box (1, 1, 200, 2): reaches 100 px in x"),
    ],
)
def test_shapes_that_are_no_boxes_are_listed(tmp_path: Path, bad: Any, code: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content([GOOD, bad, GOOD | {"points": [[0, 0], [9, 9]]}]))
    _, images, items = read_all(tmp_path)
    assert images["a.jpg"].record.lines.tolist() == [1, 3]  # type: ignore[union-attr]
    (finding,) = [f for i in items for f in i.dropped]
    assert (finding.code, finding.file) == (code, str(tmp_path / "a.json"))
    assert finding.message.startswith(f"annotation 2: {message}")


def test_paths_splits_sizes_and_missing_files(tmp_path: Path) -> None:
    for name in ("train/images/a.jpg", "val/images/b.JPG", "val/images/bare.jpg"):
        write_image(tmp_path / name)
    write_json(tmp_path / "train/json/1.json", content([GOOD], "..\\images\\a.jpg", width=640))
    write_json(tmp_path / "val/json/b.json", content([], "/home/somebody/renamed.jpg"))
    write_json(tmp_path / "val/json/gone.json", content([GOOD, GOOD], "gone.jpg"))
    write_json(tmp_path / "val/json/twice.json", content([GOOD], "b.JPG"))
    dataset, images, items = read_all(tmp_path)
    assert dataset.splits == ("train", "valid")
    assert {n: i.record.split for n, i in images.items() if i.record} == {"a.jpg": "train", "b.JPG": "valid"}
    assert [(Path(f.file or "").name, f.code, f.message) for i in items for f in i.findings] == [
        ("1.json", "size-mismatch", "image 'a.jpg': stated as 640x50, but it is 100x50; the image counts"),
        ("gone.json", "image-missing", "no image 'gone.jpg' for this json"),
        ("gone.json", "box-no-image", "annotation 1: its image 'gone.jpg' is missing"),
        ("gone.json", "box-no-image", "annotation 2: its image 'gone.jpg' is missing"),
        ("twice.json", "image-repeated", "its image 'b.JPG' has labels in val/json/b.json, which count"),
        (
            "twice.json",
            "box-no-image",
            "annotation 1: its image 'b.JPG' has labels in val/json/b.json, which count",
        ),
        ("bare.jpg", "image-unlabelled", "no LabelMe json for this image"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (
            '{"shapes": [], "imagePath": "b.jpg",\n ]}',
            "not valid JSON: Expecting property name enclosed in",
            2,
        ),
        ('{"shapes": {}, "imagePath": "b.jpg"}', "not a LabelMe file: expected 'shapes' to be a list", None),
        ('["shapes", "imagePath"]', "not a LabelMe file: expected 'shapes' to be a list", None),
        ('{"imagePath": "b.jpg", "shapes": ' + "[" * 100_000, "not read: JSON nested too deeply", None),
        ('{"imagePath": "b.jpg", "shapes": [' + "9" * 5000 + "]}", "cannot be read: Exceeds the limit", None),
        ('{"imagePath": "b.jpg", "shapes": ["\udcff"]}', "cannot be read: 'utf-8' codec can't decode", None),
    ],
    ids=["syntax", "shapes-no-list", "list", "deep", "digits", "not-utf8"],
)
def test_files_that_cannot_be_read_are_listed(
    tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg")
    write_json(tmp_path / "a.json", content([GOOD]))
    (tmp_path / "b.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    dataset, images, items = read_all(tmp_path)
    assert (dataset.format, list(images)) == ("labelme", ["a.jpg"])
    (finding,) = [f for i in items for f in i.findings]
    assert (finding.code, finding.file, finding.line) == (
        "image-label-unreadable",
        str(tmp_path / "b.json"),
        line,
    )
    assert finding.message.startswith(message)


def test_size_bound_and_bom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.jpg")
    text = write_json(tmp_path / "a.json", content([GOOD])).read_text()
    (tmp_path / "a.json").write_text(text, encoding="utf-8-sig")
    assert read_all(tmp_path)[0].names == ("cat",)
    monkeypatch.setattr(parser, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"a\.json: error: got \d+ bytes, expected a file of at most 100"):
        read_all(tmp_path)


def test_coco_and_labelme_do_not_confuse_each_other(tmp_path: Path) -> None:
    write_image(tmp_path / "one/a.jpg")
    write_json(tmp_path / "one/instances.json", coco_json({"a.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"}))
    write_json(
        tmp_path / "one/captions.json", {"images": [], "annotations": [{"caption": "shapes imagePath"}]}
    )
    assert read_all(tmp_path / "one")[0].format == "coco"
    write_image(tmp_path / "two/a.jpg")
    write_json(tmp_path / "two/a.json", content([GOOD]))
    write_json(tmp_path / "two/config.json", {"images": 1, "annotations": 2, "categories": 3})
    assert read_all(tmp_path / "two")[0].format == "labelme"


def test_no_shape_that_can_be_a_box(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content([shape("point", [[1, 1]])]))
    write_text(tmp_path / "b.json", '{"shapes": 1, "imagePath": 1}')
    with pytest.raises(
        DataError, match=r"2 LabelMe files contain no shape that can be a box\. The first problem: .*b\.json"
    ):
        read_all(tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.floats(-200, 200) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
shapes = st.one_of(
    values,
    st.fixed_dictionaries(
        {
            "label": st.sampled_from(["cat", "dog", "", None]),
            "shape_type": st.sampled_from(["rectangle", "polygon", "circle", "line", "x", None]),
            "points": st.lists(st.lists(st.floats(-20, 120), min_size=1, max_size=3), max_size=5) | values,
        }
    ),
)


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(shapes, max_size=6), values, values)
def test_every_shape_is_kept_or_listed(tmp_path: Path, items: list[Any], width: Any, path: Any) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content([GOOD, *items], path, width))
    _, images, read = read_all(tmp_path)  # counts the rows of each image
    assert [i.rows for i in read] == [1 + len(items)]
    assert images["a.jpg"].record.lines[0] == 1  # type: ignore[union-attr]


def test_renamed_files_keep_their_own_image(tmp_path: Path) -> None:
    """1.jpg became 2.jpg and so on, each with its json, whose imagePath nobody changed."""
    for new, left in ((1, 10), (2, 20), (3, 30)):
        write_image(tmp_path / f"{new}.jpg")
        box = shape("rectangle", [[left, 10], [50, 40]])
        write_json(tmp_path / f"{new}.json", content([box], f"{new + 1}.jpg"))
    _, images, items = read_all(tmp_path)
    lefts = {name: item.record.boxes[0, 0] for name, item in images.items() if item.record}
    assert lefts == {"1.jpg": 10, "2.jpg": 20, "3.jpg": 30}
    assert not [f for i in items for f in i.findings]


def test_shapes_of_one_group_and_label_are_one_object(tmp_path: Path) -> None:
    """LabelMe's own rule for instances: parts that something hides are drawn apart, with one group_id."""
    parts = [
        shape("polygon", [[5, 5], [10, 5], [10, 20]]) | {"group_id": 1},
        shape("rectangle", [[60, 10], [70, 20]], "dog") | {"group_id": 1},
        shape("rectangle", [[30, 2], [40, 30]]) | {"group_id": 1},
        shape("rectangle", [[50, 2], [55, 30]]) | {"group_id": 2},
        GOOD,
        GOOD | {"points": [[2, 2], [9, 9]]},
    ]
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content(parts))
    dataset, images, items = read_all(tmp_path)
    record = images["a.jpg"].record
    assert record is not None
    names = [dataset.names[i] for i in record.classes]
    assert list(zip(names, record.lines.tolist(), record.boxes.tolist(), strict=True)) == [
        ("cat", 1, [5, 2, 40, 30]),
        ("dog", 2, [60, 10, 70, 20]),
        ("cat", 4, [50, 2, 55, 30]),
        ("cat", 5, [1, 2, 30, 40]),
        ("cat", 6, [2, 2, 9, 9]),
    ]
    assert [(f.code, f.message) for item in items for f in item.findings] == [
        ("shapes-grouped", "shapes 1, 3 are one 'cat' (group_id 1): one box around all")
    ]


def test_rectangles_of_one_group_are_a_warning(tmp_path: Path) -> None:
    """Some tools write one group_id for all shapes; `prepare` says it, as it changes what is taught."""
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "a.json", content([GOOD | {"group_id": 0}] * 2))
    _, _, items = read_all(tmp_path)
    (said,) = [f for item in items for f in item.findings]
    assert (said.severity, said.code) == ("warning", "shapes-grouped")
    assert said.message.endswith("If each rectangle is an object, remove their group_id")


@pytest.mark.parametrize("label", ["__ignore__", "_background_", "__flag__"])
def test_labels_that_the_tool_reserves_are_no_classes(tmp_path: Path, label: str) -> None:
    write_image(tmp_path / "a.jpg")
    shapes_ = [GOOD, GOOD | {"label": label}, shape("point", [[1, 1]], label)]
    write_json(tmp_path / "a.json", content(shapes_))
    dataset, _, items = read_all(tmp_path)
    assert dataset.names == ("cat",)
    assert [(f.severity, f.code) for item in items for f in item.dropped] == [("info", "box-reserved")] * 2
