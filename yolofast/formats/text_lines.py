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
    """Counts the first images of a list that are not found; refuses a list that has none of many."""

    def __init__(self, path: Path) -> None:
        self._path, self._count, self._any = path, 0, False

    def saw(self, line: str, *, found: bool) -> None:
        """Note a line. Raises `DataError` when none of the first `MAX_UNFOUND` is found."""
        self._any = self._any or found
        if self._any:
            return
        self._count += 1
        if self._count >= MAX_UNFOUND:
            raise DataError(
                f"{self._path}: none of the first {MAX_UNFOUND} images that it lists is here, such as "
                f"'{brief_text(line)}'. Correct the paths, or remove the list."
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
