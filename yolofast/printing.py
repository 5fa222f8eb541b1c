"""What the command line prints: JSON for machines, and other people's names and lines for people."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np


def one_line(text: str) -> str:
    r"""`text` with \x1b for what a terminal would obey, and \n for line ends: names of files and lines of
    labels come from other people."""
    return "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def _is_shown(c: str) -> bool:
    return c.isprintable() or unicodedata.category(c) == "Zs"  # blanks of all widths: names have them


def print_json(value: Any) -> None:
    """One JSON object; what JSON does not have is None or a text."""
    print(json.dumps(_strict(value), indent=2, default=str, allow_nan=False))


def _strict(value: Any) -> Any:
    """`value` with None for the NaN and infinity that JSON does not have, and lists for arrays."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _strict(one) for key, one in value.items()}
    return [_strict(one) for one in value] if isinstance(value, list | tuple) else value
