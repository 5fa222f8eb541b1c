"""Reads BDD100K: JSON of images with `labels` of a `category` and a `box2d` in pixels.

Three forms are published: a list of images, the same list as `frames` of an object (Scalabel), and one file
an image whose single frame has `objects`. Lanes and drivable areas (`poly2d`) are no objects: they are
skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolofast.brief import brief
from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelFileError, LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.json_files import first_byte, read_entries, read_json
from yolofast.formats.values import NoBox, read_box, want_dict, want_list, want_text

MAX_BYTES = 2 << 30
MAX_OBJECT_BYTES = 256 << 20
"""For files that are one object, which cannot be read piece by piece."""
_KEYS = ("x1", "y1", "x2", "y2")

find_bdd100k = json_finder("bdd100k")


def open_bdd100k(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The BDD100K files of a tree as one dataset, with the categories that have a box.

    A file is a split when its path names one (`det_train.json`, `100k/val/...`).
    """
    return open_annotated("bdd100k", tree, files, _read, Reading(tree), what="BDD100K json file")


def _read(file: LabelFile) -> None:
    for line, value in _entries(file.path):
        with file.entry(line):
            _read_image(file, line, want_dict(value, "an image"))


def _entries(path: Path) -> Iterator[tuple[int | None, object]]:
    """(line, image) of each image of a file, in any of the three forms."""
    if first_byte(path) == b"[":
        yield from read_entries(path, MAX_BYTES)
        return
    content = want_dict(read_json(path, MAX_OBJECT_BYTES), "the file")
    frames = want_list(content.get("frames"), "'frames'")
    if "name" not in content:
        yield from ((None, frame) for frame in frames)
        return
    if len(frames) > 1:
        raise LabelFileError(f"got {len(frames)} frames: a video, expected one image")
    objects = want_dict(frames[0], "'frames'").get("objects") if frames else None
    yield None, {"name": content["name"], "labels": objects}


def _read_image(file: LabelFile, line: int | None, entry: dict[str, object]) -> None:
    image = file.image(want_text(entry.get("name"), "'name'"), line=line)
    for label in want_list(entry.get("labels") or [], "'labels'"):
        if not isinstance(label, dict):
            image.add("", NoBox("box-syntax", f"got {brief(label)}, expected 'category' and 'box2d'"))
        elif label.get("box2d") is None and label.get("poly2d") is not None:
            file.reading.skipped["lanes and areas (poly2d without box2d)"] += 1
        elif not isinstance(label.get("box2d"), dict):
            image.add("", NoBox("box-columns", f"box2d {brief(label.get('box2d'))}: expected x1, y1, x2, y2"))
        else:
            image.add(
                label.get("category"), read_box([label["box2d"].get(k) for k in _KEYS], "x1, y1, x2, y2")
            )
