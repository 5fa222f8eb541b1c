"""The bounds of what foreign input may ask for: one table, checked before memory or time is spent.

Nobody's real data comes near them. What exceeds one is refused with an error that names the limit. Those that
a user may have a reason to raise are read from the environment, as `YOLOFAST_MAX_...`, when this module is
imported. Native code has its own in csrc/core/limits.hpp. docs/limits.md shows this table.
"""

from __future__ import annotations

import os
import warnings


def _from_environment(name: str, default: int, high: int) -> int:
    """The whole number in an environment variable, from 1 to `high`; `default` where it is not one."""
    text = os.environ.get(name, "")
    if text.isascii() and text.isdecimal() and len(text) < 20 and 1 <= int(text) <= high:
        return int(text)
    if text:
        warnings.warn(
            f"{name}: got {text[:40]!a}, expected a whole number from 1 to {high}; {default} is used",
            stacklevel=2,
        )
    return default


# Images
MAX_PIXELS = _from_environment("YOLOFAST_MAX_PIXELS", 1 << 28, 1 << 30)
"""Pixels of an image of any format (16,384 x 16,384). The loader itself takes no more than the default:
`yolofast prepare --max-side` makes larger images smaller."""
MAX_EXPANSION = _from_environment("YOLOFAST_MAX_EXPANSION", 500, 1 << 30)
"""Bytes of pixels for each byte of an image file, where they are more than `FREE_EXPANSION`. Deflate reaches
1,032 on one colour; drawings on white paper stay below 450, photos below 160."""
FREE_EXPANSION = 1 << 26
"""Bytes of decoded pixels that any image file may have, however small it is."""
MAX_IMAGE_BYTES = 1 << 30
"""Bytes of an image file."""
PIXELS_REWRITTEN = 1 << 26
"""Pixels that all threads of `prepare` together rewrite or downscale at once, at 12 bytes each (CMYK 16)."""
PIXELS_IN_FLIGHT = 1 << 28
"""Pixels that all threads of a process together decode at once in Python; a larger image is decoded alone."""

# Classes and labels
MAX_CLASSES = 50_000
"""Classes of a dataset: the largest public detection sets have some ten thousand."""
MAX_NAME = 1000
"""Characters of a class name."""
MAX_BOXES = 100_000
"""Label rows of an image; the native reader of YOLO files has the same number."""

# Text files
MAX_YAML_BYTES = 4 << 20
"""Bytes of a data.yaml or a config: real ones are a few kB."""
MAX_YAML_VALUES = 150_000
"""Values, keys, lists and aliases of a YAML file: `MAX_CLASSES` names with their ids, and some."""
MAX_YAML_KEYS = 1000
"""Keys at the top of a data.yaml."""
MAX_YAML_SCALAR = 1 << 16
"""Characters of one value or key of a YAML file."""
MAX_DEPTH = 32
"""Nesting of YAML and XML: no format needs half of that."""
MAX_XML_ELEMENTS = 150_000
"""Elements of the XML file of one image: some 18,000 objects."""
MAX_XML_TOKEN = 1 << 16
"""Bytes of a tag with its attributes, or of a text, in the XML file of one image."""
MAX_ENTRY_BYTES = 8 << 20
"""Bytes of the categories of a COCO file, and of an image or annotation in it of an unusual form."""
MAX_LINE = 32 << 20
"""Characters of a line of text labels, such as the JSON of one image; 1 << 20 in a CSV."""
MAX_PATH = 4096
"""Characters of a path in a data.yaml, and of a line in a list of images."""
MAX_UNFOUND = 1000
"""Images at the head of a list: where all of these are missing, it is not a list of this dataset."""
MAX_QUOTED = 80
"""Characters of foreign text that an error quotes."""
