"""Text that comes from other people, made safe to show.

File names, class names, HTTP reasons and headers may hold control characters, terminal escapes, line ends
and bytes that are not UTF-8 (lone surrogates). All that is printed, logged, drawn or put into an error goes
through here, once.
"""

from __future__ import annotations

import os
import shlex
import unicodedata
from pathlib import PurePath


def printable(text: str, limit: int | None = None) -> str:
    r"""`text` on one line, with control characters, line ends and lone surrogates escaped (\x1b, \n, \udcff).

    limit   characters to keep; a longer text ends in an ellipsis
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 1]}…"
    if text.isprintable():
        return text
    return "".join(c if is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def is_shown(character: str) -> bool:
    """Whether a character may be shown as it is; spaces of any width occur in names."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def drawable(text: str, limit: int = 200) -> str:
    """`text` as OpenCV's fonts can draw it: printable ASCII, other characters as '?', at most `limit` long.

    A lone surrogate ends the process in OpenCV.
    """
    ascii_text = printable(text[:limit]).encode("ascii", "replace").decode("ascii")
    return ascii_text if max(len(text), len(ascii_text)) <= limit else f"{ascii_text[: limit - 3]}..."


def command_line(*words: object) -> str:
    r"""A command that can be pasted into a shell: words are quoted where they need it.

    Control characters and bytes that are not UTF-8 are escaped, as in $'a\nb'; a path that begins with a dash
    gets ./ in front, so that it is no option.
    """
    return " ".join(_quoted(_as_word(word)) for word in words)


def _as_word(word: object) -> str:
    return f"./{word}" if isinstance(word, PurePath) and str(word).startswith("-") else str(word)


def _quoted(word: str) -> str:
    if all(is_shown(c) for c in word):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    shown = (c if is_shown(c) else "".join(f"\\x{byte:02x}" for byte in _bytes(c)) for c in escaped)
    return f"$'{''.join(shown)}'"


def _bytes(character: str) -> bytes:
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:  # half of a pair, which no file name holds
        return character.encode("utf-8", "surrogatepass")
