"""Writes small datasets in every label format that is read, independently of the readers and their code.

Each writer follows the public description of its format. Coordinates are written with all their digits.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.dataset_files import voc_xml, write_image, write_json, write_text

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Made:
    """An image to be written: its stem, split ("" for none), size, and rows of class name and xyxy."""

    stem: str
    split: str
    size: tuple[int, int]
    rows: tuple[tuple[str, Corners], ...]

    @property
    def folder(self) -> str:
        return f"{self.split}/" if self.split else ""

    @property
    def name(self) -> str:
        return f"{self.stem}.jpg"


Writer = Callable[[Path, Sequence[str], Sequence[Made]], None]


def by_split(images: Sequence[Made]) -> list[tuple[str, list[Made]]]:
    """(what the name of a split's file ends with, its images)"""
    splits = dict.fromkeys(image.split for image in images)
    return [(f"_{s}" if s else "", [image for image in images if image.split == s]) for s in splits]


def _number(value: float) -> str:
    return repr(float(value))


def _centre(box: Corners) -> Corners:
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def _corner(box: Corners) -> Corners:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


def _shares(box: Corners, size: tuple[int, int]) -> Corners:
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]


def _each_file(images: Sequence[Made], folder: str, suffix: str) -> Iterable[tuple[str, Made]]:
    return ((f"{image.folder}{folder}/{image.stem}{suffix}", image) for image in images)


def _yolo(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for path, image in _each_file(images, "labels", ".txt"):
        rows = [(names.index(name), *_shares(_centre(box), image.size)) for name, box in image.rows]
        write_text(root / path, "".join(" ".join(map(str, row)) + "\n" for row in rows))
    write_text(root / "classes.txt", "\n".join(names) + "\n")


def coco_content(names: Sequence[str], images: Sequence[Made]) -> dict[str, Any]:
    annotations = [
        {"image_id": i, "category_id": names.index(name) + 1, "bbox": list(_corner(box)), "iscrowd": 0}
        for i, image in enumerate(images)
        for name, box in image.rows
    ]
    return {
        "images": [
            {"id": i, "file_name": m.name, "width": m.size[0], "height": m.size[1]}
            for i, m in enumerate(images)
        ],
        "annotations": [{"id": i, **each} for i, each in enumerate(annotations, 1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }


def _coco(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        write_json(root / f"annotations/instances{end}.json", coco_content(names, some))


def _lvis(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        content = coco_content(names, some)
        for entry, image in zip(content["images"], some, strict=True):
            del entry["file_name"]
            entry["coco_url"] = f"http://images.example/{image.folder}images/{image.name}"
            entry |= {"neg_category_ids": [1], "not_exhaustive_category_ids": []}
        write_json(root / f"lvis_v1{end}.json", content)


def _voc(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for path, image in _each_file(images, "Annotations", ".xml"):
        rows = [(_attribute(name), *box) for name, box in image.rows]
        write_text(root / path, voc_xml(rows, *image.size, filename=image.name))


def _csv_text(rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _csv(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        rows: list[Sequence[object]] = [("filename", "class", "xmin", "ymin", "xmax", "ymax")]
        for image in some:
            rows += [(image.name, name, *box) for name, box in image.rows] or [(image.name, *[""] * 5)]
        write_text(root / f"labels{end}.csv", _csv_text(rows))


def _open_images(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        rows: list[Sequence[object]] = [("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")]
        for image in some:
            for name, box in image.rows:
                x1, y1, x2, y2 = _shares(box, image.size)
                rows.append((image.stem, name, x1, x2, y1, y2))
        write_text(root / f"boxes{end}.csv", _csv_text(rows))


def _labelme(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for path, image in _each_file(images, "json", ".json"):
        shapes = [
            {"label": name, "shape_type": "rectangle", "points": [box[:2], box[2:]]}
            for name, box in image.rows
        ]
        width, height = image.size
        content = {"imagePath": f"../images/{image.name}", "imageWidth": width, "imageHeight": height}
        write_json(root / path, {"version": "5.4.1", "shapes": shapes, **content})


def _attribute(text: str) -> str:
    return "".join(f"&#{ord(c)};" if c in "<>&'\"" else c for c in text)


def _cvat(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    labels = "".join(f"<label><name>{_attribute(name)}</name><attributes/></label>\n" for name in names)
    elements = []
    for i, image in enumerate(images):
        subset = f' subset="{image.split.title()}"' if image.split else ""
        size = f'width="{image.size[0]}" height="{image.size[1]}"'
        elements.append(f'<image id="{i}" name="{_attribute(image.name)}"{subset} {size}>\n')
        for name, (x1, y1, x2, y2) in image.rows:
            corners = f'xtl="{x1!r}" ytl="{y1!r}" xbr="{x2!r}" ybr="{y2!r}"'
            elements.append(f'<box label="{_attribute(name)}" occluded="0" {corners} z_order="0"></box>\n')
        elements.append("</image>\n")
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    text = f"<annotations>\n<version>1.1</version>\n{meta}\n{''.join(elements)}</annotations>\n"
    write_text(root / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}')


def label_studio_task(image: Made, number: int) -> dict[str, Any]:
    width, height = image.size
    result = []
    for i, (name, box) in enumerate(image.rows):
        x, y, w, h = (share * 100 for share in _shares(_corner(box), image.size))
        value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [name]}
        common = {"original_width": width, "original_height": height, "image_rotation": 0}
        common |= {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
        result.append({"id": f"r{i}", **common, "value": value})
    annotation = {"id": number, "was_cancelled": False, "ground_truth": False, "result": result}
    url = f"/data/upload/1/0a1b2c3d-{quote(image.name)}"
    return {"id": number, "annotations": [annotation], "predictions": [], "data": {"image": url}}


def _label_studio(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        write_json(root / f"export{end}.json", [label_studio_task(m, i) for i, m in enumerate(some)])


def _via(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        entries = {}
        for image in some:
            regions = []
            for name, box in image.rows:
                shape = dict(zip(("x", "y", "width", "height"), _corner(box), strict=True))
                regions.append(
                    {"shape_attributes": {"name": "rect", **shape}, "region_attributes": {"class": name}}
                )
            entry = {"filename": image.name, "size": 123, "regions": regions, "file_attributes": {}}
            entries[f"{image.name}123"] = entry
        write_json(root / f"via{end}.json", {"_via_settings": {}, "_via_img_metadata": entries})


def _vott(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        assets = {}
        for i, image in enumerate(some):
            regions = []
            for name, box in image.rows:
                bounds = dict(zip(("left", "top", "width", "height"), _corner(box), strict=True))
                regions.append({"id": "r", "type": "RECTANGLE", "tags": [name], "boundingBox": bounds})
            size = {"width": image.size[0], "height": image.size[1]}
            asset = {"id": f"{i:032x}", "name": quote(image.name), "size": size, "state": 2, "type": 1}
            assets[asset["id"]] = {"asset": asset, "regions": regions, "version": "2.2.0"}
        tags = [{"name": name, "color": "#000000"} for name in names]
        write_json(root / f"project{end}-export.json", {"name": "p", "tags": tags, "assets": assets})


def _createml(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    keys = ("x", "y", "width", "height")
    for end, some in by_split(images):
        content = []
        for image in some:
            boxes = [
                {"label": name, "coordinates": dict(zip(keys, _centre(box), strict=True))}
                for name, box in image.rows
            ]
            content.append({"image": image.name, "annotations": boxes})
        write_json(root / f"createml{end}.json", content)


def _visdrone(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    known = (
        "",
        "pedestrian",
        "people",
        "bicycle",
        "car",
        "van",
        "truck",
        "tricycle",
        "awning-tricycle",
        "bus",
    )
    for path, image in _each_file(images, "annotations", ".txt"):
        rows = [",".join(map(_number, _corner(box))) + f",1,{known.index(n)},0,0" for n, box in image.rows]
        write_text(root / path, "\n".join(rows) + "\n")


def _kitti(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for path, image in _each_file(images, "label_2", ".txt"):
        space = "1.5 1.6 3.9 1.0 1.5 20.0 0.1"
        rows = [f"{name} 0.00 0 -1.57 {' '.join(map(_number, box))} {space}\n" for name, box in image.rows]
        write_text(root / path, "".join(rows))


def _dota(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for path, image in _each_file(images, "labelTxt", ".txt"):
        rows = []
        for name, (x1, y1, x2, y2) in image.rows:
            corners = ((x1 + x2) / 2, y1, x2, (y1 + y2) / 2, (x1 + x2) / 2, y2, x1, (y1 + y2) / 2)
            rows.append(f"{' '.join(map(_number, corners))} {name} 0\n")
        write_text(root / path, "imagesource:GoogleEarth\ngsd:0.14\n" + "".join(rows))


def _bdd100k(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    for end, some in by_split(images):
        content = []
        for image in some:
            labels: list[dict[str, Any]] = [
                {"id": i, "category": name, "box2d": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))}
                for i, (name, box) in enumerate(image.rows)
            ]
            labels.append({"id": 99, "category": "lane", "poly2d": [{"vertices": [[0, 0], [5, 5]]}]})
            content.append({"name": image.name, "attributes": {}, "timestamp": 10000, "labels": labels})
        write_json(root / f"det{end}.json", content)


def _ndjson(root: Path, names: Sequence[str], images: Sequence[Made]) -> None:
    ids = {str(i): name for i, name in enumerate(names)}
    lines: list[dict[str, Any]] = [{"type": "dataset", "task": "detect", "class_names": ids}]
    for image in images:
        boxes = [[names.index(name), *_shares(_centre(box), image.size)] for name, box in image.rows]
        line = {"type": "image", "file": image.name, "width": image.size[0], "height": image.size[1]}
        lines.append(
            line | ({"split": image.split} if image.split else {}) | {"annotations": {"boxes": boxes}}
        )
    write_text(root / "set.ndjson", "".join(json.dumps(line) + "\n" for line in lines))


WRITERS: dict[str, Writer] = {
    "yolo": _yolo,
    "coco": _coco,
    "voc": _voc,
    "csv": _csv,
    "openimages": _open_images,
    "labelme": _labelme,
    "cvat": _cvat,
    "label_studio": _label_studio,
    "via": _via,
    "vott": _vott,
    "createml": _createml,
    "visdrone": _visdrone,
    "kitti": _kitti,
    "dota": _dota,
    "lvis": _lvis,
    "bdd100k": _bdd100k,
    "ndjson": _ndjson,
}
"""Format -> its writer."""
LISTS_CLASSES = frozenset({"yolo", "coco", "lvis", "cvat", "vott", "ndjson"})
"""Formats that list their classes, so that the order and unused ones survive."""
WITHOUT_BACKGROUND = frozenset({"openimages"})
"""Formats that cannot name an image without boxes."""


def write_made(root: Path, label_format: str, names: Sequence[str], images: Sequence[Made]) -> Path:
    """Write images and labels: images in `images/` or `SPLIT/images/`."""
    for image in images:
        write_image(root / f"{image.folder}images/{image.name}", *image.size, seed=image.stem)
    WRITERS[label_format](root, names, images)
    return root


EXAMPLE = (
    Made("one", "train", (100, 50), (("car", (10.0, 5.0, 60.0, 45.0)), ("bus", (0.0, 0.0, 20.0, 10.0)))),
    Made("two", "train", (64, 64), (("car", (1.0, 2.0, 3.0, 4.0)),)),
    Made("three", "valid", (40, 30), (("bus", (0.0, 0.0, 40.0, 30.0)),)),
)
"""A dataset that every format can hold."""
EXAMPLE_NAMES = ("bus", "car")


def write_example(root: Path, label_format: str) -> Path:
    """`EXAMPLE` in a format."""
    return write_made(root, label_format, EXAMPLE_NAMES, EXAMPLE)
