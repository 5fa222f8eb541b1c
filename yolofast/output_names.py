"""Names of output files: safe wherever their text comes from, and none given twice in a folder."""

from __future__ import annotations

import functools
import re
import unicodedata

from yolofast.files import shortened
from yolofast.limits import MAX_NAME_BYTES
from yolofast.printable import is_shown

ROOM = 16
"""Bytes of a file name that are left for a row number and a suffix, such as -99999.jpeg."""
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\0]')


def safe_name(text: str, otherwise: str) -> str:
    """`text` as one part of a path on any common file system, at most 239 bytes; `otherwise` if none is left.

    Separators, characters that some file systems forbid, control characters and lone surrogates become `_`.
    Leading dots and spaces, and trailing ones, are dropped: no result is hidden, `.` or `..`.
    """
    shown = "".join(c if is_shown(c) else "_" for c in _FORBIDDEN.sub("_", text))
    return shortened(shown.strip(" ."), MAX_NAME_BYTES - ROOM).rstrip(" .") or otherwise


class OutputNames:
    """Gives names out, each once, whatever their case or Unicode form; -2, -3, ... where one is taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def claim(self, name: str) -> str:
        """`name`, at most 239 bytes, or the first `name-2`, `name-3`, ... that has not been given out."""
        own = shortened(name, MAX_NAME_BYTES - ROOM)
        given, number = own, self._next.get(_key(own), 1)
        while _key(given) in self._taken:
            number += 1
            ending = f"-{number}"
            given = shortened(own, MAX_NAME_BYTES - ROOM - len(ending)) + ending
        self._next[_key(own)] = number
        self._taken.add(_key(given))
        return given


@functools.lru_cache(maxsize=8)
def class_folders(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """A folder name for each class of a model, no two the same."""
    names = OutputNames()
    return tuple(names.claim(safe_name(name, f"class {i}")) for i, name in enumerate(class_names))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
