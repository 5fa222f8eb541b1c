"""Verifies the size and the SHA-256 of a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from yolofast.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """What is known about a file in advance: `size` in bytes, `sha256` in hex digits; None means unknown.

    Raises `ConfigError` for an invalid size or SHA-256.
    """

    sha256: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        digits = self.sha256
        if digits is not None and (len(digits) != 64 or digits.strip("0123456789abcdefABCDEF")):
            raise ConfigError(f"sha256: got '{digits}', expected 64 hex digits.")
        if self.size is not None and self.size < 0:
            raise ConfigError(f"size: got {self.size}, expected a number of bytes.")

    def check_size(self, name: str, size: int) -> None:
        """Raise `DataError` when the file called `name` does not have the expected size."""
        if self.size is not None and size != self.size:
            raise DataError(
                f"{name}: got {size} bytes, expected {self.size}. This is not the expected file: check the "
                "address and the expected size."
            )

    def check(self, name: str, file: Path) -> None:
        """Raise `DataError` when `file`, called `name`, does not have the expected size and contents."""
        self.check_size(name, file.stat().st_size)
        if self.sha256 is None:
            return
        with file.open("rb") as contents:
            got = hashlib.file_digest(contents, "sha256").hexdigest()
        if got != self.sha256.lower():
            raise DataError(
                f"{name}: got SHA-256 {got}, expected {self.sha256.lower()}. This is not the expected file, "
                "or it was modified in transit: do not use it, and check the address and the hash."
            )
