"""CVAT, Label Studio, VIA, VoTT and CreateML: units, shapes, classes, what is no box, and what is said."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from support.dataset_files import named_boxes, read_all, write_image, write_json, write_text

from yolofast.errors import DataError


def said(root: Path) -> list[tuple[str, str]]:
    """(code, message) of all findings of a dataset and its images."""
    dataset, _, items = read_all(root)
    return [(f.code, f.message) for f in (*dataset.findings, *(f for i in items for f in i.findings))]


# ---------------------------------------------------------------- CVAT for images


def cvat(root: Path, body: str, *, image: str = 'name="a.jpg" width="100" height="50"') -> Path:
    write_image(root / "images/a.jpg")
    labels = "".join(f"<label><name>{n}</name></label>" for n in ("zebra", "car"))
    part = "<label><name>knee</name><type>points</type><parent>person</parent></label>"
    meta = f"<meta><job><labels>{labels}{part}</labels></job></meta>"
    text = (
        f"<annotations><version>1.1</version>{meta}\n<image id='0' {image}>\n{body}\n</image></annotations>"
    )
    return write_text(root / "annotations.xml", f"<?xml version='1.0' encoding='utf-8'?>\n{text}").parent


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ('<box label="car" xtl="1.5" ytl="2" xbr="30" ybr="40" occluded="1"></box>', [1.5, 2, 30, 40]),
        ('<box label="car" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90"/>', [45, 15, 55, 35]),
        ('<polygon label="car" points="5,5;20.5,10;7,30"/>', [5, 5, 20.5, 30]),
        ('<ellipse label="car" cx="50" cy="25" rx="20" ry="10"/>', [30, 15, 70, 35]),
        ('<ellipse label="car" cx="50" cy="25" rx="20" ry="10" rotation="90.0"/>', [40, 5, 60, 45]),
        ('<mask label="car" rle="2, 3" left="10" top="5" width="4" height="6"/>', [10, 5, 14, 11]),
        (
            '<cuboid label="car" xtl1="10" ytl1="10" xbl1="10" ybl1="30" xtr1="20" ytr1="12" xbr1="20" '
            'ybr1="28" xtl2="15" ytl2="8" xbl2="15" ybl2="26" xtr2="25" ytr2="9" xbr2="25" ybr2="25"/>',
            [10, 8, 25, 30],
        ),
    ],
    ids=["box", "turned", "polygon", "ellipse", "turned-ellipse", "mask", "cuboid"],
)
def test_cvat_shapes(tmp_path: Path, shape: str, box: list[float]) -> None:
    assert named_boxes(cvat(tmp_path, shape)) == [("car", box)]


def test_cvat_classes_are_the_labels_of_the_task_in_their_order(tmp_path: Path) -> None:
    root = cvat(tmp_path, '<box label="car" xtl="1" ytl="2" xbr="30" ybr="40"/>')
    assert read_all(root)[0].names == ("zebra", "car")


def test_cvat_what_is_no_box_has_its_line(tmp_path: Path) -> None:
    body = (
        '<polyline label="car" points="1,1;2,2"/>\n<points label="car" points="1,1"/>\n<tag label="car"/>\n'
        '<skeleton label="person"><points label="knee" points="1,1"/></skeleton>\n'
        '<box label="car" xtl="x" ytl="2" xbr="30" ybr="40"/>\n<box xtl="1" ytl="2" xbr="30" ybr="40"/>\n'
        '<polygon label="car" points="1,1;2"/>'
    )
    root = cvat(tmp_path, body)
    _, _, items = read_all(root)
    found = [(f.line, f.code, f.severity) for i in items for f in i.dropped]
    assert found == [
        (4, "box-shape", "error"),
        (5, "box-shape", "error"),
        (7, "box-shape", "error"),
        (8, "box-columns", "error"),
        (9, "box-class", "error"),
        (10, "box-columns", "error"),
    ]


def test_cvat_tags_are_of_the_image(tmp_path: Path) -> None:
    """An image with a tag alone is background: none of its objects lost a label."""
    root = cvat(tmp_path, '<tag label="car"/>')
    dataset, images, items = read_all(root)
    assert len(images["a.jpg"].record.boxes) == 0  # type: ignore[union-attr]
    assert [item.rows for item in items] == [0]
    assert dataset.evidence[-1] == "1 tags of images skipped: no boxes"


def test_cvat_subsets_folders_and_sizes(tmp_path: Path) -> None:
    for folder in ("Train", "Validation"):
        write_image(tmp_path / f"images/{folder}/a.jpg", seed=folder)
    box = '<box label="x" xtl="1" ytl="2" xbr="30" ybr="40"/>'
    images = "".join(
        f'<image name="a.jpg" subset="{folder}" width="{width}" height="50">{box}</image>'
        for folder, width in (("Train", 100), ("Validation", 64))
    )
    write_text(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    dataset, _, items = read_all(tmp_path)
    assert dataset.splits == ("train", "valid")
    records = [item.record for item in items if item.record]
    assert [(r.path.parent.name, r.split) for r in records] == [("Train", "train"), ("Validation", "valid")]
    (note,) = [f for i in items for f in i.notes]
    assert (note.code, note.line) == ("size-mismatch", 1)  # 64x50 is not the shape of 100x50


def test_cvat_for_video_says_what_to_do(tmp_path: Path) -> None:
    write_image(tmp_path / "frame_000000.png")
    write_text(
        tmp_path / "annotations.xml", "<annotations>\n<track id='0' label='car'></track></annotations>"
    )
    with pytest.raises(DataError, match=r"annotations\.xml:2: error: CVAT for video: .*'CVAT for images'"):
        read_all(tmp_path)


# ---------------------------------------------------------------- Label Studio


def studio_region(value: dict[str, Any], kind: str = "rectanglelabels", **extra: Any) -> dict[str, Any]:
    size = {"original_width": 100, "original_height": 50, "image_rotation": 0}
    return {"id": "x", "type": kind, **size, "value": {"rotation": 0, **value}, **extra}


def studio_rectangle(label: str = "car", **value: Any) -> dict[str, Any]:
    whole = {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": [label]}
    return studio_region(whole | value)


def studio_task(result: Any, image: str = "/data/upload/2/a.jpg", **extra: Any) -> dict[str, Any]:
    annotation = {"id": 7, "was_cancelled": False, "result": result}
    return {"id": 3, "data": {"image": image}, "annotations": [annotation], "predictions": []} | extra


@pytest.mark.parametrize(
    ("region", "box"),
    [
        (studio_rectangle(), [10, 10, 40, 30]),
        (studio_rectangle(x=50, y=20, width=20, height=20, rotation=90), [40, 10, 50, 30]),
        (
            studio_region(
                {"points": [[0, 0], [50, 10], [10, 60]], "polygonlabels": ["car"]}, "polygonlabels"
            ),
            [0, 0, 50, 30],
        ),
        (
            studio_region(
                {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "ellipselabels": ["car"]}, "ellipselabels"
            ),
            [30, 20, 70, 30],
        ),
    ],
    ids=["rectangle", "turned-about-its-corner-in-pixels", "polygon", "ellipse"],
)
def test_label_studio_shapes_are_in_percent(tmp_path: Path, region: dict[str, Any], box: list[float]) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "export.json", [studio_task([region])])
    assert named_boxes(tmp_path) == [("car", box)]


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/3/0a1b2c3d-my%20photo.jpg",
        "/data/local-files/?d=sub/my%20photo.jpg",
        "https://host/bucket/my%20photo.jpg?X-Sig=a%2Fb.png&x=1",
        "s3://bucket/folder/my photo.jpg",
    ],
)
def test_label_studio_urls_name_images(tmp_path: Path, url: str) -> None:
    write_image(tmp_path / "images/my photo.jpg")
    write_json(tmp_path / "export.json", [studio_task([studio_rectangle()], url)])
    assert named_boxes(tmp_path, "my photo.jpg") == [("car", [10, 10, 40, 30])]


def test_label_studio_exported_names_keep_their_prefix(tmp_path: Path) -> None:
    for name in ("0a1b2c3d-a.jpg", "a.jpg"):
        write_image(tmp_path / name)
    write_json(tmp_path / "export.json", [studio_task([studio_rectangle()], "/data/upload/1/0a1b2c3d-a.jpg")])
    assert list(read_all(tmp_path)[1]) == ["0a1b2c3d-a.jpg"]


def test_label_studio_which_annotation_counts(tmp_path: Path) -> None:
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg")

    def annotation(label: str, day: int, **extra: Any) -> dict[str, Any]:
        return {"id": day, "created_at": f"2024-01-{day:02}", "result": [studio_rectangle(label)], **extra}

    tasks = [
        studio_task([], "a.jpg", annotations=[annotation("new", 9), annotation("old", 2)]),
        studio_task(
            [], "b.jpg", annotations=[annotation("new", 9), annotation("true", 2, ground_truth=True)]
        ),
        studio_task([], "c.jpg", annotations=[annotation("gone", 9, was_cancelled=True)]),
        studio_task([], "d.jpg"),
    ]
    write_json(tmp_path / "export.json", tasks)
    dataset, images, items = read_all(tmp_path)
    assert dataset.names == ("new", "true")
    assert {name: len(item.record.boxes) for name, item in images.items() if item.record} == {
        "a.jpg": 1,
        "b.jpg": 1,
        "d.jpg": 0,
    }
    assert [(f.code, f.message) for i in items for f in i.findings] == [
        ("image-repeated", "task 3 has 2 annotations: the newest counts"),
        ("image-repeated", "task 3 has 2 annotations: the ground truth counts"),
        ("image-unlabelled", "no Label Studio json file names this image"),
    ]


def test_label_studio_labels_beside_their_shapes(tmp_path: Path) -> None:
    """A control for the shape and one for its label: two results of one id; choices are of the image."""
    write_image(tmp_path / "a.jpg")
    shape = {"x": 10, "y": 20, "width": 30, "height": 40}
    result = [
        studio_region(shape, "rectangle"),
        studio_region(shape | {"labels": ["car"]}, "labels"),
        {"id": "c", "type": "choices", "value": {"choices": ["outdoor"]}},
        studio_region(shape | {"choices": ["blurred"]}, "choices") | {"id": "d"},
        {"type": "relation", "from_id": "x", "to_id": "y", "direction": "right"},
    ]
    write_json(tmp_path / "export.json", [studio_task(result)])
    assert named_boxes(tmp_path) == [("car", [10, 10, 40, 30])]
    assert said(tmp_path) == []


def test_label_studio_predictions_are_no_labels(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg")
    guess = {
        "id": 2,
        "data": {"image": "b.jpg"},
        "predictions": [{"result": [studio_rectangle()], "score": 0.9}],
    }
    write_json(tmp_path / "export.json", [studio_task([studio_rectangle()]), guess])
    assert list(read_all(tmp_path)[1]) == ["a.jpg"]
    assert [code for code, _ in said(tmp_path)] == ["image-unlabelled"]


def test_label_studio_json_min_and_old_exports(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg")
    flat = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["car"]}
    label = [flat | {"original_width": 100, "original_height": 50}]
    write_json(
        tmp_path / "min.json", [{"id": 1, "image": "/data/upload/a.jpg", "label": label, "annotation_id": 1}]
    )
    old = {"id": 2, "data": {"image": "b.jpg"}, "completions": [{"result": [studio_rectangle("bus")]}]}
    write_json(tmp_path / "old.json", [old])
    assert named_boxes(tmp_path) == [("car", [10, 10, 40, 30])]
    assert named_boxes(tmp_path, "b.jpg") == [("bus", [10, 10, 40, 30])]


@pytest.mark.parametrize(
    ("region", "code", "message"),
    [
        (
            studio_region({"rle": [1], "brushlabels": ["car"]}, "brushlabels"),
            "box-shape",
            "a brush mask is not",
        ),
        (
            studio_region({"x": 1, "y": 1, "width": 1, "keypointlabels": ["car"]}, "keypointlabels"),
            "box-shape",
            "a keypointlabels has no area",
        ),
        (studio_rectangle() | {"image_rotation": 90}, "box-shape", "drawn on the image turned by 90 degrees"),
        (studio_rectangle(x="left"), "box-columns", "{'rotation': 0, 'x': 'left'"),
        (studio_rectangle(x=None), "box-columns", "{'rotation': 0, 'x': None"),
        (studio_region({"x": 1, "y": 1, "width": 5, "height": 5}, "rectangle"), "box-class", "label None"),
        ("car", "box-syntax", "got 'car', expected a region"),
    ],
)
def test_label_studio_what_is_no_box(tmp_path: Path, region: Any, code: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "export.json", [studio_task([studio_rectangle() | {"id": "y"}, region])])
    ((found, text),) = said(tmp_path)
    assert found == code
    assert text.startswith(f"annotation 2: {message}")


# ---------------------------------------------------------------- VIA


def via(root: Path, shapes: list[tuple[dict[str, Any], Any]], *, project: bool = True) -> Path:
    write_image(root / "a.jpg")
    regions = [{"shape_attributes": shape, "region_attributes": attributes} for shape, attributes in shapes]
    entries = {"a.jpg99": {"filename": "a.jpg", "size": 99, "regions": regions, "file_attributes": {}}}
    return write_json(root / "via.json", {"_via_img_metadata": entries} if project else entries).parent


RECT = {"name": "rect", "x": 1, "y": 2, "width": 29, "height": 38}


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (RECT, [1, 2, 30, 40]),
        ({"name": "circle", "cx": 20, "cy": 20, "r": 5}, [15, 15, 25, 25]),
        ({"name": "ellipse", "cx": 50, "cy": 25, "rx": 20, "ry": 10}, [30, 15, 70, 35]),
        ({"name": "ellipse", "cx": 50, "cy": 25, "rx": 20, "ry": 10, "theta": math.pi / 2}, [40, 5, 60, 45]),
        ({"name": "polygon", "all_points_x": [5, 20, 7], "all_points_y": [5, 10, 30]}, [5, 5, 20, 30]),
    ],
)
def test_via_shapes(tmp_path: Path, shape: dict[str, Any], box: list[float]) -> None:
    assert named_boxes(via(tmp_path, [(shape, {"class": "car"})])) == [("car", box)]


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"occluded": "yes", "Class Name": "car"}, "car"),
        ({"vehicle": "car"}, "car"),
        ({"type": {"car": True}}, "car"),
        ({"type": {"car": True, "bus": False}}, "car"),
        ({"label": 3}, "3"),
    ],
)
def test_via_class_is_an_attribute(tmp_path: Path, attributes: dict[str, Any], name: str) -> None:
    root = via(tmp_path, [(RECT, attributes)], project=False)
    assert named_boxes(root) == [(name, [1, 2, 30, 40])]


def test_via_without_attributes_has_one_class(tmp_path: Path) -> None:
    root = via(tmp_path, [(RECT, {})])
    assert named_boxes(root) == [("object", [1, 2, 30, 40])]
    assert said(root) == [("names-missing", "no region has an attribute: all are of one class, 'object'")]


def test_via_attributes_that_could_all_be_the_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="attributes 'colour', 'make': which is the class\\? Rename that one"):
        read_all(via(tmp_path, [(RECT, {"colour": "red", "make": "vw"})]))


def test_via_1_has_its_regions_in_an_object(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    region = {"shape_attributes": RECT, "region_attributes": {"name": "car"}}
    entry = {"fileref": "", "size": 9, "filename": "a.jpg", "base64_img_data": "", "regions": {"0": region}}
    write_json(tmp_path / "via.json", {"a.jpg9": entry})
    assert named_boxes(tmp_path) == [("car", [1, 2, 30, 40])]


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ({"name": "point", "cx": 1, "cy": 1}, "box-shape"),
        ({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}, "box-shape"),
        ({"name": "spline"}, "box-shape"),
        ({"name": "rect", "x": 1}, "box-columns"),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, "box-columns"),
        ({"name": "circle", "cx": 1, "cy": 1, "r": None}, "box-columns"),
        ({}, "box-syntax"),
    ],
)
def test_via_what_is_no_box(tmp_path: Path, shape: dict[str, Any], code: str) -> None:
    root = via(tmp_path, [(RECT, {"class": "car"}), (shape, {"class": "car"}), (RECT, {"class": ""})])
    assert [found for found, _ in said(root)] == [code, "box-class"]


# ---------------------------------------------------------------- VoTT


def vott_asset(name: str, regions: Any, state: int = 2) -> dict[str, Any]:
    asset = {"id": "1f", "name": name, "path": f"file:/C:/x/{name}", "state": state, "type": 1}
    return {"asset": asset | {"size": {"width": 100, "height": 50}}, "regions": regions, "version": "2.2.0"}


def vott_region(*tags: str, **extra: Any) -> dict[str, Any]:
    bounds = {"left": 1, "top": 2, "width": 29, "height": 38}
    return {"id": "r", "type": "RECTANGLE", "tags": list(tags), "boundingBox": bounds} | extra


def test_vott_export(tmp_path: Path) -> None:
    for name in ("a b.jpg", "c.jpg", "d.jpg"):
        write_image(tmp_path / name)
    outline = [{"x": 5, "y": 6}, {"x": 20, "y": 6}, {"x": 20, "y": 30}]
    regions = [
        vott_region("car"),
        vott_region("car", "red", type="POLYGON", boundingBox=None, points=outline),
        vott_region(),
    ]
    assets = {
        "1": vott_asset("a%20b.jpg", regions),
        "2": vott_asset("c.jpg", [], state=1),
        "3": vott_asset("d.jpg", [], state=0),
    }
    tags = [
        {"name": "red", "color": "#f00"},
        {"name": "unused", "color": "#0f0"},
        {"name": "car", "color": "#00f"},
    ]
    write_json(tmp_path / "p-export.json", {"name": "p", "tags": tags, "assets": assets})
    dataset, images, _ = read_all(tmp_path)
    assert dataset.names == ("red", "unused", "car")
    assert list(images) == ["a b.jpg", "c.jpg"]
    assert named_boxes(tmp_path, "a b.jpg") == [
        ("car", [1, 2, 30, 40]),
        ("car", [5, 6, 20, 30]),
        ("red", [5, 6, 20, 30]),
    ]
    assert said(tmp_path) == [
        ("box-class", "annotation 4: label None: expected the name of a class"),
        ("image-unlabelled", "no VoTT json file names this image"),
        ("label-kinds", "2 rows are polygons: they become the upright boxes around them"),
    ]


def test_vott_asset_files_count_where_no_export_does(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name)
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}-asset.json", vott_asset(f"{name}.jpg", [vott_region("car")]))
    assert named_boxes(tmp_path, "b.jpg") == [("car", [1, 2, 30, 40])]
    write_json(tmp_path / "z-export.json", {"assets": {"1": vott_asset("a.jpg", [vott_region("bus")])}})
    assert named_boxes(tmp_path) == [("bus", [1, 2, 30, 40])]
    assert [code for code, _ in said(tmp_path)] == ["image-repeated", "box-no-image"]


# ---------------------------------------------------------------- CreateML


def test_createml_boxes_are_centre_and_size_in_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "train/a.jpg")
    write_image(tmp_path / "valid/b.jpg")
    coordinates = {"x": 15.5, "y": 21, "width": 29, "height": 38}
    bad: list[Any] = [
        {"label": "car", "coordinates": {"x": 1}},
        {"label": "", "coordinates": coordinates},
        {"label": "car"},
        7,
    ]
    first = {"image": "a.jpg", "annotations": [{"label": "car", "coordinates": coordinates}, *bad]}
    second = {"imagefilename": "b.jpg", "annotation": [{"label": "bus", "coordinates": coordinates}]}
    write_json(tmp_path / "train/_annotations.createml.json", [first])
    write_json(tmp_path / "valid/_annotations.createml.json", [second])
    assert named_boxes(tmp_path) == [("car", [1, 2, 30, 40])]
    assert named_boxes(tmp_path, "b.jpg") == [("bus", [1, 2, 30, 40])]
    assert read_all(tmp_path)[0].splits == ("train", "valid")
    assert [code for code, _ in said(tmp_path)] == ["box-columns", "box-class", "box-syntax", "box-syntax"]
