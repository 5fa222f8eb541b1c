"""What asks for memory or time out of all proportion is refused at once, with a short line: a case per kind."""

# ruff: noqa: E501 - a bomb a line

from __future__ import annotations

import json
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from support.chaos import python
from support.dataset_files import read_all, write_text
from support.image_bombs import BOMBS as IMAGES
from support.image_bombs import NOTES, chunk, lossless, png, tiff, webp
from support.text_bombs import DATA, ROW, TEXT_FILES, coco, cvat, ndjson, voc, with_hole, yolo

from yolofast.analyze import analyze_dataset
from yolofast.brief import brief
from yolofast.config import YOLOConfig
from yolofast.errors import ConfigError, DataError, ImageError
from yolofast.formats.dataset import LabelFileError
from yolofast.formats.values import want_list
from yolofast.images import read_header, read_image
from yolofast.limits import MAX_BOXES, MAX_CLASSES, MAX_PATH, MAX_QUOTED, MAX_UNFOUND
from yolofast.prepare.manifest import read_manifest

SLOW_TO_MAKE = ("32,000", "rgb", "four channels", "deflated", "16,000 x", "huge tile")


@pytest.mark.parametrize("kind", [kind for kind in IMAGES if not any(word in kind for word in SLOW_TO_MAKE)])
def test_images_are_refused_before_they_are_decoded(tmp_path: Path, kind: str) -> None:
    suffix, make = IMAGES[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make())
    for read in (read_header, read_image):
        if kind == "tiff of a huge strip":  # which is only stated: the picture has 16 rows
            read(path)
            continue
        with pytest.raises(ImageError, match=r"pixels( in [\d,]+ bytes)?, over|not an image") as caught:
            read(path)
        assert len(str(caught.value)) < len(str(path)) + 200


BAD_YAML = {
    "digits": (f"nc: {'9' * 10**5}\n", "data.yaml:1: a value of 100000 characters, expected at most 65536."),
    "nc": ("nc: 1000000000\n", f"data.yaml:1: nc: got 1000000000, expected 1 to {MAX_CLASSES}."),
    "names": ("names: [" + "a," * (MAX_CLASSES + 1) + "]", "data.yaml:1: names: got 50001 classes, expected at"),
    "ids": ("names: {" + ",".join(f"{7 * i}: c" for i in range(100)) + "}", "data.yaml:1: names: got class ids [0, 7"),
    "name": (f"names: [{'c' * 2000}]", "data.yaml:1: the class name 'ccc"),
    "path": (f"path: {'p/' * MAX_PATH}\nnames: [a]\ntrain: x", "data.yaml:1: path: got 'p/p/"),
    "keys": ("names: [a]\n" + "".join(f"k{i}: 1\n" for i in range(1100)), "data.yaml: got 1101 keys, expected"),
    "aliases": (f"a: &a x\nb: [{'*a,' * 150_000}]\n", "data.yaml:2: more than 150000 values."),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_YAML)
def test_data_yaml(tmp_path: Path, kind: str) -> None:
    text, message = BAD_YAML[kind]
    yolo(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert len(str(caught.value)) < len(str(tmp_path)) + 250


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("&a [" * 40, "nested more than 32 levels deep"),
        (f"training: {{seed: 0x{'f' * 9000}}}", "seed: got a number of over 40 digits, expected"),
        (f"training: {{device: [{'x,' * 9000}]}}", "device: got ['x', 'x', 'x', 'x', 'x', 'x', ...], expected text"),
        (f"{'k' * 1000}: 1", "unknown section 'kkkkk"),
        ("a: &a [x,x]\nb: &b [*a,*a]\ntraining: {device: *b}", "unknown section 'a'"),
    ],
)  # fmt: skip
def test_config(tmp_path: Path, text: str, message: str) -> None:
    path = write_text(tmp_path / "config.yaml", text)
    with pytest.raises(ConfigError) as caught:
        YOLOConfig.from_yaml(path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 3 * MAX_QUOTED + 100


def test_lists_of_images(tmp_path: Path) -> None:
    yolo(tmp_path, DATA.replace("train: images", "train: list.txt"))
    write_text(tmp_path / "list.txt", "images/a.jpg\n" + "x" * 10_000)
    with pytest.raises(DataError, match=r"list\.txt:2: a line of over 4096 characters \('x{79}…'\)"):
        read_all(tmp_path)
    write_text(tmp_path / "list.txt", "gone.jpg\n" * MAX_UNFOUND)
    with pytest.raises(DataError, match=r"list\.txt: none of the first 5000 images that it lists is here"):
        read_all(tmp_path)
    write_text(
        tmp_path / "list.txt", "images/a.jpg\r\n\r\n\x0c" + "gone.jpg\n" * (MAX_UNFOUND - 1) + "images/b.jpg"
    )
    assert {path for path in read_all(tmp_path)[1] if path in ("a.jpg", "b.jpg")} == {"a.jpg", "b.jpg"}
    with (tmp_path / "list.txt").open("a") as file:
        file.write("\ngone.jpg" * MAX_UNFOUND)
    with pytest.raises(
        DataError, match=r"list\.txt: 2 of the first 5002 images that it lists are here; 'gone"
    ):
        read_all(tmp_path)


def test_label_rows_of_an_image(tmp_path: Path) -> None:
    yolo(tmp_path, label=ROW * (MAX_BOXES + 1))
    (finding,) = [f for f in analyze_dataset(tmp_path).findings if f.code == "image-label-unreadable"]
    assert finding.message == "cannot be read: more than 100,000 objects: not the labels of one image"
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}
    coco(tmp_path / "coco", annotations="[" + ",".join([json.dumps(row)] * (MAX_BOXES + 1)) + "]")
    (finding,) = [
        f for f in analyze_dataset(tmp_path / "coco").findings if f.code == "image-label-unreadable"
    ]
    assert finding.message == "100001 rows for the image 'b.jpg', expected at most 100000"


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation>" + "<a/>" * 150_001, "more than 150000 elements"),
        ("<annotation><a " + " ".join(f"a{i}='>'" for i in range(250_000)) + "/>", "a tag or a comment of more than 2097152 bytes"),
        ('<?xml version="1.0" encoding="punycode"?><a/>', "declares the encoding 'punycode', expected one of text"),
        ('<?xml version="1.0" encoding="unicode_escape"?><a/>', "declares the encoding 'unicode_escape', expected"),
        ('<?xml version="1.0" encoding="nonsense"?><a/>', "declares the encoding 'nonsense', expected"),
    ],
)  # fmt: skip
def test_xml(tmp_path: Path, xml: str, message: str) -> None:
    voc(tmp_path, xml)
    (finding,) = [f for f in analyze_dataset(tmp_path).findings if f.code == "image-label-unreadable"]
    assert finding.message.startswith(message)


def test_xml_text_in_many_pieces_is_one_text(tmp_path: Path) -> None:
    name = "&#65;" * 900
    voc(tmp_path, f"<annotation><size><width>100</width><height>50</height></size><object><name>{name}</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>")  # fmt: skip
    assert read_all(tmp_path)[0].names == ("A" * 900, "cat")


@pytest.mark.parametrize("kind", TEXT_FILES)
def test_other_files(tmp_path: Path, kind: str) -> None:
    make, message = TEXT_FILES[kind]
    make(tmp_path)
    with pytest.raises(DataError) as caught:
        read_all(tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 3 * MAX_QUOTED


def test_ndjson_numbers_of_thousands_of_digits_cost_one_image(tmp_path: Path) -> None:
    ndjson(tmp_path, '{"type": "image", "file": "a.jpg", "width": ' + "9" * 5000 + "}")
    (finding,) = [f for f in analyze_dataset(tmp_path).findings if f.code == "image-label-unreadable"]
    assert len(finding.message) < 200


def test_pictures_with_little_on_them_are_read(tmp_path: Path) -> None:
    """Drawings, masks and blank pages: what encoders make of them is small, and no bomb."""
    width, height = 10_240, 8192  # 252 MB as RGB
    rng = np.random.default_rng(0)
    picture = np.zeros((height, width), np.uint8)
    picture[4000:4100, 5000:5100] = rng.integers(0, 256, (100, 100))
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    gray = tmp_path / "gray.png"
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(rows)
    )
    gray.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    assert width * height > 800 * gray.stat().st_size
    assert (read_header(gray).width, read_header(gray).height) == (width, height)
    page = tmp_path / "page.tif"
    page.write_bytes(tiff(4960, 7016, {258: (3, 1), 259: (3, 4)}, bytes(3000)))  # A4 at 600 dpi
    assert read_header(page).height == 7016
    drawing = tmp_path / "drawing.webp"
    drawing.write_bytes(webp((b"VP8L", lossless(10_000, 10_000) + bytes(15_000))))
    assert read_header(drawing).width == 10_000


def test_notes_in_a_png_cost_nothing(tmp_path: Path) -> None:
    paths = []
    for number, kind in enumerate(kind for kind in NOTES if "inflates" not in kind):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(png(64, 64, more=NOTES[kind]()))
    code = "import sys; from yolofast.images import read_image, ImageError\nfor path in sys.argv[1:]:\n  try: read_image(path)\n  except ImageError as error: print(error)"
    ran = python(code, *paths)
    assert ran.code == 0, ran.err
    assert "states 2,147,483,647 bytes" in ran.out
    assert ran.peak_mb < 150
    assert ran.cpu_seconds < 2


def test_cvat(tmp_path: Path) -> None:
    for number, (xml, message) in enumerate(
        [
            ("<image " + " ".join(f"a{i}='>'" for i in range(250_000)) + "/>", "a tag or a comment of more than 2097152"),
            ("<meta><task><labels><label><name>" + "a<x/>" * 3000 + "</name></label></labels></task></meta>", "the class name 'aaa"),
            ("<meta><task><labels>" + "".join(f"<label><name>c{i}</name></label>" for i in range(50_001)) + "</labels></task></meta>", "got 50001 classes"),
        ]
    ):  # fmt: skip
        root = tmp_path / str(number)
        cvat(root, xml)
        with pytest.raises(DataError, match=message) as caught:
            read_all(root)
        assert len(str(caught.value)) < 2 * len(str(root)) + 3 * MAX_QUOTED


def test_holes_are_copies_that_broke_off(tmp_path: Path) -> None:
    with_hole(tmp_path / "coco")
    with pytest.raises(DataError, match=r"labels\.json: has zeros from byte \d+ on: its copy is incomplete"):
        read_all(tmp_path / "coco")
    cvat(tmp_path / "cvat", "")
    with (tmp_path / "cvat/annotations.xml").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(DataError, match=r"has zeros from byte \d+ on: its copy is incomplete; get it again"):
        read_all(tmp_path / "cvat")
    yolo(tmp_path / "yolo")
    with write_text(tmp_path / "yolo/manifest.json", '{"images": [').open("r+b") as file:
        file.truncate(2 << 30)
    assert read_manifest(tmp_path / "yolo") is None


def test_a_line_of_ndjson_with_millions_of_lists(tmp_path: Path) -> None:
    ndjson(tmp_path, '{"type": "image", "file": "a.jpg", "annotations": [' + "[]," * 1_000_000 + "[]]}")
    (finding,) = [f for f in analyze_dataset(tmp_path).findings if f.code == "image-label-unreadable"]
    assert finding.message == "over 1000000 lists and objects in one line"


def test_quoted_values_are_not_written_first() -> None:
    value = {f"key{number}": "x" * 1000 for number in range(100_000)}
    begun = time.process_time()
    assert brief(value).startswith("{'key0': 'xxxxx")
    with pytest.raises(LabelFileError, match=r"^entry: got \{'key0': 'x"):
        want_list(value, "entry")
    assert time.process_time() - begun < 0.02
