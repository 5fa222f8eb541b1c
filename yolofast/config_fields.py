"""Fields of a config section: their types and ranges are checked when the section is made.

A field takes values from Python, YAML and the command line. Only lossless conversions are made (1 to 1.0,
text to a path); anything else is refused with what was expected.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from yolofast.brief import brief, brief_text
from yolofast.errors import ConfigError, nearest

UNIONS = (types.UnionType, typing.Union)


def bounded(
    default: float | int | None, low: float, high: float = math.inf, *, open_low: bool = False
) -> Any:
    """A number field whose value must lie in [low, high], or (low, high] when `open_low`."""
    return field(default=default, metadata={"low": low, "high": high, "open_low": open_low})


def at_least(**limits: tuple[float, float]) -> None:
    """Raise `ConfigError` for the first `name=(value, minimum)` whose value is below its minimum."""
    for name, (value, minimum) in limits.items():
        if value < minimum:
            raise ConfigError(f"{name}: got {value}, expected at least {minimum}.")


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in UNIONS:
        return " or ".join(_type_name(k) for k in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"a list (each item {_type_name(typing.get_args(kind)[0])})"
    if typing.get_origin(kind) is Mapping:
        return "a mapping from {} to {}".format(*map(_type_name, typing.get_args(kind)))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    return "nothing" if kind is type(None) else names.get(kind, str(kind))


def _coerce(value: Any, kind: Any) -> Any:
    """`value` as `kind`, or raise TypeError; only lossless conversions (1 -> 1.0, text -> Path)."""
    if typing.get_origin(kind) in UNIONS:
        for option in typing.get_args(kind):
            try:
                return _coerce(value, option)
            except TypeError:
                continue
        raise TypeError
    if typing.get_origin(kind) is Literal:
        if value in typing.get_args(kind):
            return value
        if value is False and "off" in typing.get_args(kind):  # YAML 1.1 reads a bare `off` as false
            return "off"
        if value is True and "on" in typing.get_args(kind):
            return "on"
        raise TypeError
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple | set | frozenset):
        return tuple(_coerce(item, typing.get_args(kind)[0]) for item in value)
    if typing.get_origin(kind) is Mapping and isinstance(value, Mapping):
        key_kind, item_kind = typing.get_args(kind)
        return {_coerce(key, key_kind): _coerce(item, item_kind) for key, item in value.items()}
    if kind is float and not isinstance(value, bool):
        if isinstance(value, int | float):
            try:
                return float(value)
            except OverflowError:
                raise TypeError from None
        if isinstance(value, str):  # YAML reads 1e-3 (no dot) as text
            try:
                return float(value)
            except ValueError:
                raise TypeError from None
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is Path and isinstance(value, str | Path) and value != "":  # which Path takes for "."
        return Path(value)
    if kind in (bool, str, type(None)) and type(value) is kind:
        return value
    if isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, kind):
        return value
    raise TypeError


def _choices(kind: Any) -> tuple[str, ...]:
    """The values that a `Literal`, or one inside `kind`, allows."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return tuple(choice for option in typing.get_args(kind) for choice in _choices(option))


def from_text(text: str, kind: Any) -> Any:
    """What `text`, given for a field of type `kind`, means: a number, None for "None", or the text itself.

    A text that does not fit stays as it is; the field's own check then rejects it (see `Section`).
    """
    if typing.get_origin(kind) in UNIONS:
        options = typing.get_args(kind)
        if type(None) in options and text == "None":
            return None
        kind = next(option for option in options if option is not type(None))
    if kind is int:
        try:
            return int(text)
        except ValueError:
            return text
    return text


class Section:
    """A frozen dataclass whose fields are checked for type and range (`bounded`) on construction."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for spec in dataclasses.fields(typing.cast(Any, self)):
            got, kind = getattr(self, spec.name), kinds[spec.name]
            try:
                value = _coerce(got, kind)
            except TypeError:
                hint = nearest(brief_text(got), _choices(kind)) if isinstance(got, str) else ""
                raise ConfigError(
                    f"{spec.name}: got {brief(got)}, expected {_type_name(kind)}.{hint}"
                ) from None
            object.__setattr__(self, spec.name, value)
            low, high = spec.metadata.get("low"), spec.metadata.get("high", math.inf)
            if low is None or value is None:
                continue
            too_low = value <= low if spec.metadata["open_low"] else value < low
            if too_low or value > high or value != value:  # NaN
                span = f"{'above' if spec.metadata['open_low'] else 'at least'} {low}"
                span += "" if high == math.inf else f" and at most {high}"
                raise ConfigError(f"{spec.name}: got {brief(value)}, expected a value {span}.")
