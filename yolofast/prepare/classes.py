"""Renames, merges and drops classes while a dataset is prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolofast.config import PrepareConfig
from yolofast.errors import DataError, nearest
from yolofast.formats.boxes import row_finding, rows_numbered_by
from yolofast.types import Finding, ImageRecord


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Maps the classes of the source to those of the prepared dataset.

    `old` and `new` are the class names; `table` int64 [len(old)] is the new id of each old class, -1 where it
    is dropped. `merges` is True when two old classes become one.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]
    table: NDArray[np.int64]
    merges: bool

    @property
    def changes(self) -> bool:
        """Whether any label changes."""
        return bool((self.table != np.arange(len(self.old))).any())

    @staticmethod
    def of(names: Sequence[str], config: PrepareConfig) -> ClassMap:
        """The map for a config; new ids follow the order in which the new names first occur in `names`.

        `rename`, `drop` and `keep` refer to the names of the source. Raises `DataError` for a name that the
        source does not have, an invalid new name, a class that is renamed and dropped, and when no class is
        left.
        """
        rename = dict(sorted((config.rename or {}).items()))
        asked = {"rename": list(rename), "drop": sorted(config.drop), "keep": sorted(config.keep or ())}
        for option, wanted in asked.items():
            for name in wanted:
                if name not in names:
                    raise DataError(
                        f"{option}: got '{name}', which is not a class of this dataset."
                        f"{nearest(name, names)} Its classes: {_listed(names)}."
                    )
        gone = set(config.drop) if config.keep is None else set(names) - set(config.keep)
        for name, target in rename.items():
            if not target.strip() or not target.isprintable():
                raise DataError(f"rename: got {target!r} for class '{name}', expected a name.")
            if name in gone:
                raise DataError(f"rename: class '{name}' is also dropped. Rename it or drop it.")
        if gone.issuperset(names):
            raise DataError(f"drop, keep: no class is left of {_listed(names)}.")
        if not rename and not gone:
            return ClassMap(tuple(names), tuple(names), np.arange(len(names), dtype=np.int64), False)
        kept = [name for name in names if name not in gone]
        new = tuple(dict.fromkeys(rename.get(name, name) for name in kept))
        ids = {name: i for i, name in enumerate(new)}
        table = [-1 if name in gone else ids[rename.get(name, name)] for name in names]
        return ClassMap(tuple(names), new, np.array(table, dtype=np.int64), len(new) < len(kept))

    def apply(self, record: ImageRecord) -> tuple[ImageRecord, tuple[Finding, ...]]:
        """The record with its new classes, and a finding for each dropped row.

        A row is dropped because its class is (`box-class-dropped`), or because it equals an earlier row now
        that their classes are merged (`box-duplicate`); the others keep their order.
        """
        classes = self.table[record.classes]
        if not self.merges and (classes >= 0).all():
            return _with(record, slice(None), classes), ()
        source = record.label_file or record.path
        numbered = rows_numbered_by(source)
        dropped: list[Finding] = []
        kept: list[int] = []
        seen: set[tuple[int, bytes]] = set()
        boxes = record.boxes + 0.0  # -0.0 becomes 0.0
        for i, (was, now, line) in enumerate(
            zip(record.classes.tolist(), classes.tolist(), record.lines.tolist(), strict=True)
        ):
            key = (now, boxes[i].tobytes()) if self.merges else (now, b"")
            if now < 0:
                why = f"class '{self.old[was]}' is dropped, as asked"
                dropped.append(row_finding("info", "box-class-dropped", why, source, line, numbered))
            elif self.merges and key in seen:
                why = f"an exact repeat now that class '{self.old[was]}' is part of '{self.new[now]}'"
                dropped.append(row_finding("warning", "box-duplicate", why, source, line, numbered))
            else:
                seen.add(key)
                kept.append(i)
        return _with(record, np.array(kept, dtype=np.int64), classes), tuple(dropped)


def _with(record: ImageRecord, rows: slice | NDArray[np.int64], classes: NDArray[np.int64]) -> ImageRecord:
    """Some rows of a record, with new classes."""
    return ImageRecord(
        record.path,
        record.width,
        record.height,
        record.boxes[rows],
        classes[rows],
        record.lines[rows],
        record.label_file,
        record.split,
    )


def _listed(names: Sequence[str], limit: int = 20) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
