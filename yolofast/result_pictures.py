"""Pictures next to the results of a run: charts by matplotlib (extra `plots`), and what a failure costs.

A picture is never worth a result: results are written first, and a picture that cannot be drawn is a warning.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from yolofast.errors import YolofastError, missing_extra, without_location
from yolofast.files import atomic_file
from yolofast.printable import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LABEL = 40
"""Characters of a name in a chart."""
_log = logging.getLogger(__name__)


@contextmanager
def optional_picture(path: str | Path) -> Iterator[None]:
    """A block that draws `path`; any failure in it becomes one warning."""
    try:
        yield
    except YolofastError as error:
        _log.warning("%s was not drawn: %s", path, without_location(error, path))
    except Exception as error:  # whatever a drawing library raises
        _log.warning("%s was not drawn: %s: %s", path, type(error).__name__, error)


def new_figure(width: float, height: float, purpose: str, *, dpi: int = 120) -> Figure:
    """A figure of `width` x `height` inches that leaves pyplot's global state and the user's backend alone.

    Raises `MissingExtraError`, which names the `purpose`, without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("matplotlib", "plots", purpose) from None
    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as a PNG, atomically. Raises `DataError` when it cannot be written."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def chart_label(name: str, otherwise: str, limit: int = MAX_LABEL) -> str:
    r"""`name` as matplotlib can draw it: on one line, at most `limit` characters, never a formula.

    `otherwise` where it is empty or the font lacks a character. A `$` would start a formula, and a leading
    `_` would hide an entry of a legend.
    """
    shown = printable(name)
    if not shown.strip() or not _font_characters().issuperset(map(ord, shown)):
        return otherwise
    if len(shown) > limit:
        shown = f"{shown[: limit - 3]}..."
    return (" " if shown.startswith("_") else "") + shown.replace("$", r"\$")


@functools.cache
def _font_characters() -> frozenset[int]:
    """The characters of matplotlib's default font; too slow to read for every name."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("sans")).get_charmap())
