"""What a list of class names must not be: with a name that occurs twice, too long, or too many of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from yolofast.brief import brief_text
from yolofast.errors import DataError
from yolofast.limits import MAX_CLASSES, MAX_NAME


def first_repeat(names: Sequence[str]) -> tuple[int, int] | None:
    """The ids of the first two classes with the same name; None when each name occurs once."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            return first[name], number
    return None


def check_names(names: Collection[str], where: str) -> None:
    """Raise `DataError` for more names, or a longer one, than classes can have; `where` names their file."""
    if len(names) > MAX_CLASSES:
        raise DataError(f"{where}: got {len(names)} classes, expected at most {MAX_CLASSES}.")
    longest = max(map(len, names), default=0)
    if longest > MAX_NAME:
        name = brief_text(next(name for name in names if len(name) == longest))
        raise DataError(
            f"{where}: the class name '{name}' has {longest} characters, expected at most {MAX_NAME}."
        )
