"""Writes Pascal VOC XML with pixel edges, and with decimals where a coordinate has them.

The original devkit counted whole pixels from 1. This writer follows our reader and most tools of today: a
box over a whole image goes from 0 to its width. Decimals keep every digit.

The format has no list of classes, only the names of objects: a class without a box is lost, and each reader
numbers classes in its own order (ours: by name).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from yolofast.errors import DataError
from yolofast.formats.numbers import shortest
from yolofast.images import IMAGE_SUFFIXES
from yolofast.types import ImageRecord

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FLAG = re.compile(r"\s(?:-1|0|1)$")
CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "P": 3, "CMYK": 4}
"""Pillow mode -> VOC `depth`."""


def check_voc_names(names: Sequence[str]) -> None:
    """Raise `DataError` when VOC cannot distinguish these classes, or XML cannot represent a name."""
    known: dict[str, int] = {}
    for number, name in enumerate(names):
        if not name or name != name.strip() or _NOT_XML.search(name):
            raise DataError(
                f"class {number}: got the name {name!r}, which VOC xml cannot carry: expected a text without "
                "spaces at its ends and without control characters. Rename the class in the source."
            )
        first = known.setdefault(name, number)
        if first != number:
            raise DataError(
                f"classes {first} and {number} are both called '{name}': VOC tells classes by name alone. "
                "Rename one of them in the source."
            )


def can_be_listed(stem: str) -> bool:
    """Whether the name of an XML file and a line of ImageSets identify an image with this stem.

    Not when the stem ends like a flag of such a line (`photo 1`) or with an image suffix (`photo.jpg` of
    `photo.jpg.png`), has leading or trailing spaces, or contains line breaks.
    """
    suffix = stem[stem.rfind(".") :].lower() if "." in stem else ""
    lines = stem.splitlines()
    return lines == [stem.strip()] and not _FLAG.search(stem) and suffix not in IMAGE_SUFFIXES


def _escaped(text: str) -> str:
    return escape(_NOT_XML.sub("?", text), {"\r": "&#13;"})


def voc_xml(record: ImageRecord, file_name: str, names: Sequence[str], mode: str = "RGB") -> str:
    """The annotation file of one image; `mode` as in `ImageHeader`. No boxes give no `object`."""
    lines = [
        "<annotation>",
        "\t<folder>JPEGImages</folder>",
        f"\t<filename>{_escaped(file_name)}</filename>",
        "\t<size>",
        f"\t\t<width>{record.width}</width>",
        f"\t\t<height>{record.height}</height>",
        f"\t\t<depth>{CHANNELS.get(mode, 3)}</depth>",
        "\t</size>",
        "\t<segmented>0</segmented>",
    ]
    for box, label in zip(record.boxes.tolist(), record.classes.tolist(), strict=True):
        x1, y1, x2, y2 = map(shortest, box)
        lines += [
            "\t<object>",
            f"\t\t<name>{_escaped(names[label])}</name>",
            "\t\t<pose>Unspecified</pose>",
            "\t\t<truncated>0</truncated>",
            "\t\t<difficult>0</difficult>",
            "\t\t<bndbox>",
            f"\t\t\t<xmin>{x1}</xmin>",
            f"\t\t\t<ymin>{y1}</ymin>",
            f"\t\t\t<xmax>{x2}</xmax>",
            f"\t\t\t<ymax>{y2}</ymax>",
            "\t\t</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>\n"])
