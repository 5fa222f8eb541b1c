"""Text label files line by line: bounded in size, with LF or CRLF, with or without a byte-order mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolofast.formats.dataset import check_size, parsing


def read_lines(path: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    """(line from 1, stripped text) of each line that is not blank; raises `LabelFileError`.

    Bytes that are not UTF-8 become surrogates, so that names in other encodings stay what they are.
    """
    with parsing():
        check_size(path, max_bytes)
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    for line, content in enumerate(text.split("\n"), 1):
        if stripped := content.strip():
            yield line, stripped
