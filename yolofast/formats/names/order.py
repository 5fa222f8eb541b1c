"""The order of class names that come from labels rather than from a list."""

from __future__ import annotations

from collections.abc import Iterable

ONLY_CLASS = "object"
"""The class of all boxes where labels name none: files of tutorials and contests with a single class."""


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: numerically when all are whole numbers, else as text."""
    names = list(names)
    if all(name.isdecimal() and len(name) < 10 for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
