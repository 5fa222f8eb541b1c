"""Small JSON files from other people: bounded in size and depth, every fault with its place."""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from yolofast.formats.dataset import LabelFileError, parsing


def holds_keys(path: Path, keys: tuple[bytes, ...], max_bytes: int) -> bool:
    """Whether a file of at most `max_bytes` has all `keys` in its text. Nothing is parsed."""
    try:
        if not 0 < path.stat().st_size <= max_bytes:
            return False
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return all(text.find(key) >= 0 for key in keys)
    except OSError:
        return False  # it is listed as unreadable where it is opened, or is nobody's


def read_json(path: Path, max_bytes: int) -> Any:
    """The content of a JSON file of at most `max_bytes`; raises `LabelFileError`.

    UTF-8 with or without a byte-order mark (UTF-16 and -32 too). What Python's parser cannot nest, and
    numbers of thousands of digits, are refused.
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
