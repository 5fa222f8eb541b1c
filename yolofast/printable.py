"""Text that comes from other people, made safe to show.

File names, class names, HTTP reasons and headers may hold control characters, terminal escapes, line ends
and bytes that are not UTF-8 (lone surrogates). All that is printed, logged, drawn or put into an error goes
through here, once.
"""

from __future__ import annotations

import unicodedata


def printable(text: str, limit: int | None = None) -> str:
    r"""`text` on one line, with control characters, line ends and lone surrogates escaped (\x1b, \n, \udcff).

    limit   characters to keep; a longer text ends in an ellipsis
    """
    if limit is not None and len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return "".join(c if is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def is_shown(character: str) -> bool:
    """Whether a character may be shown as it is; spaces of any width occur in names."""
    return character.isprintable() or unicodedata.category(character) == "Zs"
