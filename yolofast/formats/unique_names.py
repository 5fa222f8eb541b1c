"""Class names that occur twice in a list: which class is meant could not be told."""

from __future__ import annotations

from collections.abc import Sequence


def first_repeat(names: Sequence[str]) -> tuple[int, int] | None:
    """The ids of the first two classes with the same name; None when each name occurs once."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            return first[name], number
    return None
