"""Printing: JSON for machines, and text that cannot take over a terminal for people."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolofast.printable import is_shown


def command_line(*words: object) -> str:
    r"""A command that can be pasted into a shell: words are quoted where they need it.

    Control characters and bytes that are not UTF-8 are escaped, as in $'a\nb'.
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if all(is_shown(c) for c in word):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    shown = (c if is_shown(c) else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c)) for c in escaped)
    return f"$'{''.join(shown)}'"


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
