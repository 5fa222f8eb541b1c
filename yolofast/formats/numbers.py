"""How writers put a number into text."""

from __future__ import annotations


def shortest(value: float) -> str:
    """The shortest decimal that reads back as the same float64; a whole number without `.0`."""
    return repr(int(value)) if value.is_integer() else repr(value)
