"""Class lists that rule parts of a dataset, merged by name.

Labels with class numbers mean what the list of their own folder or export says. Where such lists differ, the
classes of the dataset are all their names, and each part is renumbered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.formats.boxes import row_finding
from yolofast.formats.dataset import FoundImage, ReadImage


@dataclass(frozen=True, slots=True)
class ClassList:
    """The file that names the classes of some labels; `table` int64 [n] maps its ids to the dataset's."""

    file: Path
    table: NDArray[np.int64]


def merge_class_lists(
    lists: Mapping[Path, tuple[str, ...]],
) -> tuple[tuple[str, ...], dict[Path, ClassList]]:
    """All names of several lists, those of the first list first, and each list by its file."""
    names = {name: i for i, name in enumerate(dict.fromkeys(n for each in lists.values() for n in each))}
    tables = {
        file: ClassList(file, np.array([names[name] for name in each], dtype=np.int64))
        for file, each in lists.items()
    }
    return tuple(names), tables


def renumber(
    items: Iterable[FoundImage | ReadImage], list_of: Callable[[FoundImage], ClassList]
) -> Iterator[FoundImage | ReadImage]:
    """The images with the classes of the dataset; rows whose id their list does not name are dropped."""
    for item in items:
        if isinstance(item, ReadImage) or not len(item.rows.classes):
            yield item
            continue
        ruling, rows = list_of(item), item.rows
        known = (rows.classes >= 0) & (rows.classes < len(ruling.table))
        unknown = tuple(
            row_finding(
                "error",
                "box-class",
                f"class id {label}: {ruling.file} names 0 to {len(ruling.table) - 1}",
                item.source,
                int(line),
            )
            for label, line in zip(rows.classes[~known].tolist(), rows.lines[~known], strict=True)
        )
        good = replace(
            rows,
            boxes=rows.boxes[known],
            classes=ruling.table[rows.classes[known]],
            lines=rows.lines[known],
        )
        yield replace(item, rows=good, dropped=item.dropped + unknown)
