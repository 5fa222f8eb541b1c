"""Every fault that check_data_quality knows: the exact line that a user sees, and its group."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dataset_files import (
    coco_json,
    image_bytes,
    tree_digest,
    voc_xml,
    write_image,
    write_json,
    write_text,
    write_voc,
    write_yolo,
)

import yolofast
from yolofast.analyze import analyze_dataset, check_data_quality
from yolofast.analyze.advice import ADVICE
from yolofast.analyze.examples import box_in_message
from yolofast.formats.boxes import apply_box_rules

YAML = "train: images\nnames: [a, b]\n"
SPLIT_YAML = "train: train/images\nval: valid/images\nnames: [a, b]\n"
GOOD = "0 .5 .5 .5 .5\n1 .5 .5 .4 .4\n"


def labels(text: str) -> Callable[[Path], object]:
    return lambda root: write_yolo(root, {"images/a.jpg": text}, YAML)


def picture(name: str, image: Image.Image, **options: object) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        write_yolo(root, {f"images/{name}": GOOD}, YAML)
        image.save(root / "images" / name, **options)

    return make


def raw(name: str, content: bytes) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        write_yolo(root, {f"images/{name}": ""}, YAML)
        (root / "images" / name).write_bytes(content)

    return make


def header_only(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its pixels are those of a small picture."""
    data = bytearray(image_bytes(350, 350, "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


def rotated(name: str) -> Callable[[Path], object]:
    exif = Image.Exif()
    exif[274] = 6
    return picture(name, Image.new("RGB", (100, 50)), exif=exif)


def twins(split: str, link: bool = False) -> Callable[[Path], object]:
    def make(root: Path) -> None:
        write_yolo(root, {"train/images/a.jpg": GOOD, f"{split}/images/b.jpg": GOOD}, SPLIT_YAML)
        (root / "valid/images").mkdir(parents=True, exist_ok=True)
        write_yolo(root, {"valid/images/c.jpg": GOOD})
        first, second = root / "train/images/a.jpg", root / split / "images/b.jpg"
        second.unlink()
        if link:
            os.link(first, second)
        else:
            second.write_bytes(first.read_bytes())

    return make


def orphan(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": GOOD}, YAML)
    write_text(root / "labels/lost.txt", "\n0 .5 .5 .1 .1\n")


def no_label(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": GOOD, "images/b.jpg": None}, YAML)


def unlisted(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": GOOD, "extra/b.jpg": None}, YAML)


def wrong_size(root: Path) -> None:
    write_voc(root, {"a": []})
    write_text(root / "Annotations/a.xml", voc_xml([("x", 1, 1, 40, 40)], width=50, height=100))


def unlabelled_voc(root: Path) -> None:
    write_voc(root, {"a": [("x", 1, 1, 40, 40)]})
    write_image(root / "JPEGImages/b.jpg")


def doctype(root: Path) -> None:
    write_voc(root, {"a": [("x", 1, 1, 40, 40)], "b": []})
    write_text(root / "Annotations/b.xml", "<!DOCTYPE a>\n<annotation/>\n")


def no_image(root: Path) -> None:
    write_voc(root, {"a": [("x", 1, 1, 40, 40)], "b": []})
    (root / "JPEGImages/b.jpg").unlink()


def crowd(root: Path) -> None:
    write_image(root / "a.jpg")
    write_json(root / "c.json", coco_json({"a.jpg": [(1, [3, 3, 30, 9])]}, {1: "x"}, iscrowd=1))


def near_in_coco(root: Path) -> None:
    write_image(root / "a.jpg")
    boxes = [(1, [10.0, 10, 40, 30]), (1, [10.0, 10, 40, 29.5])]
    write_json(root / "c.json", coco_json({"a.jpg": boxes}, {1: "x"}))


def broken_link(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": GOOD}, YAML)
    (root / "dangling").symlink_to("nowhere")


def many_boxes(root: Path) -> None:
    rows = (f"0 {0.05 + i % 20 * 0.045:.3f} {0.05 + i // 20 * 0.05:.2f} .04 .08\n" for i in range(301))
    write_yolo(root, {"images/a.jpg": "".join(rows)}, YAML)


def two_class_lists(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": GOOD}, YAML)
    write_text(root / "classes.txt", "x\ny\n")


def uneven_splits(root: Path) -> None:
    write_yolo(root, {"train/images/a.jpg": GOOD, "valid/images/b.jpg": "1 .5 .5 .4 .4\n"}, SPLIT_YAML)


def all_kinds_of_rows(first: str, count: int) -> str:
    return "".join(f"{first} .5 .5 .{i:03d} .5\n" for i in range(100, 100 + count))


def uneven(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": all_kinds_of_rows("0", 60) + "1 .5 .5 .5 .5\n"}, YAML)


def unused(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": all_kinds_of_rows("0", 12)}, YAML)


def empty_share(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": "", "images/b.jpg": GOOD}, YAML)


def small_objects(root: Path) -> None:
    write_yolo(root, {"images/a.jpg": "0 .5 .5 .04 .08\n1 .3 .3 .04 .08\n0 .7 .7 .5 .5\n"}, YAML)


def sizes_vary(root: Path) -> None:
    write_yolo(root, {f"images/{i}.jpg": GOOD for i in range(4)}, YAML)
    for i in range(2):
        write_image(root / f"images/{i}.jpg", 600, 300)


NOISE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
RGB = Image.fromarray(NOISE)
WORDS = "not an image, or damaged; expected one of: bmp, jfif, jpeg, jpg, png, tif, tiff, webp"
CUT = "the file ends before the image does; training substitutes another image"
JPEG = image_bytes(100, 50)

IMAGE_FAULTS = {
    "no image": (raw("a.jpg", b"no picture"), f"images/a.jpg: error: {WORDS} [image-unreadable]"),
    "empty file": (
        raw("a.png", b""),
        "images/a.png: error: the file is empty; get it again or remove it [image-unreadable]",
    ),
    "truncated jpeg": (
        raw("a.jpg", JPEG[: len(JPEG) // 2]),
        f"images/a.jpg: warning: {CUT} [image-truncated]",
    ),
    "truncated png": (
        raw("a.png", image_bytes(100, 50, "PNG")[:-20]),
        f"images/a.png: warning: {CUT} [image-truncated]",
    ),
    "tiny": (
        picture("a.png", Image.new("RGB", (40, 31))),
        "images/a.png: warning: 40x31 px: a side below 32 px [image-tiny]",
    ),
    "huge": (
        raw("a.png", header_only(10000, 5001)),
        "images/a.png: warning: 10000x5001 px: more than 50 million pixels or a side above 16384 px "
        "[image-huge]",
    ),
    "long": (
        picture("a.png", Image.new("RGB", (301, 60))),
        "images/a.png: warning: 301x60 px: 5.02 times as long as wide, so letterboxing leaves 80% padding "
        "[image-aspect]",
    ),
    "gray": (
        picture("a.jpg", RGB.convert("L")),
        "images/a.jpg: info: gray: read as three equal channels [image-gray]",
    ),
    "cmyk": (
        picture("a.jpg", RGB.convert("CMYK")),
        "images/a.jpg: info: CMYK: converted to RGB without a colour profile [image-cmyk]",
    ),
    "palette": (
        picture("a.png", RGB.convert("P")),
        "images/a.png: info: palette colours: expanded to RGB [image-palette]",
    ),
    "alpha": (
        picture("a.png", RGB.convert("RGBA")),
        "images/a.png: info: an alpha channel: transparency is dropped [image-alpha]",
    ),
    "16 bits": (
        picture("a.png", Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 256)),
        "images/a.png: info: 16 bits per channel: read as 8 bits [image-16bit]",
    ),
    **{
        f"exif in {suffix}": (
            rotated(f"a.{suffix}"),
            f"images/a.{suffix}: info: EXIF orientation 6: turned upright when read, to 50x100 px "
            "[image-rotated]",
        )
        for suffix in ("jpg", "png", "webp")
    },
    "duplicate": (
        twins("train"),
        "train/images/b.jpg: warning: the same content as 'ROOT/train/images/a.jpg' [image-duplicate]",
    ),
    "hard link": (
        twins("train", link=True),
        "train/images/b.jpg: warning: the same content as 'ROOT/train/images/a.jpg' [image-duplicate]",
    ),
    "leakage": (
        twins("valid"),
        "valid/images/b.jpg: error: in valid, with the same content as 'ROOT/train/images/a.jpg' in train "
        "[split-leakage]",
    ),
}

A = "labels/a.txt"
LABEL_FAULTS = {
    "syntax": (
        labels(GOOD + "0 .5 x .5 .5"),
        f"{A}:3: error: '0 .5 x .5 .5': a field is not a number [box-syntax]",
    ),
    "columns": (
        labels(GOOD + "0 .5 .5 .5"),
        f"{A}:3: error: '0 .5 .5 .5': expected 5 numbers (class x y w h), a polygon of 3 or more points, "
        "or keypoints as kpt_shape says "
        "[box-columns]",
    ),
    "nan": (
        labels("0 nan .5 .2 .2"),
        f"{A}:1: error: '0 nan .5 .2 .2': got NaN or infinity, expected numbers [box-nan]",
    ),
    "infinity": (
        labels("0 .5 .5 inf .2"),
        f"{A}:1: error: '0 .5 .5 inf .2': got NaN or infinity, expected numbers [box-nan]",
    ),
    "out of range": (
        labels("0 .95 .5 .2 .2"),
        f"{A}:1: error: box (85, 20, 105, 30): reaches 5 px in x and 0 px in y beyond the 100x50 image, "
        "more than 1 % [box-outside]",
    ),
    "clipped": (
        labels("0 .905 .5 .2 .2"),
        f"{A}:1: info: box (80.5, 20, 100.5, 30): clipped to the 100x50 image [box-clipped]",
    ),
    "no area": (labels("0 .5 .5 0 .2"), f"{A}:1: error: box (50, 20, 50, 30): no area [box-empty]"),
    "tiny": (labels("0 .5 .5 .5 .02"), f"{A}:1: info: a side of only 1 px [box-tiny]"),
    "class too high": (labels("2 .5 .5 .5 .5"), f"{A}:1: error: class id 2: expected 0 to 1 [box-class]"),
    "class negative": (
        labels("-1 .5 .5 .5 .5"),
        f"{A}:1: error: '-1 .5 .5 .5 .5': the class must be a whole number from 0 [box-class]",
    ),
    "class fractional": (
        labels("0.5 .5 .5 .5 .5"),
        f"{A}:1: error: '0.5 .5 .5 .5 .5': the class must be a whole number from 0 [box-class]",
    ),
    "repeat": (
        labels(GOOD + "0 .5 .5 .5 .5"),
        f"{A}:3: warning: box (25, 12.5, 75, 37.5) of class 0: an exact repeat [box-duplicate]",
    ),
    "near repeat": (
        labels("0 .5 .5 .5 .5\n1 .5 .5 .5 .5\n0 .5 .5 .49 .5"),
        f"{A}:3: info: nearly the same box as line 1, of class 'a' too: IoU 0.980 [box-near-duplicate]",
    ),
    "near repeat of a small box": (
        labels("0 .5 .5 .1 .1\n0 .52 .5 .1 .1"),
        f"{A}:2: info: nearly the same box as line 1, of class 'a' too: IoU 0.667, all corners within 3 px "
        "[box-near-duplicate]",
    ),
    "near repeat in json": (
        near_in_coco,
        "c.json: info: annotation 101: nearly the same box as annotation 100, of class 'x' too: IoU 0.983 "
        "[box-near-duplicate]",
    ),
    "whole image": (
        labels("1 .5 .5 1 1"),
        f"{A}:1: info: a box of class 'b' over the whole image [box-covers-image]",
    ),
    "very many": (many_boxes, "images/a.jpg: warning: 301 boxes in one image, more than 300 [boxes-many]"),
    "no label file": (no_label, "images/b.jpg: info: no label file: background [label-missing]"),
    "orphan": (orphan, "labels/lost.txt: warning: no image goes with this label file [label-orphan]"),
    "orphan's row": (orphan, "labels/lost.txt:2: error: no image goes with this label file [box-no-image]"),
    "wrong size": (
        wrong_size,
        "Annotations/a.xml:3: warning: image 'a.jpg': stated as 50x100, but it is 100x50; the image counts "
        "[size-mismatch]",
    ),
    "no xml": (unlabelled_voc, "JPEGImages/b.jpg: warning: no xml for this image [image-unlabelled]"),
    "no image": (no_image, "Annotations/b.xml: error: no image 'b' for this xml [image-missing]"),
    "unreadable labels": (
        doctype,
        "Annotations/b.xml:1: error: has a DOCTYPE, which is refused; remove it [image-label-unreadable]",
    ),
    "crowd": (
        crowd,
        "c.json: info: annotation 100: crowd: the box stands for many objects (one object has iscrowd 0) "
        "[box-crowd]",
    ),
}

FORMAT_FAULTS = {
    "unlisted": (unlisted, "extra/b.jpg: info: not in any split of data.yaml [image-unlisted]"),
    "link": (
        broken_link,
        "dangling: warning: a link to 'nowhere', which leads nowhere [link-broken]",
    ),
    "names": (
        two_class_lists,
        "classes.txt: warning: class 0 is 'x' here and 'a' in data.yaml: the latter counts. "
        "Make them agree, or remove one. [names-conflict]",
    ),
}

DATASET_FAULTS = {
    "missing from a split": (
        uneven_splits,
        "warning: valid has no box of 1 of 2 classes (a) [class-missing-split]",
    ),
    "imbalance": (
        uneven,
        "info: classes are imbalanced 60:1: 'a' has 60 boxes, 'b' 1; add examples of the rare ones "
        "[class-imbalance]",
    ),
    "few": (uneven, "info: 1 class has fewer than 10 boxes (b): add examples [class-few]"),
    "unused": (unused, "info: 1 class has no box (b): remove or add examples [class-unused]"),
    "empty": (
        empty_share,
        "info: 1 of 2 images have no box: make sure that they are intended as background [images-empty]",
    ),
    "unlabelled": (
        no_label,
        "info: 1 image has no label file: they count as background in YOLO; remove them if they were never "
        "labelled [labels-missing]",
    ),
    "small": (
        small_objects,
        "info: 67% of the boxes are smaller than 32x32 px when an image's long side is 640 px [boxes-small]",
    ),
    "sizes": (
        sizes_vary,
        "info: the long side of the middle 90 % of the images ranges from 100 to 600 px [sizes-vary]",
    ),
}

GROUPS = {
    "image_issues": IMAGE_FAULTS,
    "label_issues": LABEL_FAULTS,
    "format_issues": FORMAT_FAULTS,
    "recommendations": DATASET_FAULTS,
}
CASES = [
    pytest.param(make, line, group, id=f"{group}: {name}")
    for group, faults in GROUPS.items()
    for name, (make, line) in faults.items()
]


@pytest.mark.parametrize(("make", "line", "group"), CASES)
def test_each_fault_in_the_words_that_a_user_sees(
    tmp_path: Path, make: Callable[[Path], object], line: str, group: str
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    make(root)
    before = tree_digest(root)
    report = check_data_quality(root)
    place = f"{root}: " if group == "recommendations" else f"{root}/"
    assert [str(f) for f in getattr(report, group)].count(place + line.replace("ROOT", str(root))) == 1
    code = line[line.rindex("[") + 1 : -1]
    (entry,) = (entry for entry in report.summary if entry.code == code)
    assert (entry.title, entry.recommendation) == ADVICE[code]
    assert entry.count == sum(f.count for f in (*report.findings, *report.recommendations) if f.code == code)
    assert tree_digest(root) == before


def test_sound_files_give_none_of_these(tmp_path: Path) -> None:
    rows = "".join(f"{i % 2} .5 .5 .{i}5 .{i}5\n" for i in range(2, 9))
    pictures = {f"{split}/images/{i}.jpg": rows for split in ("train", "valid") for i in range(3)}
    report = check_data_quality(write_yolo(tmp_path, pictures, SPLIT_YAML))
    assert (report.findings, report.recommendations, report.summary) == ((), (), ())


def test_every_code_has_advice() -> None:
    """The codes that the sources give their findings are all in the table."""
    package = Path(yolofast.__file__).parent
    given = re.compile(
        r'"((?:box|boxes|image|images|label|labels|class|split|format|size|names|yaml|category|file|shapes)'
        r'-[a-z0-9-]+)"'
    )
    used = {
        code
        for folder in ("formats", "analyze")
        for path in (package / folder).rglob("*.py")
        for code in given.findall(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 30
    assert used <= ADVICE.keys()


def test_rules_name_boxes_so_that_reports_can_draw_them() -> None:
    boxes = np.array([[50.0, 20, 50, 30], [90, 10, 120, 20.5], [1, 2, 3, 4], [1, 2, 3, 4]])
    ruled = apply_box_rules(
        boxes, np.zeros(4, np.int64), np.arange(4), [4], np.array([[100, 50]]), ["x"], num_classes=1
    )
    drawn = [box_in_message(f.message).tolist() for f in ruled.dropped[0]]
    assert drawn == [[boxes[i].tolist()] for i in (0, 1, 3)]
    assert box_in_message("box (nan, 1, 2, 3): got NaN").shape == (0, 4)
    assert box_in_message("no box at all").shape == (0, 4)


def test_a_line_that_reads_like_our_own_words(tmp_path: Path) -> None:
    write_yolo(
        tmp_path, {"a.jpg": "0 .5 .5 .2 .2\nbox (e, e, e, e)\nbox (1-, 2, 3, 4)\nbox (1, 2, 3, 1e999)\n"}
    )
    report = check_data_quality(tmp_path)
    assert [(f.code, f.line) for f in report.label_issues] == [("box-syntax", line) for line in (2, 3, 4)]


def test_analyze_finds_leakage_too(tmp_path: Path) -> None:
    twins("valid")(tmp_path)
    assert [f.code for f in analyze_dataset(tmp_path).findings] == ["split-leakage"]
