"""Reads Label Studio's JSON and JSON-MIN: a list of tasks, each with the regions of one image, in percent.

A task may have several annotations (by several people): one counts. Rectangles, polygons and ellipses become
the boxes around them, turned as they are; brush strokes and points are no boxes.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from yolofast.brief import brief
from yolofast.formats.annotated_images import AnnotatedImage, LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelFileError, LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.json_files import read_entries
from yolofast.formats.name_keys import decoded
from yolofast.formats.shapes import Box, around_ellipse, around_points, around_turned
from yolofast.formats.values import NoBox, as_floats, want_dict, want_list
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import Finding

MAX_BYTES = 2 << 30
_RECTANGLE = ("x", "y", "width", "height")
_ELLIPSE = ("x", "y", "radiusX", "radiusY")
_WITHOUT_AREA = frozenset({"keypoint", "keypointlabels", "vector", "vectorlabels"})
_ANSWERS = frozenset({"choices", "textarea", "rating", "number", "taxonomy", "datetime", "ranker"})
"""Types of results that say something about the image or a shape; they repeat the numbers of the shape."""
_MASKS = frozenset({"brush", "brushlabels", "bitmask", "bitmasklabels"})

find_label_studio = json_finder("label_studio")


def open_label_studio(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The Label Studio exports of a tree as one dataset, with the labels that occur.

    A file is a split when its path names one. A task without an annotation, or whose annotations were all
    cancelled, is not annotated. Of several annotations the ground truth counts, else the newest.
    """
    return open_annotated("label_studio", tree, files, _read, Reading(tree), what="Label Studio json file")


def _read(file: LabelFile) -> None:
    for line, value in read_entries(file.path, MAX_BYTES):
        with file.entry(line):
            task = want_dict(value, "a task")
            regions, note = _regions(task)
            if regions is None:
                continue
            image = file.image(_image_name(task), line=line)
            if note is not None:
                image.notes.append(Finding("warning", "image-repeated", note, str(file.path), line))
            image.normalised = True
            labelled = {str(each.get("id")) for each in regions if isinstance(each, dict) and _labels(each)}
            for region in regions:
                if not isinstance(region, dict) or not isinstance(region.get("value", region), dict):
                    image.add("", NoBox("box-syntax", f"got {brief(region)}, expected a region"))
                elif _is_shape(region) and (_labels(region) or not _has_id_of(region, labelled)):
                    _add_region(image, region)


def _regions(task: dict[str, object]) -> tuple[list[object] | None, str | None]:
    """The regions of the annotation that counts, and a note where there are several; None without one."""
    key = "annotations" if "annotations" in task else "completions"
    if key not in task and "data" in task:  # with predictions alone
        return None, None
    if key not in task:  # JSON-MIN: each control's regions are a list of the task
        lists = [value for value in task.values() if isinstance(value, list)]
        return [
            region for each in lists for region in each
            if isinstance(region, dict) and "original_width" in region
        ], None  # fmt: skip
    annotations = [want_dict(each, "an annotation") for each in want_list(task[key], f"'{key}'")]
    valid = [each for each in annotations if not each.get("was_cancelled")]
    if not valid:
        return None, None
    truths = [each for each in valid if each.get("ground_truth")]
    newest = max(
        truths or valid, key=lambda each: str(each.get("updated_at") or each.get("created_at") or "")
    )
    note = None
    if len(valid) > 1:
        which = "the ground truth" if truths else "the newest"
        note = f"task {task.get('id')} has {len(valid)} annotations: {which} counts"
    return want_list(newest.get("result"), "'result'"), note


def _image_name(task: dict[str, object]) -> str:
    """The image of a task: the path of a URL, or the one in `/data/local-files/?d=PATH`, decoded."""
    data = task.get("data", task)
    values = list(data.values()) if isinstance(data, dict) else []
    for text in (*values, task.get("file_upload")):
        if not isinstance(text, str):
            continue
        for name in (*_local_path(text), decoded(text)):
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                return name
    raise LabelFileError(f"task {task.get('id')}: no value of 'data' names an image")


def _local_path(url: str) -> list[str]:
    try:
        return parse_qs(urlsplit(url).query).get("d", [])
    except ValueError:
        return []


def _has_id_of(region: dict[str, object], ids: Collection[str]) -> bool:
    return region.get("id") is not None and str(region["id"]) in ids


def _is_shape(region: dict[str, object]) -> bool:
    """Whether a result is a shape: not a choice or text, about the image or a shape, and not a relation."""
    value = region.get("value", region)
    return (
        str(region.get("type")) not in _ANSWERS
        and isinstance(value, dict)
        and bool(value.keys() & {"x", "points", "rle", "vertices"})
    )


def _labels(region: dict[str, object]) -> list[object]:
    """The labels of a region: the list called after its type ('rectanglelabels'), or 'labels'."""
    value = region.get("value", region)
    if not isinstance(value, dict):
        return []
    lists = (labels for key, labels in value.items() if key.endswith("labels") and isinstance(labels, list))
    return next(filter(None, lists), [])


def _add_region(image: AnnotatedImage, region: dict[str, object]) -> None:
    value = want_dict(region.get("value", region), "'value'")
    width, height = region.get("original_width"), region.get("original_height")
    size = as_floats((width, height))
    if size is not None and image.stated is None:
        image.stated = width, height
    usable = size if size is not None and all(math.isfinite(side) and side > 0 for side in size) else None
    box, kind = _box(str(region.get("type", "")), value, usable)
    if region.get("image_rotation"):
        turned = (
            f"drawn on the image turned by {str(region['image_rotation'])[:20]} degrees, which is not read"
        )
        box, kind = NoBox("box-shape", turned), None
    for label in _labels(region) or [None]:
        image.add(label, box, kind=kind)


def _box(
    kind: str, value: dict[str, object], size: tuple[float, ...] | None
) -> tuple[Box | NoBox, str | None]:
    """The box around a region, divided by the image size, and what it is if not a box.

    Angles are of the picture: what is turned is turned in pixels.
    """
    if "rle" in value or kind in _MASKS:
        return NoBox("box-shape", "a brush mask is not read. Export it as COCO, or draw a rectangle."), None
    if kind in _WITHOUT_AREA or "vertices" in value:
        return NoBox("box-shape", f"a {kind or 'vector'} has no area, so no box. Draw a rectangle."), None
    if "points" in value:
        points = value["points"]
        if isinstance(points, list) and len(points) > 2 and all(isinstance(p, list) for p in points):
            pairs = [as_floats(point) for point in points]
            if all(pair is not None and len(pair) == 2 for pair in pairs):
                return around_points((p[0] / 100, p[1] / 100) for p in pairs if p is not None), "polygons"
        return NoBox("box-columns", "polygon: expected 3 or more points of two numbers"), None
    keys = _ELLIPSE if "radiusX" in value else _RECTANGLE
    numbers = as_floats(value.get(key) for key in keys)
    angles = as_floats([value.get("rotation") or 0])
    if numbers is None or angles is None:
        return NoBox("box-columns", f"{brief(value)}: expected {', '.join(keys)} in percent"), None
    angle = math.radians(angles[0])
    if size is None:
        if angle:
            return NoBox("box-shape", "a turned shape needs 'original_width' and 'original_height'"), None
        size = (1.0, 1.0)
    width, height = size
    x, y, a, b = (n / 100 * side for n, side in zip(numbers, (width, height) * 2, strict=True))
    what = "ellipses" if keys is _ELLIPSE else "turned boxes" if angle else None
    box = (
        around_ellipse(x, y, a, b, angle)
        if keys is _ELLIPSE
        else around_turned((x, y, x + a, y + b), angle, (x, y))
    )
    return (box[0] / width, box[1] / height, box[2] / width, box[3] / height), what
