"""YAML of any origin: bounded in size, nesting, values and their length before anything is made of it.

The parser of libyaml reads it where PyYAML has one, which is ten times as fast. Aliases are counted as values
and never written out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from yolofast.brief import brief_text
from yolofast.limits import MAX_DEPTH, MAX_YAML_BYTES, MAX_YAML_SCALAR, MAX_YAML_VALUES

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a pair of escapes, as JSON has them for one character: libyaml refuses them."""
_MAX_SLOW = 1 << 17
"""Characters of a text with such escapes, which PyYAML's own slower parser reads."""


class YamlTextError(Exception):
    """Why a text is not read, and its line, if there is one."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file; raises `YamlTextError`, `OSError` and `UnicodeDecodeError`."""
    size = path.stat().st_size
    if size > MAX_YAML_BYTES:
        raise YamlTextError(f"got {size} bytes, expected YAML of at most {MAX_YAML_BYTES}")
    return path.read_text(encoding="utf-8-sig")


def compose_yaml(text: str) -> yaml.Node | None:
    """The tree of nodes of a text, nothing constructed; raises `YamlTextError`."""
    try:
        return yaml.compose(text, Loader=_bounded(text))
    except yaml.YAMLError as error:
        raise _syntax_error(error, text) from None


def load_yaml(text: str) -> Any:
    """The values of a text, with PyYAML's safe loader; raises `YamlTextError`."""
    try:
        return yaml.load(text, Loader=_bounded(text))
    except yaml.YAMLError as error:
        raise _syntax_error(error, text) from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise YamlTextError(f"not valid YAML: a value cannot be read: {brief_text(str(error))}") from None


def _syntax_error(error: yaml.YAMLError, text: str) -> YamlTextError:
    mark = getattr(error, "problem_mark", None)
    reason = str(getattr(error, "problem", None) or error)
    line = min(mark.line, text.count("\n")) + 1 if mark else None  # libyaml may mean the line behind the last
    return YamlTextError(f"not valid YAML: {brief_text(reason)}", line)


def _bounded(text: str) -> Any:
    """The loader for a text; refuses what is too much while the text is still a flat stream of events."""
    loader = yaml.SafeLoader if len(text) <= _MAX_SLOW and _HALF_CHARACTER.search(text) else _LOADER
    depth = values = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            line = event.start_mark.line + 1 if event.start_mark else None
            if values > MAX_YAML_VALUES:
                raise YamlTextError(f"more than {MAX_YAML_VALUES} values", line)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise YamlTextError(f"nested more than {MAX_DEPTH} levels deep", line)
            elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_YAML_SCALAR:
                raise YamlTextError(
                    f"a value of {len(event.value)} characters, expected at most {MAX_YAML_SCALAR}", line
                )
    return loader
