"""The error hierarchy.

Every error that a user can cause says three things: what was found, what was expected, and what to do;
and it names the file and line if there is one. The command line turns any `YolofastError` into one line
and exit code 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from yolofast.printable import printable


class YolofastError(Exception):
    """Base of all errors that a user can cause and fix.

    The message is one line that can be shown anywhere, whatever names it is about (`printable`).
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class ConfigError(YolofastError, ValueError):
    """A setting has a wrong name, type or value."""


class DataError(YolofastError, ValueError):
    """A file or a dataset has invalid content."""


class ImageError(DataError):
    """An image cannot be decoded."""


class MissingExtraError(YolofastError, ImportError):
    """An optional dependency is not installed."""


class DatasetNotFoundError(YolofastError, FileNotFoundError):
    """A dataset folder or file does not exist."""


class CheckpointError(YolofastError):
    """A checkpoint is missing, damaged, or of another model."""


class HookError(YolofastError):
    """A user's own transform (`yolofast.load.hooks`) cannot be compiled, or failed on a sample."""


class ExportError(YolofastError):
    """A model cannot be exported to the requested format."""


def at(path: str | Path, line: int | None = None) -> str:
    """`path` or `path:line`, as compilers print locations (lines count from 1)."""
    return f"{path}:{line}" if line is not None else str(path)


def without_location(message: object, path: str | Path) -> str:
    """An error, or its message, without the `path` in front, for a text that names the path elsewhere."""
    return str(message).removeprefix(f"{path}: ").removeprefix(f"{printable(str(path))}: ")


def nearest(got: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the known name nearest to `got`, or an empty string."""
    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(got.lower(), spelled, n=1, cutoff=0.6)
    return f" Did you mean '{spelled[close[0]]}'?" if close else ""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """An error that says which optional package `purpose` needs and how to install it."""
    return MissingExtraError(
        f"{purpose} needs the package '{package}', which is not installed. "
        f"Install it with: pip install 'yolofast[{extra}]'"
    )
