"""check_data_quality: each problem is reported once, with file and line, in its group."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.dataset_files import (
    coco_json,
    image_bytes,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)
from support.jpeg_files import encoded, first_scans

from yolofast.analyze import check_data_quality
from yolofast.types import Finding

YAML = "train: images\nnames: [a, b]\n"
GOOD = "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.4 0.4\n"


def places(findings: tuple[Finding, ...]) -> list[tuple[str, str, int | None]]:
    return sorted((f.code, Path(f.file or "").name, f.line) for f in findings)


def test_clean_dataset_has_no_issue(tmp_path: Path) -> None:
    report = check_data_quality(write_yolo(tmp_path, {"images/a.jpg": GOOD}, YAML))
    assert report.findings == ()
    assert (report.images_checked, report.boxes_checked, report.errors) == (1, 2, 0)


def test_label_faults(tmp_path: Path) -> None:
    rows = "0 .5 .5 .2\n0 nan .5 .2 .2\n0 2 .5 .2 .2\n0 .5 .5 0 .2\n9 .5 .5 .2 .2\n" + "1 .5 .5 .5 .5\n" * 2
    tiny = "0 .5 .5 .5 .5\n1 .5 .5 .01 .5\n"
    images = {"images/a.jpg": rows, "images/b.jpg": tiny, "images/c.jpg": None}
    root = write_yolo(tmp_path, images, YAML)
    write_text(root / "labels/orphan.txt", GOOD)
    report = check_data_quality(root)
    assert places(report.label_issues) == [
        ("box-class", "a.txt", 5),
        ("box-columns", "a.txt", 1),
        ("box-duplicate", "a.txt", 7),
        ("box-empty", "a.txt", 4),
        ("box-nan", "a.txt", 2),
        ("box-no-image", "orphan.txt", 1),
        ("box-no-image", "orphan.txt", 2),
        ("box-outside", "a.txt", 3),
        ("box-tiny", "b.txt", 2),
        ("label-missing", "c.jpg", None),
        ("label-orphan", "orphan.txt", None),
        ("names-short", "data.yaml", None),
    ]
    severities = [f.severity for f in report.label_issues]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert report.errors == 8


@pytest.mark.parametrize("decode", [False, True])
def test_image_faults(tmp_path: Path, decode: bool) -> None:
    root = write_yolo(
        tmp_path, dict.fromkeys(("images/ok.jpg", "images/cut.jpg", "images/bad.jpg"), GOOD), YAML
    )
    whole = image_bytes(100, 50)
    (root / "images/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "images/bad.jpg").write_bytes(b"no picture")
    (root / "images/empty.png").write_bytes(b"")
    report = check_data_quality(root, decode=decode)
    codes = {Path(f.file or "").name: f.code for f in report.image_issues}
    assert codes.pop("cut.jpg") in (
        {"image-unreadable", "image-truncated"} if decode else {"image-truncated"}
    )
    assert codes == {"bad.jpg": "image-unreadable", "empty.png": "image-unreadable"}
    assert len(report.image_issues) == 3
    assert report.images_checked == 4


def test_decoding_finds_damage_behind_a_good_header(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"images/a.png": GOOD}, YAML)
    data = bytearray(image_bytes(100, 50, "PNG"))
    data[60:400] = bytes(340)
    (root / "images/a.png").write_bytes(data)
    assert check_data_quality(root).image_issues == ()
    assert [f.code for f in check_data_quality(root, decode=True).image_issues] == ["image-unreadable"]


def test_decoding_finds_a_progressive_image_without_its_last_scans(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"images/a.jpg": GOOD}, YAML)
    whole = encoded(height=50, width=100, progressive=True).join()
    (root / "images/a.jpg").write_bytes(first_scans(whole, 5))
    (found,) = check_data_quality(root, decode=True).image_issues
    assert found.code == "image-unreadable"
    assert "progressive scans are missing" in found.message


def test_format_issues(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"images/a.jpg": GOOD, "extra/b.jpg": None}, YAML)
    write_text(root / "classes.txt", "x\ny\n")
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    report = check_data_quality(root)
    assert {f.code for f in report.format_issues} == {"image-unlisted", "names-conflict", "link-broken"}


def test_unreadable_labels_do_not_stop_the_check_of_images(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"images/a.jpg": GOOD, "images/b.jpg": GOOD}, YAML + "nc: 3\n")
    (root / "images/b.jpg").write_bytes(b"x")
    report = check_data_quality(root)
    assert "nc is 3 but names" in report.format_issues[0].message
    assert [f.code for f in report.image_issues] == ["image-unreadable"]


def test_tiny_coco_box_names_its_annotation(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_json(tmp_path / "c.json", coco_json({"a.jpg": [(1, [3, 3, 1.5, 9])]}, {1: "x"}))
    (issue,) = check_data_quality(tmp_path).label_issues
    assert (issue.code, issue.message, issue.line) == (
        "box-tiny",
        "annotation 100: a side of only 1.5 px",
        None,
    )


def test_recommendations(tmp_path: Path) -> None:
    images = {f"images/{i}.jpg": "" for i in range(5)}
    rows = "".join(f"0 .5 .5 .{i:03d} .5\n" for i in range(100, 160)) + "1 .5 .5 .5 .5\n"
    root = write_yolo(tmp_path, images | {"images/full.jpg": rows, "images/none.jpg": None}, YAML)
    write_text(root / "data.yaml", YAML.replace("[a, b]", "[a, b, c]"))
    codes = [f.code for f in check_data_quality(root).recommendations]
    assert codes == ["class-unused", "class-few", "class-imbalance", "images-empty", "labels-missing"]


def test_a_summary_counts_classes_and_images(tmp_path: Path) -> None:
    """Not the sentences about them."""
    names = ", ".join(f"c{i}" for i in range(39))
    images = {"images/a.jpg": "0 .5 .5 .5 .5\n" * 1 + "1 .2 .2 .2 .2\n", "images/b.jpg": None}
    root = write_yolo(tmp_path, images, f"train: images\nnames: [{names}]\n")
    report = check_data_quality(root)
    counts = {entry.code: entry.count for entry in report.summary}
    assert (counts["class-unused"], counts["class-few"], counts["labels-missing"]) == (37, 2, 1)
    assert any(str(entry).startswith("Classes without a box: 37. ") for entry in report.summary)


@pytest.mark.parametrize(("common", "found"), [(9, False), (10, True)])
def test_imbalance_is_told_from_ten_to_one(tmp_path: Path, common: int, found: bool) -> None:
    rows = "".join(f"0 .5 .{i:03d} .5 .1\n" for i in range(100, 100 + 40 * common, 40))
    root = write_yolo(tmp_path, {"images/a.jpg": rows + "1 .5 .5 .5 .5\n"}, YAML)
    shown = [f.message for f in check_data_quality(root).recommendations if f.code == "class-imbalance"]
    assert shown == (
        ["classes are imbalanced 10:1: 'a' has 10 boxes, 'b' 1; add examples of the rare ones"]
        if found
        else []
    )


def test_voc_lines(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": [("x", 1, 1, 9, 9), ("x", 5, 5, 5, 9)]})
    assert places(check_data_quality(tmp_path).label_issues) == [("box-empty", "a.xml", 7)]


def test_real_flaws_of_bccd(shared_data: Path) -> None:
    report = check_data_quality(shared_data / "bccd_voc")
    assert places(report.label_issues) == [
        ("box-empty", "BloodImage_00338.xml", 158),
        ("box-empty", "BloodImage_00343.xml", 50),
        ("box-near-duplicate", "BloodImage_00020.xml", 182),
        ("box-near-duplicate", "BloodImage_00100.xml", 38),
        ("box-near-duplicate", "BloodImage_00104.xml", 170),
        ("box-near-duplicate", "BloodImage_00251.xml", 98),
        ("box-near-duplicate", "BloodImage_00284.xml", 26),
        ("box-near-duplicate", "BloodImage_00331.xml", 38),
        ("box-near-duplicate", "BloodImage_00403.xml", 50),
    ]
    assert report.image_issues == report.format_issues == ()
