"""What decides the prepared dataset apart from its source, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from yolofast import __version__
from yolofast.errors import DataError
from yolofast.types import MAX_RESTART_ROWS

Link = Literal["hard", "copy", "symlink"]
MAX_SIDE = 65535
"""The longest side that a JPEG can have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `prepare_dataset`; raises `DataError` for one that makes no sense."""

    val_fraction: float
    seed: int
    link: Link
    label_format: str | None
    restart_rows: int
    rename: tuple[tuple[str, str], ...]
    drop: tuple[str, ...]
    keep: tuple[str, ...] | None
    drop_empty: bool
    max_side: int | None
    quality: int

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise DataError(
                f"val_fraction: got {self.val_fraction}, expected a share between 0 and 1, such as 0.2."
            )
        check_link(self.link)
        _whole("restart_rows", self.restart_rows, 0, MAX_RESTART_ROWS, "0 (off)")
        _whole("quality", self.quality, 1, 100)
        if self.max_side is not None:
            _whole("max_side", self.max_side, 1, MAX_SIDE)

    @staticmethod
    def of(
        *,
        rename: Mapping[str, str] | None,
        drop: Sequence[str],
        keep: Sequence[str] | None,
        **plain: Any,
    ) -> Settings:
        """Settings from the arguments of `prepare_dataset`."""
        for name, value in (("drop", drop), ("keep", keep)):
            if isinstance(value, str):
                raise DataError(f"{name}: got the text '{value}', expected a list of class names.")
        return Settings(
            rename=tuple(sorted((rename or {}).items())),
            drop=tuple(sorted(set(drop))),
            keep=None if keep is None else tuple(sorted(set(keep))),
            **plain,
        )

    def entry(self) -> dict[str, Any]:
        """The settings as the manifest holds them."""
        entry = dataclasses.asdict(self)
        entry["rename"] = dict(self.rename)
        entry["drop"] = list(self.drop)
        entry["keep"] = None if self.keep is None else list(self.keep)
        return entry | {"version": __version__}


def check_link(link: str) -> None:
    """Raise `DataError` for what is no `Link`."""
    if link not in get_args(Link):
        raise DataError(f"link: got '{link}', expected 'hard', 'copy' or 'symlink'.")


def _whole(name: str, value: object, low: int, high: int, low_text: str | None = None) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise DataError(f"{name}: got {value}, expected {low_text or low} to {high}.")
