"""Reads DOTA: one text file an image, each line `x1 y1 x2 y2 x3 y3 x4 y4 class difficult` in pixels.

Detectors of upright boxes are trained here, so each quadrilateral becomes the box around it; this is said.
Difficult objects are kept. The header (`imagesource:...`, `gsd:...`) is skipped.
"""

from __future__ import annotations

from pathlib import Path

from yolofast.formats.annotated_images import LabelFile, Reading, open_annotated
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree
from yolofast.formats.file_kinds import text_finder
from yolofast.formats.shapes import around_points
from yolofast.formats.text_lines import read_lines
from yolofast.formats.values import NoBox, as_floats

MAX_BYTES = 16 << 20
_HEADERS = ("imagesource:", "gsd:")

find_dota = text_finder("dota")


def open_dota(tree: FileTree, files: tuple[Path, ...]) -> LabelledDataset:
    """The DOTA files of a tree as one dataset, with the classes that occur; splits come from folders."""
    return open_annotated("dota", tree, files, _read, Reading(tree), what="DOTA text file")


def _read(file: LabelFile) -> None:
    image = file.image(file.path.stem)
    for line, text in read_lines(file.path, MAX_BYTES):
        if text.lower().startswith(_HEADERS):
            continue
        fields = text.split()
        corners = as_floats(fields[:8])
        if corners is None or len(fields) not in (9, 10):
            expected = f"'{text[:80]}': expected 8 coordinates, a class name and 0 or 1 (difficult)"
            image.add("", NoBox("box-columns", expected), line)
            continue
        box = around_points(zip(corners[::2], corners[1::2], strict=True))
        image.add(fields[8], box, line, kind="quadrilaterals")
