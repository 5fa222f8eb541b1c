"""CSV labels as contests and tools write them: boxes as sizes, in one column, or without a header."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import read_all, write_image, write_text

from yolofast.errors import DataError

BOX = [1.0, 2.0, 30.0, 40.0]


def read_one(root: Path, text: str) -> tuple[dict[str, list[list[float]]], tuple[str, ...], list[str]]:
    """Boxes by image, class names, and the codes of all findings."""
    write_text(root / "train.csv", text)
    dataset, images, items = read_all(root)
    boxes = {name: item.record.boxes.round(6).tolist() for name, item in images.items() if item.record}
    found = [*dataset.findings, *(f for item in items for f in item.findings)]
    return boxes, dataset.names, [f.code for f in found]


@pytest.mark.parametrize(
    "text",
    [
        "image_id,x,y,width,height,class\na.jpg,1,2,29,38,cat\n",
        "filename,class,bbox_x,bbox_y,bbox_width,bbox_height,image_width,image_height\na.jpg,cat,1,2,29,38,100,50\n",
        "image_name,label_name,x1,y1,w,h\na,cat,1,2,29,38\n",
        "image,x_center,y_center,width,height,label\na.jpg,15.5,21,29,38,cat\n",
        'image_id,width,height,bbox,label\na,100,50,"[1.0, 2.0, 29.0, 38.0]",cat\n',
        "image_id,bbox,label\na,1 2 29 38,cat\n",
        'image_id,bbox,label\na,"(1, 2, 29, 38)",cat\n',
        "a.jpg,1,2,30,40,cat,100,50\n",
        "cat,1,2,29,38,a.jpg,100,50\n",
        "TRAIN,gs://bucket/a.jpg,cat,0.01,0.04,,,0.30,0.80,,\n",
        "image,x,y,width,height,class_id\na.jpg,0.01,0.04,0.29,0.76,cat\n",
    ],
    ids=[
        "size", "size-of-image-too", "corner-and-w-h", "centre", "cell", "cell-spaces", "cell-tuple",
        "sku110k", "makesense", "automl", "normalised-size",
    ],
)  # fmt: skip
def test_forms_of_one_box(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "images/a.jpg")
    assert read_one(tmp_path, text) == ({"a.jpg": [BOX]}, ("cat",), [])


@pytest.mark.parametrize(
    "text", ["image,xmin,ymin,xmax,ymax\na.jpg,1,2,30,40\n", 'image_id,bbox,source\na,"[1, 2, 29, 38]",web\n']
)
def test_without_a_class_there_is_one(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "a.jpg")
    assert read_one(tmp_path, text) == ({"a.jpg": [BOX]}, ("object",), ["names-missing"])


def test_a_column_of_corners_is_known_by_the_images(tmp_path: Path) -> None:
    """Corners read as sizes leave their image; sizes that are in order as corners do not."""
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name)
    corners = 'image_id,bbox,class\na,"[10, 20, 95, 45]",cat\nb,"[50, 10, 90, 30]",cat\n'
    assert read_one(tmp_path, corners)[0] == {"a.jpg": [[10, 20, 95, 45]], "b.jpg": [[50, 10, 90, 30]]}
    assert read_all(tmp_path)[0].evidence[-1] == (
        "the boxes of train.csv are read as [xmin, ymin, xmax, ymax]"
    )
    sizes = 'image_id,bbox,class\na,"[10, 5, 50, 30]",cat\nb,"[20, 10, 60, 35]",cat\n'
    assert read_one(tmp_path, sizes)[0] == {"a.jpg": [[10, 5, 60, 35]], "b.jpg": [[20, 10, 80, 45]]}
    assert read_all(tmp_path)[0].evidence[-1] == "the boxes of train.csv are read as [x, y, width, height]"


def test_images_without_an_object(tmp_path: Path) -> None:
    for name in "abcd":
        write_image(tmp_path / f"{name}.jpg")
    rows = "patientId,x,y,width,height,Target\na,1,2,29,38,1\nb,,,,,0\nc,,,,,\nd,,,,,1\n"
    boxes, names, found = read_one(tmp_path, rows)
    assert boxes == {"a.jpg": [BOX], "b.jpg": [], "c.jpg": [], "d.jpg": []}
    assert (names, found) == (("1",), ["box-columns"])


def test_automl_splits_and_images_without_boxes(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.jpg")
    rows = [
        f"{split},gs://x/{name}.jpg,cat,0.1,0.1,,,0.2,0.2,,"
        for split, name in (("TRAIN", "a"), ("TEST", "b"))
    ]
    write_text(tmp_path / "data.csv", "\n".join([*rows, "VALIDATION,gs://x/c.jpg,,,,,,,,,"]) + "\n")
    dataset, images, _ = read_all(tmp_path)
    assert dataset.splits == ("train", "valid", "test")
    records = [item.record for item in images.values() if item.record]
    assert sorted((r.path.stem, r.split, len(r.boxes)) for r in records) == [
        ("a", "train", 1),
        ("b", "test", 1),
        ("c", "valid", 0),
    ]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('"[1, 2, 3]"', "box ['1', '2', '3']: expected four numbers x, y, width, height"),
        ('"[1, 2, x, 4]"', "box ['1', '2', 'x', '4']: expected four numbers x, y, width, height"),
        ("[]", "box ['']: expected four numbers x, y, width, height"),
    ],
)
def test_cells_that_are_no_box(tmp_path: Path, cell: str, message: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "train.csv", f'image_id,bbox,class\na,"[1, 2, 29, 38]",cat\na,{cell},cat\n')
    (finding,) = [f for item in read_all(tmp_path)[2] for f in item.findings]
    assert (finding.code, finding.line, finding.message) == ("box-columns", 3, message)


@pytest.mark.parametrize(
    "text",
    [
        "image,caption\na.jpg,a cat\n",
        "filename,width,height\na.jpg,100,50\n",
        "x,y,width,height\n1,2,3,4\n",
        "a.jpg,1,2,30\n",
        "image_name,dog,cat\na.jpg,1,0\n",
    ],
)
def test_other_tables_are_no_labels(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "train.csv", text)
    with pytest.raises(DataError, match="labels of an unknown format"):
        read_all(tmp_path)
