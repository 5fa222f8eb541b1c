"""Printing: JSON for machines, and text that cannot take over a terminal for people."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolofast.printable import printable


class PrintableFormatter(logging.Formatter):
    """Log records as their message on one line, whatever names are in it; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


def say(text: object = "") -> None:
    """Print one line of text for people, whatever names are in it."""
    print(printable(str(text)))


def say_lines(text: str) -> None:
    """Print lines of text, such as a table, at once. Names within them are printable already."""
    for line in text.split("\n"):
        say(line)
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print one JSON object; values that JSON does not know become null or text."""
    print(json.dumps(_strict(value), indent=2, default=str, allow_nan=False))


def _strict(value: Any) -> Any:
    """`value` with None for NaN and infinity, which JSON does not have, and lists for arrays."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list | tuple) else value
