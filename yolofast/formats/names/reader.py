"""Reads files of class names: classes.txt, obj.names, label_map.pbtxt, classes.json and similar ones."""

from __future__ import annotations

import re
from pathlib import Path

from yolofast.brief import brief
from yolofast.errors import DataError, at
from yolofast.formats.dataset import LabelFileError
from yolofast.formats.json_files import read_json
from yolofast.formats.unique_names import check_names, first_repeat

MAX_BYTES = 4 << 20
"""A larger file is refused: a list of 100,000 names is half of that."""

_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_ID = re.compile(r"\bid\s*:\s*(\d{1,9})\b")
_NAME = re.compile(r"""\b(?:display_name|name)\s*:\s*(?:"([^"]*)"|'([^']*)')""")


def read_class_file(path: Path) -> tuple[str, ...]:
    """Class names in id order.

    A text file has one name per line; the first is class 0. A TensorFlow label map (.pbtxt) has
    `item { id: 1 name: 'cat' }` blocks; gaps between its ids are closed. A JSON file is a list of names, or
    an object from names to ids or from ids to names, with ids from 0 or 1 without gaps.

    Raises `DataError`, with file and line, when the file has no names, repeats an id or a name, or has an
    empty line between names.
    """
    if path.suffix.lower() == ".json":
        return _check(path, _from_json(path))
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: got {size} bytes, expected a class file of at most {MAX_BYTES}.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    if path.suffix.lower() == ".pbtxt":
        return _check(path, _from_items(path, text))
    names = [line.strip() for line in text.rstrip().splitlines()]
    if "" in names:
        where = at(path, names.index("") + 1)
        raise DataError(f"{where}: got an empty line between class names: it would shift the class ids.")
    return _check(path, names)


def _check(path: Path, names: list[str]) -> tuple[str, ...]:
    if not names:
        raise DataError(f"{path}: got no class name, expected one per line.")
    check_names(names, str(path))
    repeated = first_repeat(names)
    if repeated is not None:
        first, second = repeated
        line = second + 1 if path.suffix.lower() not in (".json", ".pbtxt") else None
        raise DataError(
            f"{at(path, line)}: '{names[first]}' is both class {first} and class {second}, expected each "
            "name once. Rename one of them."
        )
    return tuple(names)


def _from_items(path: Path, text: str) -> list[str]:
    by_id: dict[int, str] = {}
    for found in _ITEM.finditer(text):
        block, line = found[1], text.count("\n", 0, found.start()) + 1
        number, name = _ID.search(block), _NAME.search(block)
        if number is None or name is None:
            shown = " ".join(block.split())[:80]
            raise DataError(f"{at(path, line)}: got 'item {{{shown}}}', expected an id and a name in it.")
        key, value = int(number[1]), name[1] or name[2] or ""
        if by_id.setdefault(key, value) != value:
            raise DataError(f"{at(path, line)}: id {key} is both '{by_id[key]}' and '{value}'.")
    return [by_id[i] for i in sorted(by_id)]


def _from_json(path: Path) -> list[str]:
    expected = 'a list of class names, or an object such as {"cat": 0, "dog": 1}'
    try:
        content = read_json(path, MAX_BYTES)
    except LabelFileError as error:
        raise DataError(f"{at(path, error.line)}: {error.message}; expected {expected}.") from None
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return content
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected {expected}.")
    if all(isinstance(v, int) and not isinstance(v, bool) for v in content.values()):
        pairs = [(value, key) for key, value in content.items()]
    elif all(isinstance(v, str) and k.isdecimal() and len(k) < 10 for k, v in content.items()):
        pairs = [(int(key), value) for key, value in content.items()]
    else:
        raise DataError(f"{path}: expected {expected}.")
    ids = sorted(number for number, _ in pairs)
    if (ids and ids != list(range(ids[0], ids[0] + len(ids)))) or ids[:1] not in ([], [0], [1]):
        raise DataError(f"{path}: got class ids {brief(ids)}, expected 0, 1, 2, ... each once.")
    return [name for _, name in sorted(pairs)]
