"""Class-mapping files: classes.txt, obj.names, label_map.pbtxt and their kin."""

from __future__ import annotations

import re
from pathlib import Path

from yolofast.errors import DataError, at

_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_ID = re.compile(r"\bid\s*:\s*(\d+)")
_NAME = re.compile(r"""\b(?:display_name|name)\s*:\s*(?:"([^"]*)"|'([^']*)')""")


def read_class_file(path: Path) -> tuple[str, ...]:
    """Class names in id order.

    A text file has one name a line, the first is class 0. A TensorFlow label map (.pbtxt) has
    `item { id: 1 name: 'cat' }` blocks; gaps between its ids close up.

    Raises `DataError`, with file and line, when it holds no names or an empty line between names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    if path.suffix.lower() == ".pbtxt":
        by_id = {}
        for block in _ITEM.findall(text):
            number, name = _ID.search(block), _NAME.search(block)
            if number is None or name is None:
                raise DataError(f"{path}: got 'item {{{block.strip()}}}', expected an id and a name in it.")
            by_id[int(number[1])] = name[1] or name[2]
        names = [by_id[i] for i in sorted(by_id)]
    else:
        names = [line.strip() for line in text.rstrip().splitlines()]
    if not names:
        raise DataError(f"{path}: got no class name, expected one a line.")
    if "" in names:
        place = at(path, names.index("") + 1)
        raise DataError(f"{place}: got an empty line between class names: it would shift the class ids.")
    return tuple(names)
