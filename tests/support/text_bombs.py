"""Datasets whose label, class and settings files ask for memory or time out of all proportion to their size."""

# ruff: noqa: E501 - a bomb a line

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.dataset_files import write_image, write_text, write_voc, write_yolo

ROW = "0 .5 .5 .1 .1\n"
DATA = "train: images\nval: images\nnames: [cat]\n"
MB = 1 << 20


def yolo(root: Path, data: str = DATA, label: str = ROW) -> None:
    """Three images with labels, and one with the label file of the attack."""
    write_yolo(root, {f"images/{name}.jpg": ROW for name in "abc"}, data)
    write_image(root / "images/bomb.jpg")
    write_text(root / "labels/bomb.txt", label)


def voc(root: Path, xml: str | bytes) -> None:
    write_voc(root, {name: [("cat", 1, 1, 30, 30)] for name in "abc"})
    write_image(root / "JPEGImages/bomb.jpg")
    (root / "Annotations/bomb.xml").write_bytes(xml if isinstance(xml, bytes) else xml.encode())


def coco(root: Path, **more: str) -> None:
    """A COCO file of three sound images; the texts replace or add members."""
    for name in "abc":
        write_image(root / f"{name}.jpg")
    parts = {
        "images": json.dumps([{"id": i, "file_name": f"{n}.jpg", "width": 100, "height": 50} for i, n in enumerate("abc")]),
        "annotations": json.dumps([{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9]} for i in range(3)]),
        "categories": '[{"id": 1, "name": "cat"}]',
    }  # fmt: skip
    write_text(root / "labels.json", "{" + ", ".join(f'"{k}": {v}' for k, v in (parts | more).items()) + "}")


def cvat(root: Path, xml: str) -> None:
    """A CVAT file of three sound images, and what `xml` has in front of them."""
    for name in "abc":
        write_image(root / f"{name}.jpg")
    box = '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    images = "".join(f'<image name="{n}.jpg" width="100" height="50">{box}</image>' for n in "abc")
    write_text(root / "annotations.xml", f"<annotations>{xml}{images}</annotations>")


def with_hole(root: Path) -> None:
    """A COCO file with 2 GB of zeros, that take no place on the disk, in front of its last byte."""
    coco(root)
    with (root / "labels.json").open("r+b") as file:
        file.seek(2 << 30)
        file.write(b"}")


def csv(root: Path, text: str) -> None:
    for name in "abc":
        write_image(root / f"{name}.jpg")
    write_text(
        root / "labels.csv",
        "filename,xmin,ymin,xmax,ymax,class\n" + "".join(f"{n}.jpg,1,1,9,9,cat\n" for n in "abc") + text,
    )


def ndjson(root: Path, *lines: str) -> None:
    for name in "abc":
        write_image(root / f"{name}.jpg")
    good = [
        json.dumps(
            {
                "type": "image",
                "file": f"{n}.jpg",
                "width": 100,
                "height": 50,
                "annotations": {"boxes": [[0, 0.5, 0.5, 0.1, 0.1]]},
            }
        )
        for n in "abc"
    ]
    write_text(
        root / "labels.ndjson",
        "\n".join([json.dumps({"type": "dataset", "class_names": {"0": "cat"}}), *good, *lines]),
    )


LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

BOMBS: dict[str, Callable[[Path], None]] = {
    "a billion laughs in data.yaml": lambda root: yolo(root, f"{LAUGHS}{DATA}x: *i\n"),
    "nc of 10**9": lambda root: yolo(root, "train: images\nval: images\nnc: 1000000000\n"),
    "nc of a million digits": lambda root: yolo(root, f"train: images\nval: images\nnc: {'9' * 10**6}\n"),
    "a class id of a million digits": lambda root: yolo(root, f"train: images\nval: images\nnames:\n  {'9' * 1000}: cat\n"),
    "400,000 class names in data.yaml": lambda root: yolo(root, "train: images\nval: images\nnames: [" + ", ".join(f"c{i}" for i in range(400_000)) + "]\n"),
    "90,000 class names with ids": lambda root: yolo(root, "train: images\nval: images\nnames:\n" + "".join(f" {i * 7}: c{i}\n" for i in range(90_000))),
    "a class name of 3 MB": lambda root: yolo(root, f"train: images\nval: images\nnames: [{'c' * 3 * MB}]\n"),
    "a key of 3 MB": lambda root: yolo(root, f"{DATA}? {'k' * 3 * MB}\n: 1\n"),
    "a million keys": lambda root: yolo(root, DATA + "".join(f"k{i}: 1\n" for i in range(300_000))),
    "4 MB of brackets": lambda root: yolo(root, DATA + "x: " + "[],[" * 1_000_000),
    "a path of 3 MB": lambda root: yolo(root, f"path: {'p/' * MB}\n{DATA}"),
    "aliases, a million": lambda root: yolo(root, f"a: &a x\nb: [{'*a,' * 900_000}]\n{DATA}"),
    "a label class of 10**9": lambda root: yolo(root, label="1000000000 .5 .5 .1 .1\n"),
    "a label class of 2**31-1, no names": lambda root: (yolo(root, label="2147483647 .5 .5 .1 .1\n"), (root / "data.yaml").unlink()),
    "a label line of 60 MB": lambda root: yolo(root, label="0 " + "0.5 " * (15 * MB)),
    "a label number of 60 MB": lambda root: yolo(root, label="0 " + "1" * (60 * MB) + " .5 .1 .1\n"),
    "4 million labels": lambda root: yolo(root, label=ROW * 4_000_000),
    "a label file of 200 MB": lambda root: (yolo(root), (root / "labels/bomb.txt").open("r+b").truncate(200 * MB)),
    "classes.txt of 500,000 names": lambda root: (yolo(root), (root / "data.yaml").unlink(), write_text(root / "classes.txt", "\n".join(f"c{i}" for i in range(500_000)))),
    "classes.txt of one name of 3 MB": lambda root: (yolo(root), (root / "data.yaml").unlink(), write_text(root / "classes.txt", "c" * 3 * MB)),
    "an image list of one line of 200 MB": lambda root: (yolo(root, DATA.replace("train: images", "train: list.txt")), write_text(root / "list.txt", "x" * 200 * MB)),
    "an image list of 10 million lines": lambda root: (yolo(root, DATA.replace("train: images", "train: list.txt")), write_text(root / "list.txt", "a\n" * 10_000_000)),
    "a split list of 200 MB": lambda root: (voc(root, "<annotation/>"), write_text(root / "ImageSets/Main/train.txt", "a\nb\n" + "x" * 200 * MB)),
    "a million text nodes": lambda root: voc(root, "<annotation><a>" + "&#65;" * 3_000_000 + "</a></annotation>"),
    "a million elements": lambda root: voc(root, "<annotation>" + "<a/>" * 3_000_000 + "</annotation>"),
    "a million attributes": lambda root: voc(root, "<annotation><a " + " ".join(f"a{i}='1'" for i in range(1_000_000)) + "/></annotation>"),
    "elements 100,000 deep": lambda root: voc(root, "<annotation>" + "<a>" * 100_000),
    "entities": lambda root: voc(root, '<!DOCTYPE l [<!ENTITY a "' + "ha" * 1000 + '">' + "".join(f'<!ENTITY {n} "{f"&{b};" * 10}">' for b, n in zip("abcdefgh", "bcdefghi", strict=True)) + "]><annotation>&i;</annotation>"),
    "punycode": lambda root: voc(root, '<?xml version="1.0" encoding="punycode"?><annotation>' + "a" * 200_000 + "-" + "9" * 100_000 + "</annotation>"),
    "bz2 codec": lambda root: voc(root, b'<?xml version="1.0" encoding="bz2_codec"?><annotation></annotation>'),
    "idna": lambda root: voc(root, '<?xml version="1.0" encoding="idna"?><annotation>' + "a" * 2_000_000 + "</annotation>"),
    "raw_unicode_escape": lambda root: voc(root, b'<?xml version="1.0" encoding="unicode_escape"?><annotation>\\x3c</annotation>'),
    "an object of a million names": lambda root: voc(root, "<annotation>" + "<object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>" * 140_000 + "</annotation>"),
    "a category id of 10**9": lambda root: coco(root, categories='[{"id": 1, "name": "cat"}, {"id": 1000000000, "name": "dog"}]'),
    "300,000 categories": lambda root: coco(root, categories="[" + ",".join(f'{{"id": {i}, "name": "c{i}"}}' for i in range(300_000)) + "]"),
    "a category name of 50 MB": lambda root: coco(root, categories=f'[{{"id": 1, "name": "{"c" * 50 * MB}"}}]'),
    "a category of a wrong kind, 20 MB": lambda root: coco(root, categories=f'[{{"id": "x", "name": "{"c" * 20 * MB}"}}]'),
    "a bbox of 20 MB": lambda root: coco(root, annotations='[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [' + "1," * 10_000_000 + "1]}]"),
    "an integer of a million digits": lambda root: coco(root, annotations=f'[{{"id": 1, "image_id": 1, "category_id": {"9" * 10**6}, "bbox": [1,1,9,9]}}]'),
    "json 100,000 deep": lambda root: coco(root, info="[" * 100_000),
    "json 900 deep, often": lambda root: coco(root, info="[" + ",".join(["[" * 900 + "]" * 900] * 5000) + "]"),
    "a segmentation 990 deep": lambda root: coco(root, annotations='[{"id": 1, "image_id": 1, "category_id": 1, "segmentation": ' + "[" * 990 + "]" * 990 + "}]"),
    "run lengths of 2**60 pixels": lambda root: coco(root, annotations='[{"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [1000000000, 1000000000], "counts": [1000000000000000000]}}]'),
    "5 million empty objects": lambda root: coco(root, annotations="[" + ",".join(["{}"] * 5_000_000) + "]"),
    "a sparse json of 9 GB": lambda root: (coco(root), (root / "labels.json").open("r+b").truncate(9 << 30)),
    "a sparse json of 2 GB": lambda root: (coco(root), (root / "labels.json").open("r+b").truncate(2 << 30)),
    "a csv field of 100 MB": lambda root: csv(root, f'"{"x" * 100 * MB}'),
    "a csv line of a million fields": lambda root: csv(root, "," * MB * 50 + "\n"),
    "a csv with 10**6 digits": lambda root: csv(root, f"a.jpg,{'9' * 100_000},1,2,3,cat\n"),
    "a csv of 300,000 classes": lambda root: csv(root, "".join(f"a.jpg,1,1,9,9,c{i}\n" for i in range(300_000))),
    "an ndjson line of 200 MB": lambda root: ndjson(root, '{"type": "' + "x" * 200 * MB),
    "ndjson, deep": lambda root: ndjson(root, "[" * 100_000),
    "ndjson, digits": lambda root: ndjson(root, '{"type": "image", "file": "a.jpg", "width": ' + "9" * 1_000_000 + "}"),
    "ndjson class ids": lambda root: ndjson(root, '{"type": "dataset", "class_names": {"999999999": "x"}}'),
    "an ndjson line of 10 million lists": lambda root: ndjson(root, '{"type": "image", "file": "a.jpg", "annotations": [' + "[]," * 10_000_000 + "[]]}"),
    "a category of 2 million lists": lambda root: coco(root, categories="[" + "{}," * 2_000_000 + "{}]"),
    "a million attributes with >": lambda root: voc(root, "<annotation><a " + " ".join(f"a{i}='>'" for i in range(600_000)) + "/></annotation>"),
    "a million attributes in CVAT": lambda root: cvat(root, "<image " + " ".join(f"a{i}='>'" for i in range(3_000_000)) + "/>"),
    "a comment of 100 MB in CVAT": lambda root: cvat(root, "<!--" + "x" * 100 * MB + "-->"),
    "a label of CVAT in 300,000 pieces": lambda root: cvat(root, "<meta><task><labels><label><name>" + "a<x/>" * 300_000 + "</name></label></labels></task></meta>"),
    "300,000 labels of CVAT": lambda root: cvat(root, "<meta><task><labels>" + "".join(f"<label><name>c{i}</name></label>" for i in range(300_000)) + "</labels></task></meta>"),
    "a sparse CVAT file of 1.9 GB": lambda root: (cvat(root, ""), (root / "annotations.xml").open("r+b").truncate(1900 * MB)),
    "a hole of 2 GB before the end of a json": lambda root: with_hole(root),
    "one image of a list and 10 million that are not here": lambda root: (yolo(root, DATA.replace("train: images", "train: list.txt")), write_text(root / "list.txt", "images/a.jpg\n" + "a\n" * 10_000_000)),
    "a split list of 5 million stems, one here": lambda root: (voc(root, "<annotation/>"), write_text(root / "ImageSets/Main/train.txt", "a\n" + "zz\n" * 5_000_000)),
    "a sparse manifest.json of 9 GB": lambda root: (yolo(root), write_text(root / "manifest.json", '{"images": ['), (root / "manifest.json").open("r+b").truncate(9 << 30)),
}  # fmt: skip
"""Kind -> what writes the dataset into a folder."""

TEXT_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "categories": (
        lambda root: coco(root, categories="[" + ",".join(f'{{"id":{i},"name":"c{i}"}}' for i in range(50_001)) + "]"),
        "labels.json: got 50001 classes, expected at most 50000",
    ),
    "category": (lambda root: coco(root, categories=f'[{{"id": "x", "name": "{"c" * 5000}"}}]'), "labels.json: category {'id': 'x'"),
    "annotation": (
        lambda root: coco(root, annotations='[{"id": 1, "image_id": 1, "category_id": 1, "bbox": [' + " " * (9 * MB) + "]}]"),
        "labels.json:1: got a value of",
    ),
    "zeros": (lambda root: (coco(root), (root / "labels.json").open("r+b").truncate(9999)), "its copy is incomplete. Get it again."),
    "csv": (lambda root: csv(root, "".join(f"a.jpg,1,1,9,9,c{i}\n" for i in range(50_001))), "labels.csv: got 500"),
    "classes": (
        lambda root: (yolo(root), (root / "data.yaml").unlink(), write_text(root / "classes.txt", "c" * 2000)),
        "classes.txt: the class name 'ccc",
    ),
}  # fmt: skip
"""Small bombs for ordinary tests: kind -> what writes it, and what is said."""
