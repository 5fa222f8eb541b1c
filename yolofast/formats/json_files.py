"""Small JSON files of any origin: bounded in size and depth; every error knows its line."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from yolofast.formats.dataset import LabelFileError, parsing


def contains_keys(path: Path, keys: tuple[bytes, ...], max_bytes: int) -> bool:
    """Whether the text of a file of at most `max_bytes` contains all `keys`. Nothing is parsed."""
    try:
        if not 0 < path.stat().st_size <= max_bytes:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return all(text.find(key) >= 0 for key in keys)
    except OSError:
        return False  # the reader of the format reports unreadable files


def read_json(path: Path, max_bytes: int) -> Any:
    """The content of a JSON file of at most `max_bytes`; raises `LabelFileError`.

    UTF-8 with or without a byte-order mark (UTF-16 and UTF-32 too). Refuses nesting that is too deep for
    Python's parser, and numbers of thousands of digits.
    """
    with parsing():
        size = path.stat().st_size
        if size > max_bytes:
            raise LabelFileError(f"got {size} bytes, expected a file of at most {max_bytes}")
        try:
            return json.loads(path.read_bytes())
        except json.JSONDecodeError as error:
            raise LabelFileError(f"not valid JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise LabelFileError("not read: JSON nested too deeply") from None
