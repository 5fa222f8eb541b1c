"""Formats numbers for the writers."""

from __future__ import annotations


def shortest(value: float) -> str:
    """The shortest decimal that parses to the same float64; whole numbers have no `.0`."""
    return repr(int(value)) if value.is_integer() else repr(value)
