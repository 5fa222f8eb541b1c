"""Reads NDJSON as trainers export it: a line about the dataset with `class_names`, then a line an image.

Boxes are `[class, centre x, centre y, width, height]`, divided by the image size; poses have the same before
their keypoints. Segments and oriented boxes (`[class, x1, y1, x2, y2, ...]`) become the boxes around them.
"""

from __future__ import annotations

import json
from pathlib import Path

from yolofast.brief import brief
from yolofast.formats.annotated_images import AnnotatedImage, LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelFileError, LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.shapes import around_points
from yolofast.formats.splits import split_of
from yolofast.formats.text_lines import read_lines
from yolofast.formats.values import NoBox, as_floats, from_centre, want_dict, want_list, want_text
from yolofast.limits import MAX_ENTRY_VALUES

MAX_BYTES = 2 << 30
_OUTLINES = {"segments": "polygons", "obb": "oriented boxes"}
"""Key of annotations with an outline -> what they are."""
_SHOWN = " or ".join(f"'{key}'" for key in _OUTLINES)

find_ndjson = json_finder("ndjson")


def open_ndjson(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The NDJSON files of a tree as one dataset, with the classes and splits that they state."""
    return open_annotated("ndjson", tree, files, _read, Reading(tree), what="NDJSON file")


def _class_names(value: object) -> dict[int, str]:
    """Class id -> name of `class_names`: a list, or an object with ids as keys."""
    pairs = dict(enumerate(value)) if isinstance(value, list) else want_dict(value, "'class_names'")
    names = {}
    for key, name in pairs.items():
        if not str(key).isdecimal() or len(str(key)) > 9:
            raise LabelFileError(f"'class_names': got the id {brief(key)}, expected a whole number", 1)
        names[int(key)] = want_text(name, f"'class_names': class {key}")
    return dict(sorted(names.items()))


def _parse(text: str, line: int) -> dict[str, object]:
    if text.count("{") + text.count("[") > MAX_ENTRY_VALUES:
        raise LabelFileError(f"over {MAX_ENTRY_VALUES} lists and objects in one line", line)
    try:
        return want_dict(json.loads(text), "the line")
    except (ValueError, RecursionError) as error:
        raise LabelFileError(f"not valid JSON: {error}", line) from None


def _read(file: LabelFile) -> None:
    lines = read_lines(file.path, MAX_BYTES)
    line, text = next(lines, (1, ""))
    names = _class_names(_parse(text, line).get("class_names"))
    file.reading.list_names(names.values())
    for line, text in lines:
        with file.entry(line):
            _read_image(file, line, _parse(text, line), names)


def _read_image(file: LabelFile, line: int, record: dict[str, object], names: dict[int, str]) -> None:
    if record.get("type", "image") != "image":
        raise LabelFileError(f"'type': got {brief(record['type'])}, expected 'image'", line)
    image = file.image(want_text(record.get("file"), "'file'"), line=line)
    image.normalised = True
    split, stated = record.get("split"), (record.get("width"), record.get("height"))
    if split is not None:
        image.split = split_of(Path(want_text(split, "'split'")))
    image.stated = None if None in stated else stated
    for key, rows in want_dict(record.get("annotations") or {}, "'annotations'").items():
        if key in ("boxes", "pose", *_OUTLINES):
            for row in want_list(rows, f"'{key}'"):
                _add_row(image, line, key, row, names)
        elif rows:
            raise LabelFileError(f"'annotations': got '{key}', expected 'boxes', 'pose' or {_SHOWN}", line)


def _add_row(image: AnnotatedImage, line: int, key: str, row: object, names: dict[int, str]) -> None:
    numbers = as_floats(row) if isinstance(row, list) else None
    outline = _OUTLINES.get(key)
    length = 0 if numbers is None else len(numbers)
    fits = length >= 7 and length % 2 if outline else length == 5 or (key == "pose" and length > 5)
    if numbers is None or not fits:
        wanted = "class, x1, y1, x2, y2, ..." if outline else "class, x, y, width, height"
        image.add("", NoBox("box-columns", f"{key} {brief(row)}: expected the numbers {wanted}"), line)
    elif numbers[0] not in names:
        image.add("", NoBox("box-class", f"class {numbers[0]:g}: not in 'class_names'"), line)
    elif outline:
        points = zip(numbers[1::2], numbers[2::2], strict=False)
        image.add(names[int(numbers[0])], around_points(points), line, kind=outline)
    else:
        x, y, width, height = numbers[1:5]
        image.add(names[int(numbers[0])], from_centre((x, y, width, height)), line)
