"""Values of label files as readers want them: boxes and numbers from JSON or text, or why they are not.

What is wrong with one annotation is a `NoBox`; what makes the labels of an image unusable is a
`LabelFileError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from yolofast.brief import brief
from yolofast.formats.dataset import LabelFileError
from yolofast.formats.shapes import Box
from yolofast.types import Severity


@dataclass(frozen=True, slots=True)
class NoBox:
    """Why an annotation is not a box."""

    code: str
    message: str
    severity: Severity = "error"


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_floats(values: Iterable[object]) -> tuple[float, ...] | None:
    """Numbers, or texts that are numbers, as floats; None when a value is neither."""
    numbers = []
    for value in values:
        if not is_number(value) and not isinstance(value, str):
            return None
        try:
            numbers.append(float(value))
        except OverflowError:
            numbers.append(float("inf"))
        except ValueError:
            return None
    return tuple(numbers)


def read_box(values: Sequence[object], expected: str) -> Box | NoBox:
    """Four numbers as a box in the file's own form; `expected` names them for the message."""
    numbers = as_floats(values)
    if numbers is None or len(numbers) != 4:
        return NoBox("box-columns", f"box {brief(list(values))}: expected four numbers {expected}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def from_corner(box: Box | NoBox) -> Box | NoBox:
    """A box of left, top, width, height as xyxy; what is no box stays as it is."""
    if isinstance(box, NoBox):
        return box
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def from_centre(box: Box | NoBox) -> Box | NoBox:
    """A box of centre x, y, width, height as xyxy; what is no box stays as it is."""
    if isinstance(box, NoBox):
        return box
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def want_dict(value: object, what: str) -> dict[str, object]:
    """`value` if it is a JSON object; raises `LabelFileError` otherwise."""
    if not isinstance(value, dict):
        raise LabelFileError(f"{what}: got {brief(value)}, expected an object")
    return value


def want_list(value: object, what: str) -> list[object]:
    """`value` if it is a JSON list; raises `LabelFileError` otherwise."""
    if not isinstance(value, list):
        raise LabelFileError(f"{what}: got {brief(value)}, expected a list")
    return value


def want_text(value: object, what: str) -> str:
    """`value` if it is a text that is not empty; raises `LabelFileError` otherwise."""
    if not isinstance(value, str) or not value:
        raise LabelFileError(f"{what}: got {brief(value)}, expected a text")
    return value
