"""Folders as people lay them out: structure and layout, each with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.dataset_files import coco_json, write_image, write_json, write_text, write_voc, write_yolo

from yolofast.analyze import analyze_dataset, validate_dataset_input
from yolofast.errors import DataError

ROW = "0 0.5 0.5 0.2 0.2\n"


def yolo(root: Path, *images: str) -> None:
    write_yolo(root, dict.fromkeys(images, ROW))


def roboflow(root: Path) -> None:
    yolo(root, "train/images/a.jpg", "valid/images/b.jpg")
    write_text(root / "README.roboflow.txt", "Exported\n")


def voc(root: Path) -> None:
    write_voc(root, {"a": [("cat", 1, 1, 5, 5)]}, {"train": ["a"]})


def coco(root: Path) -> None:
    for split in ("train2017", "val2017"):
        write_image(root / split / f"{split}.jpg")
        content = coco_json({f"{split}.jpg": [(1, [0, 0, 5, 5])]}, {1: "cat"})
        write_json(root / f"annotations/instances_{split}.json", content)


def table(root: Path) -> None:
    write_image(root / "a.jpg")
    write_text(root / "labels.csv", "a.jpg,1,2,3,4,cat\n")


def pictures(root: Path, *images: str) -> None:
    for name in images:
        write_image(root / name)


@pytest.mark.parametrize(
    ("make", "structure", "layout", "evidence"),
    [
        (roboflow, "nested", "roboflow", "README.roboflow.txt and the splits train, valid"),
        (voc, "nested", "voc", "1 images in JPEGImages/, 1 labels in Annotations/"),
        (
            coco,
            "nested",
            "coco",
            "annotations/instances_train2017.json and images in train2017/ (1), val2017/ (1)",
        ),
        (
            lambda root: yolo(root, "images/train/a.jpg", "images/val/b.jpg"),
            "nested",
            "images+labels",
            "2 images in images/, 2 label files in labels/",
        ),
        (
            lambda root: yolo(root, "train/a.jpg", "val/b.jpg"),
            "nested",
            "split folders",
            "all images are in folders of the splits train, valid",
        ),
        (lambda root: yolo(root, "data/a.jpg"), "flat", "one folder", "all 1 images are in data/ (1)"),
        (table, "flat", "one folder", "all 1 images are in ./ (1)"),
        (
            lambda root: yolo(root, "a.jpg", "more/b.jpg"),
            "mixed",
            "unknown",
            "images in ./ (1), more/ (1), by no known convention",
        ),
        (
            lambda root: pictures(root, "train/cat/a.jpg", "train/cat/b.jpg", "val/dog/c.jpg"),
            "nested",
            "class folders",
            "2 folders of images and no boxes: cat (2), dog (1)",
        ),
        (lambda root: None, "unknown", "unknown", "no images"),
    ],
    ids=[
        "roboflow",
        "voc",
        "coco",
        "images+labels",
        "splits",
        "one-folder",
        "csv",
        "mixed",
        "class-folders",
        "nothing",
    ],
)
def test_layouts(
    tmp_path: Path, make: Callable[[Path], None], structure: str, layout: str, evidence: str
) -> None:
    make(tmp_path)
    info = analyze_dataset(tmp_path)
    assert (info.structure_type, info.layout) == (structure, layout)
    assert info.evidence[0].startswith(f"{structure}: ")
    assert info.evidence[1] == f"layout {layout}: {evidence}"


def test_class_folders_are_explained(tmp_path: Path) -> None:
    pictures(tmp_path, "train/cat/a.jpg", "train/cat/b.jpg", "val/dog/c.jpg")
    write_text(tmp_path / "README.txt", "Cats and dogs.")
    expected = (
        "got 3 images in 2 folders (cat 2, dog 1) and no boxes: folders named by class are for "
        "classification "
        "and cannot train a detector. Annotate boxes first. Expected YOLO .txt"
    )
    with pytest.raises(DataError) as caught:
        validate_dataset_input(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: {expected}")
    (finding,) = analyze_dataset(tmp_path).findings
    assert (finding.severity, finding.code) == ("error", "format-unknown")
    assert finding.message.startswith(expected)


def test_each_format_of_a_mixed_folder_has_its_evidence(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": ROW, "b.jpg": ROW})
    write_text(tmp_path / "export/labels.csv", "a.jpg,1,2,3,4,class_0\nb.jpg,1,2,3,4,class_0\n")
    write_text(tmp_path / "notes.txt", "drawn by hand\n")
    write_json(tmp_path / "export/config.json", {"lr": 1})
    info = analyze_dataset(tmp_path)
    assert (info.label_format, info.format_counts) == ("mixed", {"yolo": 2, "csv": 1})
    assert info.evidence[2:] == (
        "yolo: 2 label file(s), such as a.txt",
        "csv: 1 label file(s), such as export/labels.csv",
        "2 YOLO label files",
        "no class names anywhere: class_0, class_1, ...",
        "1 CSV file(s) with boxes, 2 rows",
    )
    assert [(f.code, f.message) for f in info.findings] == [
        (
            "format-several",
            "labels in several formats: yolo (2 files), csv (1 files). Choose one (--label-format).",
        )
    ]
