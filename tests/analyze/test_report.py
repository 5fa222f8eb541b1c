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
from numpy.typing import NDArray
from PIL import Image
from support.dataset_files import image_bytes, tree_digest, write_text, write_yolo

from yolofast.analyze import check_data_quality, write_html_report
from yolofast.analyze.report import MAX_IMAGES, MAX_LOCATIONS
from yolofast.analyze.report_images import Layer, picture
from yolofast.analyze.samples import MAX_RANDOM, MAX_RARE
from yolofast.cli import main
from yolofast.errors import DataError
from yolofast.kernels import decode_jpeg

NAMES = "['<script>alert(1)</script>', '\"quoted\" & $x^2$ 猫']"
YAML = f"train: train/images\nval: valid/images\nnames: {NAMES}\n"
ROWS = "0 .5 .5 .5 .5\n1 .5 .5 1 1\n1 .3 .3 .005 .2\n1 .9 .5 .5 .5\n"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    void = frozenset({"meta", "img", "br", "input"})

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
        r"odd\udcff.png",
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
    image = pixels(read.sources()[0])
    assert image.shape == (256, 512, 3)
    red, green, blue = image[70:186, 200:210].reshape(-1, 3).T  # the left side of the row that is refused
    assert np.mean((red > 150) & (green < 120)) > 0.2
    red, green, blue = image[70:186, 127:130].mean(axis=(0, 1))  # of the other box, in blue
    assert blue > red + 30


def pixels(source: str) -> NDArray[np.int64]:
    """The picture of an `img` tag."""
    return decode_jpeg(base64.b64decode(source.split(",")[1])).astype(np.int64)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_small_boxes_are_shown_large(suffix: str, tmp_path: Path) -> None:
    """Two boxes of 20 px in an image of 1600 px: the part around them, and no box that is elsewhere."""
    rows = "0 .25 .5 .0125 .025\n0 .2502 .5 .0125 .025\n0 .9 .9 .1 .1\n"
    root = write_yolo(tmp_path / "set", {f"images/a.{suffix}": rows}, "train: images\nnames: [a]")
    blank = np.full((800, 1600, 3), 128, np.uint8)
    blank[395:405, 395:405] = (20, 200, 20)  # at the centre of the boxes
    Image.fromarray(blank).save(root / f"images/a.{suffix}")
    _, read = page(root, tmp_path / "report.html")
    assert "part 368–432 × 368–432 px of 1600×800 px" in read.text
    image = pixels(read.sources()[0])
    assert image.shape == (512, 512, 3)
    red, green, blue = image.transpose(2, 0, 1)
    green_rows, green_columns = np.nonzero((green > red + 80) & (green > blue + 80))
    assert np.ptp(green_rows) == pytest.approx(80, abs=6)  # 10 px of the image
    assert np.median(green_columns) == pytest.approx(256, abs=6)
    red_rows, red_columns = np.nonzero((red > green + 80) & (red > blue + 80))
    assert np.ptp(red_rows) == pytest.approx(160, abs=8)  # 20 px
    assert np.ptp(red_columns) == pytest.approx(163, abs=8)
    assert not np.any(blue > red + 60)
    assert read.tags.count(("input", {"type": "checkbox", "aria-label": "Enlarge"})) == len(read.sources())


def test_a_part_of_a_rotated_image_is_upright(tmp_path: Path) -> None:
    """The box is in pixels of the upright image, and so is the part."""
    upright = np.full((1600, 800, 3), 100, np.uint8)
    upright[1000:1020, 300:340] = (20, 220, 20)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.rot90(upright, 1)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    box = Layer(np.array([[300, 1000, 340, 1020]], np.float32), (230, 40, 48), 1)
    shown = picture(tmp_path / "a.jpg", [], box)
    assert shown.note == "part 260–380 × 950–1070 px of 800×1600 px"
    red, green, _ = pixels(f",{shown.jpeg}").transpose(2, 0, 1)
    rows, columns = np.nonzero(green > red + 80)
    assert (rows.mean(), columns.mean()) == pytest.approx((256, 256), abs=4)
    assert (np.ptp(rows), np.ptp(columns)) == pytest.approx((85, 170), abs=10)


def captions(text: str, heading: str) -> list[str]:
    """The captions of the pictures under a heading, as text."""
    found = re.search(rf"<h2>{heading}</h2>(.*?)</section>", text)
    return [] if found is None else re.findall(r"<figcaption>(.*?)</figcaption>", found[1])


def test_random_labelled_images_are_shown(tmp_path: Path) -> None:
    rows = "0 .5 .5 .4 .4\n0 .5 .5 .6 .6\n1 .2 .2 .2 .2\n"
    images = {f"images/{i:02d}.jpg": rows * (i % 2) for i in range(60)}
    root = write_yolo(tmp_path / "set", images, "train: images\nnames: [a <i>, b]")
    text, _ = page(root, tmp_path / "report.html")
    drawn = captions(text, "Random labelled images")
    files = [re.findall(r"images/(\d\d)", caption)[0] for caption in drawn]
    assert len(set(files)) == 12
    assert all(int(name) % 2 for name in files), "of those with boxes only"
    assert max(map(int, files)) > 30
    assert all("a &lt;i&gt; × 2</span>" in caption and ">b</span>" in caption for caption in drawn)


def test_the_rarest_classes_are_shown(tmp_path: Path) -> None:
    """Class i has 80 - i boxes: in the pictures, and among the bars."""
    names = [f"class{i:02d}" for i in range(80)]
    images = {
        f"images/{i:02d}.jpg": "".join(f"{k} .5 .5 .{k + 100} .4\n" for k in range(80 - i)) for i in range(80)
    }
    root = write_yolo(tmp_path / "set", images, f"train: images\nnames: {names}")
    text, read = page(root, tmp_path / "report.html")
    rare = captions(text, "Rarest classes")
    assert [re.findall(r"<b>(class\d\d)</b>", caption) for caption in rare] == [
        [name] for name in names[:-9:-1]
    ]
    assert "1 box in the dataset" in rare[0]
    assert "8 boxes in the dataset" in rare[7]
    bars = text[text.index("<h3>Boxes by class</h3>") : text.index("<h3>Box sizes</h3>")]
    shown = re.findall(r"<span>(class\d\d)</span>", bars)
    assert shown == names[:40] + names[-20:]
    assert "… 20 classes with fewer boxes, and the 20 rarest" in read.text


def test_bad_images_are_tiles_with_the_reason(faulty: Path, tmp_path: Path) -> None:
    text, read = page(faulty, tmp_path / "report.html")
    assert text.count("<div class=noimage>not an image, or damaged") == 2
    figures = sum(tag == "figure" for tag, _ in read.tags)
    assert len(read.sources()) + 2 == figures <= MAX_IMAGES + MAX_RARE + MAX_RANDOM


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
    assert not {"examples", "samples", "rare_samples"} & set(told)
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
