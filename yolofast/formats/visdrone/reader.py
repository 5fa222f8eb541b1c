"""Reads VisDrone-DET: one text file an image, each line `left,top,width,height,score,category,...` in pixels.

The score is 1 for objects and 0 for what the evaluation ignores: regions with many objects (category 0) and
others (11). Ignored rows are dropped and reported, as COCO's crowds are.
"""

from __future__ import annotations

from pathlib import Path

from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import text_finder
from yolofast.formats.text_lines import read_lines
from yolofast.formats.values import NoBox, as_floats, from_corner, read_box

MAX_BYTES = 16 << 20
NAMES = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
)
"""The names of the categories 1 to 10."""
OTHERS = 11
_CATEGORIES = dict(enumerate((*NAMES, "others"), 1))
_COLUMNS = "left, top, width, height, score, category"

find_visdrone = text_finder("visdrone")


def open_visdrone(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The VisDrone files of a tree as one dataset with VisDrone's ten classes; splits come from folders."""
    reading = Reading(tree)
    reading.list_names(NAMES)
    return open_annotated("visdrone", tree, files, _read, reading, what="VisDrone text file")


def _read(file: LabelFile) -> None:
    image = file.image(file.path.stem)
    for line, text in read_lines(file.path, MAX_BYTES):
        fields = text.rstrip(",").split(",")
        numbers = as_floats(fields[4:6])
        if len(fields) < 6 or numbers is None:
            image.add("", NoBox("box-columns", f"'{text[:80]}': expected numbers {_COLUMNS}, ..."), line)
            continue
        score, category = numbers
        if score == 0 or category == 0:
            what = "a region with many objects" if category == 0 else "an object"
            ignored = NoBox("box-ignored", f"{what} that VisDrone ignores (score 0 or category 0)", "info")
            image.add("", ignored, line)
            continue
        if category not in _CATEGORIES:
            image.add("", NoBox("box-class", f"category {category:g}: expected 1 to {OTHERS}"), line)
            continue
        image.add(
            _CATEGORIES[int(category)], from_corner(read_box(fields[:4], "left, top, width, height")), line
        )
