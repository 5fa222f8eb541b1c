"""Quotes foreign values in errors: short, whatever they hold, and without writing all of them first."""

from __future__ import annotations

import itertools
from reprlib import Repr

from yolofast.limits import MAX_QUOTED


class _Brief(Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, MAX_QUOTED, MAX_QUOTED

    def repr_int(self, x: int, level: int) -> str:
        return (
            repr(x) if abs(x) < 10**40 else "a number of over 40 digits"
        )  # Python refuses to write thousands

    def repr_dict(self, x: dict[object, object], level: int) -> str:  # not sorted, which takes all of it
        pairs = itertools.islice(x.items(), self.maxdict) if level > 0 else ()
        shown = [f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}" for key, value in pairs]
        return f"{{{', '.join(shown + ['...'] * (len(x) > len(shown)))}}}"


_BRIEF = _Brief()


def brief(value: object) -> str:
    """`repr(value)` of at most `MAX_QUOTED` characters: of what is longer the beginning, or both ends."""
    return brief_text(_BRIEF.repr(value))


def brief_text(text: str) -> str:
    """The first `MAX_QUOTED` characters of a text."""
    return text if len(text) <= MAX_QUOTED else f"{text[: MAX_QUOTED - 1]}…"
