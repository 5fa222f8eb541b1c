"""Open Images CSVs: normalised boxes, groups dropped, names from class-descriptions, subsets."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import read_all, write_image, write_text

from yolofast.errors import DataError

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)


def row(image: str, label: str, box: str, group: int = 0) -> str:
    return f"{image},xclick,{label},1,{box},0,0,{group},0,0\n"


def test_boxes_groups_names_and_a_subset(tmp_path: Path) -> None:
    write_image(tmp_path / "train/0001eeaf4aed83f9.jpg")
    write_image(tmp_path / "train/bare.jpg")
    text = HEADER + row("0001eeaf4aed83f9", "/m/0cmf2", "0.1,0.5,0,1") + row("not_here", "/m/0zzz", "0,1,0,1")
    text += row("0001eeaf4aed83f9", "/m/0cmf2", "0,1,0,1", group=1)
    text += row("0001eeaf4aed83f9", "/m/01g317", "0,x,0,1") + row(
        "0001eeaf4aed83f9", "/m/01g317", "0,1.5,0,1"
    )
    text += "0001eeaf4aed83f9,xclick\n" + row("0001eeaf4aed83f9", "", "0,1,0,1")
    write_text(tmp_path / "train-annotations-bbox.csv", text)
    write_text(
        tmp_path / "class-descriptions-boxable.csv", '/m/01g317,Person\n/m/0cmf2,"Plane, fixed-wing"\n'
    )
    dataset, images, items = read_all(tmp_path)
    assert (dataset.format, dataset.names, dataset.splits) == (
        "openimages",
        ("Person", "Plane, fixed-wing"),
        ("train",),
    )
    record = images["0001eeaf4aed83f9.jpg"].record
    assert record is not None
    assert (record.boxes.tolist(), record.classes.tolist(), record.lines.tolist()) == (
        [[10, 0, 50, 50]],
        [1],
        [2],
    )
    assert dataset.evidence == (
        "1 Open Images CSV file(s), 2 rows",
        "class names from class-descriptions-boxable.csv",
        "1 rows of images that are not in this folder were skipped",
    )
    assert [(f.severity, f.code, f.line, f.message) for i in items for f in i.findings] == [
        ("info", "box-crowd", 4, "group: the box stands for many objects"),
        (
            "error",
            "box-columns",
            5,
            "box ['0', '0', 'x', '1']: expected four numbers XMin, YMin, XMax, YMax from 0 to 1",
        ),
        ("error", "box-columns", 7, "got 2 fields, expected 13"),
        ("error", "box-class", 8, "a row without a LabelName"),
        (
            "error",
            "box-outside",
            6,
            "box (0, 0, 150, 50): reaches 50 px in x and 0 px in y beyond the 100x50 image, more than 1 %",
        ),
        ("warning", "image-unlabelled", None, "no row of the Open Images boxes names this image"),
    ]


def test_codes_without_names_are_said_and_columns_may_stand_anyhow(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_text(tmp_path / "boxes.csv", "LabelName,XMin,YMin,XMax,YMax,ImageID\n/m/0x,0,0,1,.5,a\n")
    dataset, images, _ = read_all(tmp_path)
    assert dataset.names == ("/m/0x",)
    assert images["a.png"].record.boxes.tolist() == [[0, 0, 100, 25]]  # type: ignore[union-attr]
    assert [str(f).removeprefix(f"{tmp_path}/") for f in dataset.findings] == [
        "boxes.csv: warning: 1 LabelNames such as '/m/0x' have no name here: the codes stay. "
        "Put the class-descriptions CSV into the folder. [names-missing]"
    ]


def test_boxes_of_other_images_only(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_text(tmp_path / "boxes.csv", HEADER + row("b", "/m/0x", "0,1,0,1"))
    with pytest.raises(
        DataError, match=r"have no box of an image in this folder \(1 rows name other images\)"
    ):
        read_all(tmp_path)
