"""The HTML report and the check command: complete, self-contained, escaped, the same each time."""

from __future__ import annotations

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.dataset_files import image_bytes, tree_digest, write_text, write_yolo

from yolofast.analyze import check_data_quality, write_html_report
from yolofast.analyze.report import MAX_IMAGES, MAX_LOCATIONS
from yolofast.cli import main
from yolofast.errors import DataError
from yolofast.kernels import decode_jpeg

NAMES = "['<script>alert(1)</script>', '\"quoted\" & $x^2$ 猫']"
YAML = f"train: train/images\nval: valid/images\nnames: {NAMES}\n"
ROWS = "0 .5 .5 .5 .5\n1 .5 .5 1 1\n1 .3 .3 .005 .2\n1 .9 .5 .5 .5\n"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    void = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self) -> list[str]:
        return [attrs["src"] or "" for _, attrs in self.tags if "src" in attrs]


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A dataset with faults of many kinds, class names made of HTML, and odd file names."""
    images = {f"train/images/{i}.jpg": ROWS for i in range(30)} | {
        "valid/images/<b>x.jpg": ROWS + "0 x .5 .5 .5\n"
    }
    root = write_yolo(tmp_path / "set", images, YAML)
    (root / "valid/images/leak.jpg").write_bytes((root / "train/images/3.jpg").read_bytes())
    (root / "train/images/cut.jpg").write_bytes(image_bytes(200, 100)[:9000])
    for name in (b"odd\xff.png", b"new\nline.jpg"):
        (root / "train/images" / os.fsdecode(name)).write_bytes(b"no picture")
    return root


def page(root: Path, out: Path) -> tuple[str, Page]:
    write_html_report(check_data_quality(root), out)
    text = out.read_text(encoding="utf-8")
    return text, Page(text)


def test_page_is_self_contained_and_escaped(faulty: Path, tmp_path: Path) -> None:
    text, read = page(faulty, tmp_path / "report.html")
    assert read.open == []
    assert not re.search(r"https?://|@import|url\(", text)
    assert not {"script", "link", "iframe", "object", "b>x"} & {tag for tag, _ in read.tags}
    assert all(source.startswith("data:image/jpeg;base64,") for source in read.sources())
    assert not any(name.startswith("on") or name == "href" for _, attrs in read.tags for name in attrs)
    for shown in (
        "<script>alert(1)</script>",
        '"quoted" & $x^2$ 猫',
        "<b>x.jpg",
        r"odd\xff.png",
        r"new\nline.jpg",
    ):
        assert shown in read.text
    assert len(text) < 5_000_000


def test_page_shows_every_code_with_count_and_advice(faulty: Path, tmp_path: Path) -> None:
    report = check_data_quality(faulty)
    _, read = page(faulty, tmp_path / "report.html")
    for entry in report.summary:
        assert f"{entry.severity}{entry.title}{entry.count:,}{entry.code}{entry.recommendation}" in read.text
    assert "labels/0.txt:4" in read.text
    assert max(entry.count for entry in report.summary) == 31
    assert f"… and {31 - MAX_LOCATIONS} more: yolofast check --json lists all" in read.text
    assert str(faulty) in read.text
    assert read.text.count(str(faulty)) == 1  # locations are relative to the dataset folder
    for plot in ("Boxes by class", "Box sizes", "Box centres", "Boxes per image", "Image sizes"):
        assert plot in read.text


def test_pictures_show_the_boxes_meant(tmp_path: Path) -> None:
    root = write_yolo(
        tmp_path / "set", {"images/a.jpg": "0 .5 .5 .5 .5\n0 .8 .5 .8 .5\n"}, "train: images\nnames: [a]"
    )
    _, read = page(root, tmp_path / "report.html")
    (source,) = read.sources()
    picture = decode_jpeg(base64.b64decode(source.split(",")[1])).astype(int)
    assert picture.shape == (160, 320, 3)
    red, green, blue = picture[30:130, 125:131].reshape(-1, 3).T  # the left side of the row that is refused
    assert np.mean((red > 150) & (green < 120)) > 0.2
    red, green, blue = picture[50:110, 79:82].mean(axis=(0, 1))  # of the other box, in blue
    assert blue > red + 30


def test_bad_images_are_tiles_with_the_reason(faulty: Path, tmp_path: Path) -> None:
    text, read = page(faulty, tmp_path / "report.html")
    assert text.count("<div class=noimage>not an image, or damaged") == 2
    figures = sum(tag == "figure" for tag, _ in read.tags)
    assert len(read.sources()) + 2 == figures <= MAX_IMAGES


def test_same_input_same_bytes_and_nothing_changed(faulty: Path, tmp_path: Path) -> None:
    before = tree_digest(faulty)
    first, _ = page(faulty, tmp_path / "one.html")
    second, _ = page(faulty, tmp_path / "two.html")
    assert first == second
    assert tree_digest(faulty) == before


def test_sound_and_boxless_datasets_have_a_page_too(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": ""}, "train: images\nnames: [a]")
    _, read = page(root, tmp_path / "report.html")
    assert "No data." in read.text
    good = {f"images/{i}.jpg": "0 .5 .5 .4 .4\n" * (i == 0) + "0 .5 .5 .6 .6\n" * 1 for i in range(12)}
    root = write_yolo(tmp_path / "good", good, "train: images\nnames: [a]")
    _, read = page(root, tmp_path / "report.html")
    assert "No problems found." in read.text


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": ""}, "train: images\nnames: [a]")
    write_text(tmp_path / "file", "")
    with pytest.raises(DataError, match="cannot be written"):
        write_html_report(check_data_quality(root), tmp_path / "file" / "x.html")


def test_command_prints_the_same_as_json(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check_data_quality(faulty)
    assert main(["check", str(faulty), "--json", "--html", str(tmp_path / "r.html")]) == 0
    told = json.loads(capsys.readouterr().out)
    for group in ("image_issues", "label_issues", "format_issues", "recommendations"):
        got = [(f["severity"], f["code"], f["message"], f["file"], f["line"]) for f in told[group]]
        wanted = [(f.severity, f.code, f.message, f.file, f.line) for f in getattr(report, group)]
        assert got == wanted
    assert [(e["code"], e["count"], e["recommendation"]) for e in told["summary"]] == [
        (e.code, e.count, e.recommendation) for e in report.summary
    ]
    assert (told["errors"], told["images_checked"]) == (report.errors, report.images_checked)
    numbers = report.statistics
    assert told["statistics"]["class_boxes"] == numbers.class_boxes.tolist()
    assert told["statistics"]["boxes_per_image"]["counts"] == numbers.boxes_per_image.counts.tolist()
    assert "examples" not in told
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_command_prints_findings_and_a_summary(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(faulty)]) == 0
    printed = capsys.readouterr().out
    assert f"{faulty}/train/labels/0.txt:4: error: box (65, 12.5, 115, 37.5)" in printed
    assert "  Images in two splits: 1. Validation metrics are too good" in printed


def test_a_terminal_is_not_moved_by_what_files_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b[2Jb\nc"
    write_yolo(tmp_path, {f"images/{name}.jpg": "0 .5 .5 .5 .5\n\x1b]0;title\x07\0 x\n"})
    write_text(tmp_path / "classes.txt", "cat \x1b[31m\n")
    for command in ("check", "analyze"):
        assert main([command, str(tmp_path)]) == 0
        printed = capsys.readouterr().out
        assert printed.replace("\n", "").isprintable()
        place = rf"{tmp_path}/labels/a\x1b[2Jb\nc.txt:2"
        assert rf"{place}: error: '\x1b]0;title\x07\x00 x': a field is not a number" in printed


def test_label_format_says_which_labels_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_yolo(tmp_path / "set", {"images/a.jpg": "0 .5 .5 .5 .5\n"}, "train: images\nnames: [a]")
    write_text(root / "a.xml", "<annotation><object><name>x</name></object></annotation>")
    codes = {f.code for f in check_data_quality(root).findings}
    assert {"format-several", "box-columns"} <= codes
    assert check_data_quality(root, label_format="yolo").findings == ()
    assert main(["check", str(root), "--label-format", "coco"]) == 2
    assert "no coco labels here; found: yolo, voc." in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--label-format", "--format"])
@pytest.mark.parametrize("command", ["analyze", "check", "prepare", "convert"])
def test_every_data_command_can_be_told_the_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, flag: str
) -> None:
    root = write_yolo(tmp_path / "set", {f"{name}.jpg": "0 .5 .5 .2 .2\n" for name in "abc"})
    write_text(root / "labels.csv", "a.jpg,1,2,30,40,cat\nb.jpg,1,2,30,40,cat\nc.jpg,1,2,30,40,cat\n")
    extra = {"prepare": ["--out", str(tmp_path / "out")], "convert": ["--to", "coco"]}.get(command, [])
    assert main([command, str(root), flag, "csv", "--json", *extra]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert "format-several" not in str(answer)
    assert main([command, str(root), flag, "vot", *extra]) == 2
    assert "Did you mean 'vott'?" in capsys.readouterr().err
