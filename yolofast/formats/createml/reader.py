"""Reads CreateML: a JSON list of images, each with boxes: `label` and `coordinates` (centre, size; px)."""

from __future__ import annotations

from pathlib import Path

from yolofast.brief import brief
from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import json_finder
from yolofast.formats.json_files import read_entries
from yolofast.formats.values import NoBox, from_centre, read_box, want_dict, want_list, want_text

MAX_BYTES = 2 << 30
_KEYS = ("x", "y", "width", "height")

find_createml = json_finder("createml")


def open_createml(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The CreateML files of a tree as one dataset, with the classes that occur.

    A file is a split when its path names one (`train/_annotations.createml.json`).
    """
    return open_annotated("createml", tree, files, _read, Reading(tree), what="CreateML json file")


def _read(file: LabelFile) -> None:
    for line, value in read_entries(file.path, MAX_BYTES):
        with file.entry(line):
            entry = want_dict(value, "an image")
            name = want_text(entry.get("image", entry.get("imagefilename")), "'image'")
            image = file.image(name, line=line)
            for item in want_list(entry.get("annotations", entry.get("annotation", [])), "'annotations'"):
                if not isinstance(item, dict) or not isinstance(item.get("coordinates"), dict):
                    message = f"got {brief(item)}, expected 'label' and 'coordinates'"
                    image.add("", NoBox("box-syntax", message))
                    continue
                box = read_box([item["coordinates"].get(key) for key in _KEYS], "x, y, width, height")
                image.add(item.get("label"), from_centre(box))
