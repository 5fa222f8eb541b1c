"""The order of class names that come from labels, and names that occur twice in a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: numerically when all are whole numbers, else as text."""
    names = list(names)
    if all(name.isdecimal() and len(name) < 10 for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def first_repeat(names: Sequence[str]) -> tuple[int, int] | None:
    """The ids of the first two classes with the same name; None when each name occurs once."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            return first[name], number
    return None
