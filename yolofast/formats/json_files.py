"""Small JSON files of any origin: bounded in size and depth; every error knows its line."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolofast.files import first_zeros
from yolofast.formats.dataset import LabelFileError, check_size, parsing

_WINDOW = 1 << 25


def find_bytes(text: mmap.mmap, key: bytes) -> int:
    """`text.find(key)`, with no more than a window of a large file in memory at once."""
    for start in range(0, len(text), _WINDOW):
        at = text.find(key, start, start + _WINDOW + len(key) - 1)
        if at >= 0 or start + _WINDOW >= len(text):
            return at
        text.madvise(mmap.MADV_DONTNEED, start, _WINDOW)
    return -1


def contains_keys(path: Path, keys: tuple[bytes, ...], max_bytes: int) -> bool:
    """Whether the text of a file of at most `max_bytes` contains all `keys`. Nothing is parsed."""
    try:
        if not 0 < path.stat().st_size <= max_bytes:
            return False
        with path.open("rb") as file:
            if first_zeros(file) is not None:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                return all(find_bytes(text, key) >= 0 for key in keys)
    except OSError:
        return False  # the reader of the format reports unreadable files


def first_byte(path: Path) -> bytes:
    """The first byte of a file that is neither space nor of a byte-order mark; raises `LabelFileError`."""
    with parsing(), path.open("rb") as file:
        return file.read(4096).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]


_SPACE = re.compile(r"[ \t\n\r]*")


def read_entries(path: Path, max_bytes: int) -> Iterator[tuple[int, Any]]:
    """(line from 1, value) of each element of a JSON file that is one list, parsed one by one.

    Only the text and one element are in memory. Raises `LabelFileError` as `read_json` does, and for a file
    that is not a list.
    """
    with parsing():
        check_size(path, max_bytes)
        data = path.read_bytes()
        text = data.decode(json.detect_encoding(data), "surrogatepass").removeprefix("\ufeff")
        del data
    decode = json.JSONDecoder().raw_decode
    at, line, counted = _skip_space(text, 0), 1, 0
    if text[at : at + 1] != "[":
        raise LabelFileError("expected the file to be a list", 1)
    at = _skip_space(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, at), at
        with parsing():
            try:
                value, at = decode(text, at)
            except json.JSONDecodeError as error:
                raise LabelFileError(f"not valid JSON: {error.msg}", error.lineno) from None
            except RecursionError:
                raise LabelFileError("not read: JSON nested too deeply") from None
        yield line, value
        at = _skip_space(text, at)
        more = text[at : at + 1] == ","
        if not more and text[at : at + 1] != "]":
            line += text.count("\n", counted, at)
            raise LabelFileError("not valid JSON: Expecting ',' or ']'", line)
        if more:
            at = _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def read_json(path: Path, max_bytes: int) -> Any:
    """The content of a JSON file of at most `max_bytes`; raises `LabelFileError`.

    UTF-8 with or without a byte-order mark (UTF-16 and UTF-32 too). Refuses nesting that is too deep for
    Python's parser, and numbers of thousands of digits.
    """
    with parsing():
        check_size(path, max_bytes)
        try:
            return json.loads(path.read_bytes())
        except json.JSONDecodeError as error:
            raise LabelFileError(f"not valid JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise LabelFileError("not read: JSON nested too deeply") from None
