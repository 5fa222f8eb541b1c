"""Writes COCO detection JSON as a stream.

Boxes keep every digit. `[x, y, width, height]` is computed from the corners in float64, so `x + width` gives
the corner again, or differs in its last bit (about 1e-13 pixels).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import BinaryIO

from yolofast.formats.numbers import shortest
from yolofast.types import ImageRecord

DESCRIPTION = "written by yolofast convert"


def annotation_lines(record: ImageRecord, image_id: int, first_id: int) -> list[str]:
    """One COCO annotation per box, as JSON objects; ids count from `first_id`. Class 0 is category 1."""
    lines = []
    boxes = zip(record.boxes.tolist(), record.classes.tolist(), strict=True)
    for number, ((x1, y1, x2, y2), label) in enumerate(boxes, first_id):
        width, height = x2 - x1, y2 - y1
        lines.append(
            f'{{"id":{number},"image_id":{image_id},"category_id":{label + 1},"bbox":['
            f"{shortest(x1)},{shortest(y1)},{shortest(width)},{shortest(height)}],"
            f'"area":{shortest(width * height)},"iscrowd":0,"segmentation":[]}}'
        )
    return lines


class CocoWriter:
    """Writes one instances file, image by image, in constant memory.

    `out` becomes the JSON. It lists the images first, so annotations are spooled to `spool`, an empty file
    that can be read and written. All `names` become categories, in order, with ids from 1. The same records
    give the same bytes.
    """

    def __init__(self, out: BinaryIO, spool: BinaryIO, names: Sequence[str]) -> None:
        self._out, self._spool = out, spool
        self._images = self._annotations = 0
        categories = [json.dumps({"id": i, "name": name}) for i, name in enumerate(names, 1)]
        head = f'{{"info":{{"description":"{DESCRIPTION}"}},"licenses":[],\n"categories":['
        self._out.write((head + ",\n".join(categories) + '],\n"images":[').encode("ascii"))

    def add(self, file_name: str, record: ImageRecord, image_id: int | None = None) -> None:
        """Add an image and its boxes; `file_name` is its path below the image folder.

        Give ids for all images or for none; omitted means that they count from 1.
        """
        number = self._images + 1 if image_id is None else image_id
        image = (
            f'{{"id":{number},"file_name":{json.dumps(file_name)},'
            f'"width":{record.width},"height":{record.height}}}'
        )
        lines = annotation_lines(record, number, self._annotations + 1)
        self._write(self._out, [image], first=self._images == 0)
        self._write(self._spool, lines, first=self._annotations == 0)
        self._images += 1
        self._annotations += len(lines)

    @staticmethod
    def _write(file: BinaryIO, lines: list[str], *, first: bool) -> None:
        if lines:
            file.write((("" if first else ",\n") + ",\n".join(lines)).encode("ascii"))

    def finish(self) -> None:
        """Write the annotations and close the JSON; nothing can be added afterwards."""
        self._out.write(b'],\n"annotations":[')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._out, 1 << 20)
        self._out.write(b"]}\n")
