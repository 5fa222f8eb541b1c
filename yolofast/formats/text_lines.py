"""Text label files line by line: bounded in size, with LF or CRLF, with or without a byte-order mark."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from yolofast.brief import brief_text
from yolofast.errors import DataError, at
from yolofast.formats.dataset import LabelFileError, check_size, parsing
from yolofast.limits import MAX_LINE, MAX_PATH, MAX_UNFOUND

_BLOCK = 1 << 20


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number from 1 and stripped text of each line of a list of images that is not blank, streamed.

    Bytes that are not UTF-8 become surrogates. Raises `DataError` for a file that cannot be read, and for a
    line that is longer than any path.
    """
    number, rest = 0, ""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for block in itertools.chain(iter(lambda: file.read(_BLOCK), ""), [None]):
                *lines, rest = (rest + block).splitlines(keepends=True) if block else (rest, "")
                for line in lines:
                    number += 1
                    if stripped := line.strip():
                        yield number, _path_line(path, number, stripped)
                _path_line(path, number + 1, rest.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _path_line(path: Path, number: int, line: str) -> str:
    if len(line) > MAX_PATH:
        raise DataError(
            f"{at(path, number)}: a line of over {MAX_PATH} characters ('{brief_text(line)}'), expected the "
            "path of an image."
        )
    return line


class Unfound:
    """Counts the images of a list that are not found; refuses a list that has hardly any of many."""

    def __init__(self, path: Path) -> None:
        self._path, self._missing, self._found = path, 0, 0

    def saw(self, line: str, *, found: bool) -> None:
        """Note a line. Raises `DataError` after `MAX_UNFOUND` that are not here, without a hundredth."""
        if found:
            self._found += 1
            return
        self._missing += 1
        if self._missing >= MAX_UNFOUND and self._missing > 100 * self._found:
            lines = self._missing + self._found
            raise DataError(
                f"{self._path}: {self._found or 'none'} of the first {lines} images that it lists "
                f"{'is' if self._found < 2 else 'are'} here; '{brief_text(line)}' is not. Correct "
                "the paths, or remove the lines of images that you do not have."
            )


def read_lines(path: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    """(line from 1, stripped text) of each line that is not blank; raises `LabelFileError`.

    Bytes that are not UTF-8 become surrogates, so that names in other encodings stay what they are.
    """
    with parsing():
        check_size(path, max_bytes)
        file = path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    with file:
        for line in itertools.count(1):
            with parsing():
                text = file.readline(MAX_LINE + 1)
            if len(text) > MAX_LINE:
                raise LabelFileError(f"a line of more than {MAX_LINE} characters", line)
            if not text:
                return
            if stripped := text.strip():
                yield line, stripped
