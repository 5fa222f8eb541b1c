"""What a pickle is read into: values that cannot do anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


class PickleError(ValueError):
    """A pickle that is damaged, asks for something dangerous, or is beyond a bound."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle mentions. It is text: nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Record:
    """An object of a class that stays unknown: its name, the arguments it was made of, and its attributes."""

    kind: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    """What the object would have been given to restore itself; for most classes its attributes by name."""
    items: list[Any] = field(default_factory=list)
    """Of a subclass of list or set: its elements; of dict: its pairs."""

    @property
    def attributes(self) -> Mapping[Any, Any]:
        """The attributes by name; empty where the state is something else."""
        return self.state if isinstance(self.state, dict) else {}

    def __repr__(self) -> str:
        return f"<{self.kind}>"


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Numbers in the file, in a row: the key of their entry, their type and how many there are."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A view of a storage, checked to lie inside it and not to use a number twice; in elements, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize
