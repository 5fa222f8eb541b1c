"""Column names of tables, and the header that tells Open Images from other CSV files."""

from __future__ import annotations

OPEN_IMAGES = ("imageid", "labelname", "xmin", "xmax", "ymin", "ymax")
"""The columns that identify an Open Images header, as `column_key` spells them."""


def column_key(name: str) -> str:
    """A column name in lower case without spaces, `_` and `-`."""
    return "".join(c for c in name.casefold() if c not in " _-")


def is_open_images_header(row: list[str]) -> bool:
    """Whether a row has all columns of Open Images boxes."""
    return set(OPEN_IMAGES) <= {column_key(name) for name in row}
