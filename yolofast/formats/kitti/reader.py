"""Reads KITTI object labels: one text file an image, each line `type truncated occluded alpha left top right
bottom` and the object's place in space, which is not used.

`DontCare` regions hold objects that were not labelled: they are dropped and reported, as COCO's crowds are.
"""

from __future__ import annotations

from pathlib import Path

from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import text_finder
from yolofast.formats.text_lines import read_lines
from yolofast.formats.values import NoBox, read_box

MAX_BYTES = 16 << 20
FIELDS = 15
_IGNORED = NoBox("box-ignored", "a DontCare region: its objects were not labelled", "info")
_PREDICTION = NoBox("box-columns", "16 fields are a box with a score: a prediction, no label")

find_kitti = text_finder("kitti")


def open_kitti(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The KITTI files of a tree as one dataset, with the classes that occur; splits come from folders.

    `label_2/000001.txt` belongs to `image_2/000001.png`, not to the right camera's `image_3/000001.png`.
    """
    return open_annotated("kitti", tree, files, _read, Reading(tree), what="KITTI text file")


def _read(file: LabelFile) -> None:
    folder = file.path.parent.name.replace("label", "image")
    image = file.image(f"{folder}/{file.path.stem}")
    for line, text in read_lines(file.path, MAX_BYTES):
        fields = text.split()
        label = fields[0]
        if label.casefold() == "dontcare":
            image.add(label, _IGNORED, line)
        elif len(fields) != FIELDS:
            expected = f"'{text[:80]}': expected {FIELDS} fields, type truncated occluded alpha left top ..."
            wrong = _PREDICTION if len(fields) == FIELDS + 1 else NoBox("box-columns", expected)
            image.add(label, wrong, line)
        else:
            image.add(label, read_box(fields[4:8], "left, top, right, bottom"), line)
