"""Parses LabelMe JSON: the shapes of one image, each as the box around it.

A rectangle, polygon, circle or mask becomes its bounding box. Shapes with one `group_id` and label are the
visible parts of one object: one box around them. Points and lines have no area: they are dropped and
reported. Labels that the tool reserves (`__ignore__`, `_background_`) are no classes. `imageData`, a copy of
the image, is never decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from yolofast.brief import brief
from yolofast.formats.boxes import row_finding
from yolofast.formats.dataset import LabelFileError, RawRows
from yolofast.formats.json_files import read_json
from yolofast.formats.shapes import Box, Point, around_ellipse, around_points
from yolofast.formats.values import is_number
from yolofast.types import Finding

MAX_BYTES = 64 << 20
"""A larger file is assumed not to be LabelMe's: real ones, with the image inside, have a few MB."""
NUMBERED = "annotation"
"""`lines` are the shapes of a file, from 1, in this format."""
Points = list[Point]


def parse_file(path: Path) -> dict[str, Any]:
    """The content of a LabelMe file, with its list of `shapes`; raises `LabelFileError`."""
    content = read_json(path, MAX_BYTES)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise LabelFileError("not a LabelMe file: expected 'shapes' to be a list")
    return content


def _around_circle(points: Points) -> Box:
    """LabelMe stores the centre of a circle and a point on it."""
    (x, y), rim = points
    radius = math.hypot(rim[0] - x, rim[1] - y)
    return around_ellipse(x, y, radius, radius)


_SHAPES: Mapping[str, tuple[str, Callable[[int], bool], Callable[[Points], Box]]] = MappingProxyType(
    {
        "rectangle": ("2 corners or all 4", lambda n: n in (2, 4), around_points),
        "mask": ("2 corners", lambda n: n == 2, around_points),
        "polygon": ("3 or more points", lambda n: n >= 3, around_points),
        "rotation": ("4 corners", lambda n: n == 4, around_points),
        "circle": ("its centre and a point on it", lambda n: n == 2, _around_circle),
    }
)
"""Shape type -> what its points are, whether their number is valid, and the box around them."""
_WITHOUT_AREA = frozenset({"point", "points", "line", "linestrip"})


def _points(value: object) -> Points | None:
    if not isinstance(value, list):
        return None
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            return None
        if not all(map(is_number, point)):
            return None
        try:
            points.append((float(point[0]), float(point[1])))
        except OverflowError:
            return None
    return points


def is_reserved(label: object) -> bool:
    """Whether a label is one of LabelMe's own: areas to ignore or the background, not objects."""
    if not isinstance(label, str):
        return False
    return label == "_background_" or (len(label) > 4 and label.startswith("__") and label.endswith("__"))


def parse_shape(shape: object) -> tuple[str, Box] | tuple[str, str, None]:
    """(class name, box xyxy) of a shape, or (code, why it has no box, None)."""
    if not isinstance(shape, dict):
        return "box-syntax", f"got {brief(shape)}, expected an object with 'label' and 'points'", None
    kind, label = shape.get("shape_type", "polygon"), shape.get("label")
    if not isinstance(label, str) or not label:
        return "box-class", f"label {label!r}: expected the name of a class", None
    if isinstance(kind, str) and kind in _WITHOUT_AREA:
        return "box-shape", f"'{label}' is a {kind}: it has no area, so no box. Draw a rectangle.", None
    if not isinstance(kind, str) or kind not in _SHAPES:
        return "box-shape", f"'{label}': shape {kind!r}: expected one of {', '.join(_SHAPES)}", None
    wanted, fits, around = _SHAPES[kind]
    points = _points(shape.get("points"))
    if points is None or not fits(len(points)):
        got = f"{len(points)} points" if points is not None else "points that are not pairs of numbers"
        return "box-columns", f"'{label}' is a {kind} of {got}, expected {wanted}", None
    if not all(math.isfinite(value) for point in points for value in point):
        return "box-nan", f"'{label}' has a point with NaN or infinity, expected numbers", None
    return label, around(points)


@dataclass(slots=True)
class ShapeRows:
    """The rows of a file; `dropped` are the shapes without a box, `notes` the shapes that are one object."""

    rows: RawRows
    dropped: tuple[Finding, ...]
    notes: tuple[Finding, ...]


def shape_rows(
    path: Path, shapes: list[object], classes: Mapping[str, int], *, normalised: bool = False
) -> ShapeRows:
    """The rows of a file; `lines` count shapes from 1. A group has the number of its first shape."""
    boxes: list[tuple[Box, int, int]] = []
    groups: dict[tuple[str, int], list[int]] = {}  # (label, group_id) -> its shapes' numbers
    place: dict[tuple[str, int], int] = {}
    outlined: set[tuple[str, int]] = set()  # groups of more than rectangles
    dropped = []
    for number, shape in enumerate(shapes, 1):
        entry = shape if isinstance(shape, dict) else {}
        if is_reserved(entry.get("label")):
            why = f"label '{entry['label']}' is reserved by LabelMe: no class"
            dropped.append(row_finding("info", "box-reserved", why, path, number, NUMBERED))
            continue
        found = parse_shape(shape)
        if len(found) == 3:
            dropped.append(row_finding("error", found[0], found[1], path, number, NUMBERED))
            continue
        (label, box), group = found, entry.get("group_id")
        key = (label, group) if type(group) is int else None
        if key is not None and entry.get("shape_type") != "rectangle":
            outlined.add(key)
        if key is None or key not in groups:
            boxes.append((box, classes[label], number))
            if key is not None:
                groups[key], place[key] = [number], len(boxes) - 1
            continue
        groups[key].append(number)
        parts, _, first = boxes[place[key]]
        boxes[place[key]] = (around_points([parts[:2], parts[2:], box[:2], box[2:]]), classes[label], first)
    notes = tuple(
        _grouped(path, key, numbers, key not in outlined)
        for key, numbers in groups.items()
        if len(numbers) > 1
    )
    return ShapeRows(RawRows.collect(boxes, normalised=normalised), tuple(dropped), notes)


def _grouped(path: Path, key: tuple[str, int], numbers: list[int], rectangles: bool) -> Finding:
    """What is said about shapes that are one object."""
    (label, group), shapes = key, ", ".join(map(str, numbers))
    message = f"shapes {shapes} are one '{label}' (group_id {group}): one box around all"
    if not rectangles:
        return Finding("info", "shapes-grouped", message, str(path))
    message += ". If each rectangle is an object, remove their group_id"
    return Finding("warning", "shapes-grouped", message, str(path))
