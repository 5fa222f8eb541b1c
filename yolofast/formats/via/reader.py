"""Reads the JSON of the VGG Image Annotator (VIA 1 and 2): a project, or its exported annotations.

A file maps keys to images; each has a `filename` and `regions` with `shape_attributes` (in pixels) and
`region_attributes`. The class is the value of one attribute: of a usual name, or the only one there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from yolofast.brief import brief
from yolofast.errors import DataError
from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelFileError, LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.json_files import read_json
from yolofast.formats.names.order import ONLY_CLASS
from yolofast.formats.shapes import Box, around_ellipse, around_points
from yolofast.formats.tables.header import column_key
from yolofast.formats.values import NoBox, as_floats, want_dict, want_text
from yolofast.types import Finding

MAX_BYTES = 256 << 20
_CLASS_ATTRIBUTES = (
    "class", "classname", "label", "labelname", "category", "name", "type", "objecttype", "object", "species",
)  # fmt: skip
"""Attributes that hold the class, as `column_key` spells them; the first that a dataset has is used."""
_WITHOUT_AREA = frozenset({"point", "polyline"})

find_via = json_finder("via")


def _rect(values: tuple[float, ...]) -> Box:
    return values[0], values[1], values[0] + values[2], values[1] + values[3]


def _circle(values: tuple[float, ...]) -> Box:
    return around_ellipse(values[0], values[1], values[2], values[2])


def _ellipse(values: tuple[float, ...]) -> Box:
    return around_ellipse(*values)


_SHAPES: Mapping[str, tuple[tuple[str, ...], Callable[[tuple[float, ...]], Box], str | None]] = (
    MappingProxyType(
        {
            "rect": (("x", "y", "width", "height"), _rect, None),
            "circle": (("cx", "cy", "r"), _circle, "circles"),
            "ellipse": (("cx", "cy", "rx", "ry", "theta"), _ellipse, "ellipses"),
        }
    )
)
"""Shape -> its attributes, the box around it, and what such rows are called."""


def open_via(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VIA files of a tree as one dataset, with the classes that occur.

    A file is a split when its path names one. An image without regions is background: VIA does not say
    whether somebody has looked at it.

    Raises `DataError` when several attributes could be the class.
    """
    reading = Reading(tree)
    attribute = _class_attribute(tree, files)
    if attribute is None:
        message = f"no region has an attribute: all are of one class, '{ONLY_CLASS}'"
        reading.findings.append(Finding("warning", "names-missing", message, str(files[0])))
    else:
        reading.evidence.append(f"class names from the attribute '{attribute}'")

    def read(file: LabelFile) -> None:
        for entry in _images(file.path):
            with file.entry():
                _read_image(file, want_dict(entry, "an image"), attribute)

    return open_annotated("via", tree, files, read, reading, what="VIA json file")


def _images(path: Path) -> Iterator[object]:
    """The entries of a file: of a project, or of exported annotations."""
    content = want_dict(read_json(path, MAX_BYTES), "the file")
    yield from want_dict(content.get("_via_img_metadata", content), "'_via_img_metadata'").values()


def _regions(entry: dict[str, object]) -> list[object]:
    """The regions of an image: a list, in VIA 1 an object with numbers as keys."""
    regions = entry.get("regions")
    if isinstance(regions, dict):
        return list(regions.values())
    if not isinstance(regions, list):
        raise LabelFileError(f"'regions': got {brief(regions)}, expected a list")
    return regions


def _class_attribute(tree: FileTree, files: tuple[Path, ...]) -> str | None:
    """The region attribute that holds the class; None when no region has an attribute."""
    found: Counter[str] = Counter()
    for path in files:
        try:
            for entry in _images(path):
                if isinstance(entry, dict) and isinstance(entry.get("regions"), list | dict):
                    for region in _regions(entry):
                        attributes = region.get("region_attributes") if isinstance(region, dict) else None
                        found.update(list(attributes) if isinstance(attributes, dict) else ())
        except LabelFileError:
            continue  # reported when the file is read
    usual = {column_key(name): name for name in found}
    for key in _CLASS_ATTRIBUTES:
        if key in usual:
            return usual[key]
    if len(found) > 1:
        shown = ", ".join(f"'{name}'" for name, _ in found.most_common(5))
        raise DataError(
            f"{files[0]}: regions have the attributes {shown}: which is the class? "
            "Rename that one to 'class'."
        )
    return next(iter(found), None)


def _label(attributes: object, attribute: str | None) -> object:
    """The class of a region: a text, or the one option that is ticked."""
    if attribute is None:
        return ONLY_CLASS
    value = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on]
        return ticked[0] if len(ticked) == 1 else value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _read_image(file: LabelFile, entry: dict[str, object], attribute: str | None) -> None:
    image = file.image(want_text(entry.get("filename"), "'filename'"))
    for region in _regions(entry):
        shape = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(region, dict) or not isinstance(shape, dict):
            image.add("", NoBox("box-syntax", f"got {brief(region)}, expected 'shape_attributes'"))
            continue
        label = _label(region.get("region_attributes"), attribute)
        image.add(label, *_box(shape))


def _box(shape: dict[str, object]) -> tuple[Box | NoBox, None, str | None]:
    """The box around a shape, no line of its own, and what the shape is if not a box."""
    kind = shape.get("name")
    if not isinstance(kind, str):
        return NoBox("box-syntax", f"{brief(shape)}: expected the 'name' of a shape"), None, None
    if kind in _WITHOUT_AREA:
        return NoBox("box-shape", f"a {kind} has no area, so no box. Draw a rectangle."), None, None
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if isinstance(xs, list) and isinstance(ys, list) and len(xs) == len(ys) > 2:
            numbers = as_floats([*xs, *ys])
            if numbers is not None:
                return (
                    around_points(zip(numbers[: len(xs)], numbers[len(xs) :], strict=True)),
                    None,
                    "polygons",
                )
        return NoBox("box-columns", "polygon: expected 3 or more points, x and y"), None, None
    if kind not in _SHAPES:
        known = ", ".join([*_SHAPES, "polygon"])
        return NoBox("box-shape", f"shape {brief(kind)}: expected one of {known}"), None, None
    keys, around, plural = _SHAPES[kind]
    numbers = as_floats(shape.get(key, 0 if key == "theta" else None) for key in keys)
    if numbers is None:
        return (
            NoBox("box-columns", f"{kind} {brief(shape)}: expected numbers {', '.join(keys)}"),
            None,
            None,
        )
    return around(numbers), None, plural
