"""analyze_dataset: structure, formats, classes, splits and counts of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import (
    coco_json,
    tree_digest,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.analyze import analyze_dataset
from yolofast.errors import DataError, DatasetNotFoundError

ROW = "0 0.5 0.5 0.2 0.2\n"


@pytest.mark.parametrize(
    ("images", "structure"),
    [
        (["a.jpg", "b.jpg"], "flat"),
        (["data/a.jpg", "data/b.jpg"], "flat"),
        (["images/a.jpg", "images/b.jpg"], "nested"),
        (["train/images/a.jpg", "valid/images/b.jpg"], "nested"),
        (["cats/a.jpg", "dogs/b.jpg"], "nested"),
        (["a.jpg", "more/b.jpg"], "mixed"),
        ([], "unknown"),
    ],
)
def test_structure(tmp_path: Path, images: list[str], structure: str) -> None:
    info = analyze_dataset(write_yolo(tmp_path, dict.fromkeys(images, ROW)))
    assert info.structure_type == structure
    assert info.evidence[0].startswith(structure)
    assert (info.total_images, info.total_boxes) == (len(images), len(images))


def test_counts_of_each_kind(tmp_path: Path) -> None:
    yaml = "train: train\nval: valid\nnames: [cat, dog]\n"
    images = {"train/a.jpg": ROW + ROW, "train/b.png": "1 .5 .5 .1 .1", "valid/c.JPG": None}
    info = analyze_dataset(write_yolo(tmp_path, images, yaml))
    assert info.label_format == "yolo"
    assert (info.class_names, info.class_count) == (("cat", "dog"), 2)
    assert info.splits == {"train": 2, "valid": 1}
    assert info.format_counts == {"yolo": 2}
    assert info.image_formats == {"jpg": 2, "png": 1}
    assert (info.total_boxes, info.class_counts) == (3, {"cat": 1, "dog": 1})
    assert [(f.code, f.line) for f in info.findings] == [("box-duplicate", 2)]


def test_voc_and_coco_are_recognised(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "voc", {"a": [("cat", 1, 1, 5, 5)]}, {"train": ["a"]})
    write_image(tmp_path / "coco/a.jpg")
    write_json(tmp_path / "coco/c.json", coco_json({"a.jpg": [(4, [0, 0, 5, 5])]}, {4: "x"}))
    assert analyze_dataset(voc).label_format == "voc"
    info = analyze_dataset(tmp_path / "coco")
    assert (info.label_format, info.structure_type, info.class_names) == ("coco", "flat", ("x",))


def test_two_formats_are_mixed_and_said_so(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": ROW})
    write_json(tmp_path / "c.json", coco_json({"a.jpg": [(4, [0, 0, 5, 5])]}, {4: "x"}))
    write_text(tmp_path / "classes.txt", "y\n")
    info = analyze_dataset(tmp_path)
    assert info.label_format == "mixed"
    assert info.format_counts == {"yolo": 1, "coco": 1, "class_mapping": 1}
    assert [f.code for f in info.findings] == ["format-several", "names-conflict", "names-conflict"]


def test_unlabelled_and_broken_folders_are_described(tmp_path: Path) -> None:
    write_image(tmp_path / "plain/a.jpg")
    info = analyze_dataset(tmp_path / "plain")
    assert (info.label_format, [f.code for f in info.findings]) == ("unknown", ["format-unknown"])
    broken = write_yolo(tmp_path / "broken", {"a.jpg": ROW}, "train: gone\nval: gone\nnames: [a]\n")
    assert "data.yaml:1: train: no such folder" in str(analyze_dataset(broken).findings[0])


def test_nothing_is_changed(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a.jpg": ROW})
    before = tree_digest(tmp_path)
    analyze_dataset(tmp_path)
    assert tree_digest(tmp_path) == before


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        analyze_dataset(tmp_path / "gone")
    with pytest.raises(DataError, match="got a file"):
        analyze_dataset(write_text(tmp_path / "x.txt", ""))


@pytest.mark.parametrize(
    ("name", "label_format", "images", "boxes", "splits"),
    [
        ("bccd_voc", "voc", 364, 4888, {"train": 205, "valid": 87, "test": 72}),
        ("coco128", "yolo", 192, 1369, {"train": 128, "valid": 64}),
        ("tiny_coco_json", "coco", 38, 424, {"train": 32, "valid": 6}),
    ],
)
def test_real_data(
    shared_data: Path, name: str, label_format: str, images: int, boxes: int, splits: dict[str, int]
) -> None:
    info = analyze_dataset(shared_data / name)
    assert info.structure_type == "nested"
    assert (info.label_format, info.total_images, info.total_boxes) == (label_format, images, boxes)
    assert info.splits == splits
