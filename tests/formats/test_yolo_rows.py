"""YOLO rows that are not plain boxes: polygons, corners, keypoints, predictions, other tools' lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import read_all, write_image, write_text, write_yolo

from yolofast.analyze import analyze_dataset
from yolofast.errors import DataError

YAML = "train: images\nnames: [a]\n"
BOX = "0 .5 .5 .2 .2"
POLYGON = "0 .1 .1 .3 .1 .3 .5"
CORNERS = "0 .1 .1 .4 .1 .4 .5 .1 .5"
KEYPOINTS = "0 .5 .5 .2 .2" + " .5 .5 2" * 4


def test_kinds_of_rows_are_counted_in_the_evidence(tmp_path: Path) -> None:
    write_yolo(
        tmp_path, {"images/a.jpg": "\n".join([BOX, POLYGON, CORNERS]), "images/b.jpg": KEYPOINTS}, YAML
    )
    info = analyze_dataset(tmp_path)
    assert info.class_counts == {"a": 4}
    assert info.findings == ()
    assert info.evidence[-4:-1] == (
        "1 of 4 rows are polygons: they become the boxes around them",
        "1 of 4 rows are four points (oriented boxes or polygons, which look the same): they become "
        "the upright "
        "boxes around them",
        "1 of 4 rows are boxes with keypoints: the boxes are taken",
    )


def test_kpt_shape_says_how_keypoints_stand(tmp_path: Path) -> None:
    rows = f"{BOX} .1 .1 .2 .2\n{BOX}\n{POLYGON}\n"
    write_yolo(tmp_path, {"images/a.jpg": rows}, YAML + "kpt_shape: [2, 2]\n")
    _, images, items = read_all(tmp_path)
    assert images["a.jpg"].record.boxes.tolist() == [[40, 20, 60, 30]]  # type: ignore[union-attr]
    assert [(f.code, f.line, f.message) for i in items for f in i.findings] == [
        (
            "box-columns",
            3,
            f"'{POLYGON}': expected 5 numbers (class x y w h), a polygon of 3 or more points, or "
            f"keypoints as "
            "kpt_shape says",
        ),
        ("box-duplicate", 2, "box (40, 20, 60, 30) of class 0: an exact repeat"),
        ("label-kinds", None, "1 of 2 rows are boxes with keypoints: the boxes are taken"),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[17]", "data.yaml:3: kpt_shape: got [17], expected [keypoints, 2 or 3], such as [17, 3]."),
        ("17", "data.yaml:3: kpt_shape: got 17, expected [keypoints, 2 or 3], such as [17, 3]."),
        ("[17, 4]", "data.yaml:3: kpt_shape: got [17, 4], expected [keypoints, 2 or 3], such as [17, 3]."),
        ("[x, 3]", "data.yaml:3: kpt_shape: got 'x', expected a whole number."),
        ("{a: 1}", "data.yaml:3: kpt_shape: got a list or mapping, expected one value."),
    ],
)
def test_kpt_shape_that_is_wrong(tmp_path: Path, value: str, message: str) -> None:
    write_yolo(tmp_path, {"images/a.jpg": BOX}, f"{YAML}kpt_shape: {value}\n")
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value) == f"{tmp_path}/{message}"


DOTA = "2753 2408 2861 2385 2888 2468 2805.5 2502 small-vehicle 0"
KITTI = "Car 0.00 0 -1.67 642.24 178.50 680.14 208.68 1.38 1.49 3.32 2.41 1.66 34.98 -1.60"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            f"{BOX} .93",
            "6 numbers are a box with a confidence: a prediction, no label. Remove the last column",
        ),
        (
            DOTA,
            "a DOTA line (4 corners in pixels, class name, difficulty) among YOLO rows. Keep DOTA files in a "
            "folder of their own: they are read too",
        ),
        (
            KITTI,
            "a KITTI line (type, truncated, occluded, alpha, left, top, right, bottom, ...) among YOLO rows. "
            "Keep KITTI files in a folder of their own: they are read too",
        ),
        ("person .5 .5 .2 .2", "a field is not a number"),
        ("0;.5;.5;.2;.2", "a field is not a number"),
    ],
)
def test_rows_of_other_tools_say_what_they_are(tmp_path: Path, row: str, message: str) -> None:
    write_yolo(tmp_path, {"images/a.jpg": f"{BOX}\n{row}\n"}, YAML)
    _, images, items = read_all(tmp_path)
    assert len(images["a.jpg"].record.boxes) == 1  # type: ignore[union-attr]
    (finding,) = [f for i in items for f in i.findings]
    assert (finding.line, finding.message) == (2, f"'{row[:80]}': {message}")


def test_a_folder_of_captions_is_explained(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    write_text(tmp_path / "captions.json", '{"images": [], "annotations": [{"caption": "x"}]}')
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    message = f"{tmp_path}: got labels of an unknown format: 'captions.json' is captions without boxes"
    assert str(caught.value).startswith(message)
    assert "Expected YOLO .txt next to the images" in str(caught.value)
