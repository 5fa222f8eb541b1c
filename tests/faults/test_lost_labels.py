"""Nothing is lost unsaid: rejected rows, unlabelled images, files in formats that are not read."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from support.dataset_files import (
    coco_json,
    read_all,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

from yolofast.analyze import analyze_dataset, check_data_quality, validate_dataset_input
from yolofast.cli import main
from yolofast.config import YOLOConfig
from yolofast.errors import DataError
from yolofast.formats.data_yaml import read_data_yaml
from yolofast.load import YOLODataset
from yolofast.prepare import convert_dataset, prepare_dataset, rejected_labels
from yolofast.rejected_labels import check_labels

GOOD, BAD = "0 .5 .5 .2 .2\n", "9 .5 .5 .2 .2\n0 2 2 .1 .1\n"
YAML = "train: train/images\nval: valid/images\nnames: [x]\n"


def names_in(prepared: Path) -> set[str]:
    return {path.name for path in prepared.glob("*/images/*")}


# ---------------------------------------------------------------- rejected rows


@pytest.fixture
def some_bad(tmp_path: Path) -> Path:
    """Good, bad and background images, in both splits; of 12 rows, 4 are wrong."""
    images = {}
    for split in ("train", "valid"):
        images |= {f"{split}/images/{split[0]}{i}.jpg": GOOD for i in range(4)}
        images |= {f"{split}/images/{split[0]}bad.jpg": BAD, f"{split}/images/{split[0]}empty.jpg": ""}
    return write_yolo(tmp_path / "set", images, YAML)


def test_an_image_without_a_usable_row_is_left_out(some_bad: Path, tmp_path: Path) -> None:
    done = prepare_dataset(some_bad)
    assert done.images == {"train": 5, "valid": 5, "test": 0}
    assert not {"tbad.jpg", "vbad.jpg"} & names_in(done.root)
    assert {"tempty.jpg", "vempty.jpg"} <= names_in(done.root)  # background as before
    said = [f for f in done.dropped if f.code == "image-rejected"]
    assert [Path(str(f.file)).name for f in said] == ["tbad.jpg", "vbad.jpg"]
    assert said[0].message.startswith("none of its 2 label rows can be used: it is left out")
    assert done.source_boxes == sum(done.boxes.values()) + sum(
        f.code.startswith("box-") for f in done.dropped
    )
    assert convert_dataset(some_bad, to="coco").images == {"train": 5, "valid": 5}


def test_rejected_images_are_kept_when_asked(some_bad: Path) -> None:
    done = prepare_dataset(some_bad, keep_rejected=True)
    assert done.images == {"train": 6, "valid": 6, "test": 0}
    assert (done.root / "train/labels/tbad.txt").read_text() == ""


def test_the_loader_leaves_the_same_images_out(some_bad: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = YOLODataset(some_bad / "data.yaml", "train", imgsz=32, max_bad_share=0.0)
    assert [Path(path).name for path in dataset.paths] == [
        "t0.jpg",
        "t1.jpg",
        "t2.jpg",
        "t3.jpg",
        "tempty.jpg",
    ]
    assert "1 images are left out: none of their label rows can be used" in caplog.text
    assert (dataset.label_rows, [f.code for f in dataset.rejected_rows]) == (6, ["box-class", "box-outside"])
    kept = YOLODataset(some_bad / "data.yaml", "train", imgsz=32, keep_rejected=True)
    assert len(kept) == 6


def test_a_split_of_rejected_images_alone(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/images/a.jpg": BAD, "valid/images/b.jpg": GOOD}, YAML)
    with pytest.raises(
        DataError, match=r"no image is left.*label rows of 1 images.*a\.txt:1: error: class id 9"
    ):
        YOLODataset(tmp_path / "data.yaml", "train", imgsz=32)


def test_rejected_images_are_no_background_for_check_and_analyze(some_bad: Path) -> None:
    report = check_data_quality(some_bad)
    assert (report.statistics.images, report.statistics.empty_images) == (10, 2)
    assert sum(f.code == "image-rejected" for f in report.image_issues) == 2
    info = analyze_dataset(some_bad)
    assert (info.splits, sum(f.code == "image-rejected" for f in info.findings)) == (
        {"train": 5, "valid": 5},
        2,
    )


def test_crowds_alone_are_no_background(tmp_path: Path) -> None:
    content = coco_json({"a.jpg": [(1, [1, 1, 9, 9])], "b.jpg": [(1, [1, 1, 9, 9])]}, {1: "x"})
    content["annotations"][0]["iscrowd"] = 1
    write_json(tmp_path / "set/a.json", content)
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"set/{name}.jpg")
    with pytest.raises(DataError, match="got 1 usable training image"):
        prepare_dataset(tmp_path / "set")


# ---------------------------------------------------------------- training stops


def test_training_stops_at_a_share_of_rejected_rows(some_bad: Path) -> None:
    data = read_data_yaml(some_bad / "data.yaml")
    datasets = [YOLODataset(data, split, imgsz=32) for split in ("train", "valid")]
    with pytest.raises(
        DataError, match=r"2 of 6 label rows \(33%\) cannot be used, more than 20%.*--max-rejected-labels"
    ):
        check_labels(data, datasets, YOLOConfig().dataset.max_rejected_labels)
    check_labels(data, datasets, 0.34)
    check_labels(data, [], 0.0)


def test_rows_that_prepare_rejected_count_too(some_bad: Path) -> None:
    """The prepared folder itself has sound rows only."""
    done = prepare_dataset(some_bad)
    assert rejected_labels(done.root) == (4, 12)
    assert rejected_labels(some_bad) is None
    data = read_data_yaml(done.data_yaml)
    with pytest.raises(DataError, match=r"4 of 12 label rows \(33%\) cannot be used"):
        check_labels(data, [], 0.2)


def test_the_train_command_stops_and_names_the_flag(
    some_bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--imgsz", "32", "--epochs", "1", "--model", "p", "--device", "cpu", "--workers", "0"]
    runs = ["--project", str(tmp_path / "runs"), "--no-plots"]
    assert main(["train", "--data", str(some_bad / "data.yaml"), *settings, *runs]) == 2
    assert "--max-rejected-labels" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_missing_images_and_repeats_are_no_rejected_rows(tmp_path: Path) -> None:
    write_yolo(tmp_path / "set", {"train/images/a.jpg": GOOD * 2, "valid/images/b.jpg": GOOD}, YAML)
    for i in range(5):
        write_text(tmp_path / f"set/train/labels/gone{i}.txt", GOOD)
    done = prepare_dataset(tmp_path / "set")
    assert rejected_labels(done.root) == (0, 8)


# ---------------------------------------------------------------- unlabelled images


def test_prepare_says_how_many_images_have_no_label_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_yolo(tmp_path / "set", {f"d/{i}.jpg": GOOD if i < 2 else None for i in range(6)})
    assert main(["prepare", str(root)]) == 0
    assert "4 of 6 images have no label file and are background" in capsys.readouterr().out
    assert "labels-missing" in [f.code for f in convert_dataset(root, to="coco").noticed]


# ---------------------------------------------------------------- files that are not read


def test_images_that_are_not_read_are_named(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": GOOD, "images/b.jpg": GOOD})
    for name in ("c.gif", "d.GIF", "e.heic"):
        write_text(root / "images" / name, "x")
    expected = [
        (f"{root}/images/c.gif", "2 .gif images are not read. Convert them to JPEG or PNG"),
        (f"{root}/images/e.heic", "1 .heic image is not read. Convert it to JPEG or PNG"),
    ]
    for findings in (
        prepare_dataset(root).noticed,
        convert_dataset(root, to="coco").noticed,
        check_data_quality(root).findings,
        analyze_dataset(root).findings,
    ):
        assert [(f.file, f.message) for f in findings if f.code == "image-suffix"] == expected


def test_a_folder_of_unread_images_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a.avif", "x")
    with pytest.raises(DataError, match=r"no images here.*a\.avif: 1 \.avif image is not read"):
        prepare_dataset(tmp_path)


CVAT = (
    "<?xml version='1.0'?>\n<annotations><version>1.1</version><image id='0' name='a.jpg' width='100' "
    "height='50'><box label='car' xtl='1' ytl='1' xbr='9' ybr='9'></box></image></annotations>"
)


def test_xml_of_another_tool_is_not_taken_for_voc(tmp_path: Path) -> None:
    """CVAT's root element begins like VOC's."""
    root = write_voc(tmp_path / "set", {"a": [("car", 1, 1, 9, 9)], "b": [("car", 1, 1, 9, 9)]})
    write_text(root / "settings.xml", "<settings/>")
    write_text(root / "annotations.xml", CVAT.replace("<annotations>", "<annotations >"))
    dataset, images, items = read_all(root, "voc")
    assert sorted(images) == ["a.jpg", "b.jpg"]
    assert [(Path(str(f.file)).name, f.code) for f in dataset.findings] == [
        ("annotations.xml", "file-other-format"),
        ("settings.xml", "file-other-format"),
    ]
    assert all(not item.findings for item in items)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("export.xml", "<annotation><object><name></name></object></annotation>"),
        ("broken.json", '{"images": [], "annotations": [{"bbox": 1}], "categories": 7}'),
        ("cut.json", '{"images": [], "categories": [], "annotations": [{"bbox": [1, 2'),
    ],
)
def test_a_broken_format_does_not_block_a_sound_one(tmp_path: Path, name: str, text: str) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": GOOD, "images/b.jpg": GOOD})
    write_text(root / name, text)
    validate_dataset_input(root)
    done = prepare_dataset(root)
    assert sum(done.boxes.values()) == 2
    (said,) = (f for f in done.noticed if f.code == "format-broken")
    assert name in said.message
    assert [f.code for f in check_data_quality(root).format_issues] == ["format-broken"]


def test_two_sound_formats_still_need_a_choice(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"a.jpg": GOOD})
    write_text(root / "a.xml", voc_xml([("x", 1, 1, 9, 9)]))
    with pytest.raises(DataError, match=r"labels in several formats: yolo .*Choose one"):
        prepare_dataset(root)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (
            [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}],
            "a list of COCO detections",
        ),
        ({"annotations": [{"segments_info": []}], "images": [], "categories": []}, "COCO's panoptic form"),
        ({"objects": [{"classTitle": "x", "points": {"exterior": []}}]}, "a Supervisely file"),
        ({"imgHeight": 1, "imgWidth": 2, "objects": [{"label": "x", "polygon": []}]}, "a Cityscapes file"),
        ([{"data_row": {}, "projects": {}}], "a Labelbox export"),
        ({"item": {}, "annotations": [{"bounding_box": {}}]}, r"a Darwin \(V7\) file"),
        ({"images": [], "annotations": [{"area": 3}]}, "like COCO, without 'categories'"),
        ({"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 3, 4]]}}, "the metadata of a Hugging Face image"),
    ],
)
def test_other_label_formats_are_named(tmp_path: Path, content: object, what: str) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "labels.json", content)
    with pytest.raises(DataError, match=rf"unknown format: 'labels\.json' is {what}"):
        read_all(tmp_path)


def test_labels_that_are_all_predictions_are_named(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": "0 0.5 0.5 0.2 0.2 0.9\n"})
    with pytest.raises(
        DataError, match=r"1 label files have no box\. The first problem: .*a\.txt:1: .*confidence"
    ):
        read_all(root)


def test_rows_with_class_names_are_named(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": "\ncar 0.5 0.5 0.2 0.2\n"})
    with pytest.raises(
        DataError, match=r"'labels/a\.txt' has rows that begin with the name of a class \('car'\)"
    ):
        read_all(root)


def test_the_manifest_lists_everything(some_bad: Path) -> None:
    done = prepare_dataset(some_bad)
    manifest = json.loads((done.root / "manifest.json").read_text())
    assert manifest["dropped_by_code"] == {"box-class": 2, "box-outside": 2, "image-rejected": 2}


@pytest.mark.parametrize("name", ["train/a.tfrecord", "train.tfrecord-00000-of-00010", "data/a.parquet"])
def test_label_files_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    for i in range(3):
        write_image(tmp_path / "set" / f"{i}.jpg")
    write_text(tmp_path / "set" / name, "x")
    with pytest.raises(DataError, match=r"(TFRecord|Parquet) file is not read.*to COCO or YOLO"):
        prepare_dataset(tmp_path / "set")
