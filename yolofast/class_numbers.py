"""Classes that a user chose, by name or number."""

from __future__ import annotations

from collections.abc import Sequence

from yolofast.errors import ConfigError, nearest


def class_numbers(
    chosen: Sequence[int | str] | None, class_names: Sequence[str], *, owner: str = "model"
) -> list[int] | None:
    """The numbers of classes given by name or number; None means all. Raises `ConfigError` for others.

    `owner` has the classes, for messages.
    """
    if chosen is None:
        return None
    numbers = []
    for given in map(str, chosen):
        if given in class_names:
            numbers.append(class_names.index(given))
        elif given.isdecimal() and int(given) < len(class_names):
            numbers.append(int(given))
        else:
            raise ConfigError(
                f"classes: got '{given}', expected names or numbers of the {owner}'s {len(class_names)} "
                f"classes ({', '.join(class_names)}).{nearest(given, class_names)}"
            )
    if not numbers:
        raise ConfigError("classes: got none, expected at least one. Omit it to keep all.")
    return numbers
