"""Reads CVAT for images (XML 1.1): one file a task or project, with all images and their shapes in pixels.

Boxes, polygons, ellipses, masks and cuboids become the upright boxes around them, turned as they are;
polylines, points and image tags are no boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from yolofast.brief import brief
from yolofast.formats.annotated_images import AnnotatedImage, LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelFileError, LabelledDataset, check_size, parsing
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import cvat_files
from yolofast.formats.shapes import Box, around_ellipse, around_points, around_turned
from yolofast.formats.splits import split_of
from yolofast.formats.values import NoBox, as_floats, from_corner, read_box
from yolofast.formats.xml_files import parse_xml, safe_parser, too_deep
from yolofast.limits import MAX_CLASSES, MAX_DEPTH, MAX_NAME

MAX_BYTES = 2 << 30
"""The file is parsed as a stream: only its boxes stay in memory."""
_CUBOID = tuple(f"{axis}{corner}{n}" for n in (1, 2) for corner in ("tl", "bl", "tr", "br") for axis in "xy")
Attributes = Mapping[str, str]

find_cvat = cvat_files


def open_cvat(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The CVAT files of a tree as one dataset, with the labels of its tasks, in their order.

    The split is the `subset` of an image, else what the path of the file names, else the image's folder.
    """
    return open_annotated("cvat", tree, files, _read, Reading(tree), what="CVAT xml file")


def _box(values: Attributes) -> Box | NoBox:
    box = read_box([values.get(key) for key in ("xtl", "ytl", "xbr", "ybr")], "xtl, ytl, xbr, ybr")
    angle = _angle(values)
    if isinstance(box, NoBox):
        return box
    if isinstance(angle, NoBox):
        return angle
    return around_turned(box, angle, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _angle(values: Attributes) -> float | NoBox:
    """Radians, clockwise."""
    numbers = as_floats([values.get("rotation", "0")])
    if numbers is None:
        return NoBox("box-columns", f"rotation '{values['rotation'][:80]}': expected degrees")
    return math.radians(numbers[0])


def _polygon(values: Attributes) -> Box | NoBox:
    points = [as_floats(point.split(",")) for point in values.get("points", "").split(";")]
    pairs = [point for point in points if point is not None and len(point) == 2]
    if len(pairs) != len(points) or len(pairs) < 3:
        return NoBox(
            "box-columns", f"points '{values.get('points', '')[:80]}': expected 3 or more as x,y;x,y"
        )
    return around_points((x, y) for x, y in pairs)


def _ellipse(values: Attributes) -> Box | NoBox:
    numbers = as_floats(values.get(key) for key in ("cx", "cy", "rx", "ry"))
    angle = _angle(values)
    if numbers is None:
        return NoBox("box-columns", f"ellipse {brief(dict(values))}: expected numbers cx, cy, rx, ry")
    if isinstance(angle, NoBox):
        return angle
    x, y, radius_x, radius_y = numbers
    return around_ellipse(x, y, radius_x, radius_y, angle)


def _mask(values: Attributes) -> Box | NoBox:
    box = read_box(
        [values.get(key) for key in ("left", "top", "width", "height")], "left, top, width, height"
    )
    return from_corner(box)


def _cuboid(values: Attributes) -> Box | NoBox:
    numbers = as_floats(values.get(key) for key in _CUBOID)
    if numbers is None:
        return NoBox("box-columns", "cuboid: expected the 8 corners xtl1, ytl1, ... ybr2")
    return around_points(zip(numbers[::2], numbers[1::2], strict=True))


_SHAPES: Mapping[str, tuple[Callable[[Attributes], Box | NoBox], str | None]] = MappingProxyType(
    {
        "box": (_box, None),
        "polygon": (_polygon, "polygons"),
        "ellipse": (_ellipse, "ellipses"),
        "mask": (_mask, "masks"),
        "cuboid": (_cuboid, "cuboids"),
    }
)
"""Element -> the box around it, and what such rows are called."""
_WITHOUT_AREA: Mapping[str, str] = MappingProxyType({"polyline": "lines", "points": "points"})


class _Content:
    """The handlers of a file's elements; `path` is where the parser is."""

    def __init__(self, file: LabelFile) -> None:
        self.file = file
        self.parser = safe_parser()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.path: list[str] = []
        self.image: AnnotatedImage | None = None
        self.label = ""
        self.labels: list[str] = []
        self.is_part = False

    def start(self, tag: str, values: dict[str, str]) -> None:
        self.path.append(tag)
        line = self.parser.CurrentLineNumber
        if len(self.path) > MAX_DEPTH:
            raise too_deep(self.parser)
        if len(self.path) == 1 and tag != "annotations":
            raise LabelFileError(f"not a CVAT file: got '{tag}', expected 'annotations'", line)
        if tag == "track" and len(self.path) == 2:
            raise LabelFileError(
                "CVAT for video: its frames have no image names. Export the task as 'CVAT for images'", line
            )
        if tag == "image" and len(self.path) == 2:
            self._start_image(values, line)
        elif self.image is not None and len(self.path) == 3:
            self._add_shape(self.image, tag, values, line)
        elif self.path[-2:] == ["labels", "label"]:
            self.label, self.is_part = "", False
        elif self.path[-2:] == ["label", "parent"]:
            self.is_part = True  # of a skeleton

    def text(self, data: str) -> None:
        if len(self.label) <= MAX_NAME and self.path[-3:] == ["labels", "label", "name"]:
            self.label += data

    def end(self, tag: str) -> None:
        if self.path[-2:] == ["labels", "label"] and self.label.strip() and not self.is_part:
            self.labels.append(self.label.strip())
            if len(self.labels) > MAX_CLASSES:
                raise LabelFileError(f"got {len(self.labels)} classes, expected at most {MAX_CLASSES}")
        if len(self.path) == 2:
            self.image = None
        self.path.pop()

    def _start_image(self, values: dict[str, str], line: int) -> None:
        with self.file.entry(line):
            if not values.get("name"):
                raise LabelFileError("an image without a name", line)
            self.image = self.file.image(values["name"], line=line)
            self.image.split = split_of(Path(values.get("subset", "")))
            if "width" in values and "height" in values:
                self.image.stated = values["width"], values["height"]

    def _add_shape(self, image: AnnotatedImage, tag: str, values: dict[str, str], line: int) -> None:
        label = values.get("label", "")
        if tag in _SHAPES:
            around, kind = _SHAPES[tag]
            if values.get("rotation", "0") not in ("0", "0.0", "0.00") and kind is None:
                kind = "turned boxes"
            image.add(label, around(values), line, kind)
        elif tag in _WITHOUT_AREA:
            image.add(
                label,
                NoBox(
                    "box-shape", f"'{label}': {_WITHOUT_AREA[tag]} have no area, so no box. Draw a rectangle."
                ),
                line,
            )
        elif tag == "skeleton":
            image.add(label, NoBox("box-shape", f"'{label}' is a skeleton of points: no box"), line)
        elif tag == "tag":
            self.file.reading.skipped["tags of images"] += 1


def _read(file: LabelFile) -> None:
    content = _Content(file)
    with parsing():
        check_size(file.path, MAX_BYTES)
        with file.path.open("rb") as stream:
            parse_xml(content.parser, stream)
    file.reading.list_names(content.labels)
