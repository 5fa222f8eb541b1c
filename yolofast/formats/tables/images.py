"""From the columns of a CSV to found images: the part that all CSV readers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolofast.formats.boxes import rows_without_image
from yolofast.formats.dataset import FoundImage, ReadImage
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import SPLITS, split_of
from yolofast.formats.tables.rows import RowColumns
from yolofast.types import Finding, Split


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV that was read: its rows, whether they are shares of the image's sides, and the split that its
    path names."""

    path: Path
    columns: RowColumns
    normalised: bool
    split: Split | None


def in_split_order(tree: FileTree, paths: Iterable[Path]) -> list[tuple[Path, Split | None]]:
    """The files with the split that each one's path names: train, valid, test, then those of none."""
    splits = [(path, split_of(path.relative_to(tree.root))) for path in paths]
    return sorted(splits, key=lambda item: (SPLITS.index(item[1]) if item[1] else len(SPLITS), item[0]))


def sorted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by number where all are whole numbers, else as text."""
    names = list(names)
    if all(name.isdecimal() and len(name) < 10 for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def find_table_images(
    tree: FileTree, tables: Sequence[Table], classes: Sequence[int], unlabelled: str
) -> Iterator[FoundImage | ReadImage]:
    """Every image of the tables with its rows, then the images that no table names.

    `classes[label]` is the class of a row's label. An image that two tables name stays in the first; its
    rows in the other are left out. `unlabelled` says why an image without rows is left out.
    """
    index = ImageFinder(tree)
    taken: dict[Path, Path] = {}
    for table in tables:
        columns, path = table.columns, table.path
        for position, rows in columns.by_image(classes, normalised=table.normalised):
            name, dropped = columns.names[position], tuple(columns.dropped.get(position, ()))
            image = index.find(name, path.parent, table.split) if name else None
            first_line = columns.stated_lines[position]
            if image is None:
                message = (
                    f"image '{name}': no such image, or several, below the dataset's folder"
                    if name
                    else "rows that name no image"
                )
                why = f"its image '{name}' is missing"
                gone = Finding("error", "image-missing", message, str(path), first_line)
            elif image in taken:
                first = taken[image]
                where = (
                    f"{tree.relative(first)}: it stays there"
                    if first != path
                    else "this file under another name: its first rows count"
                )
                why = f"its image '{name}' is also in {where}"
                gone = Finding(
                    "warning", "split-overlap", f"image '{name}' is also in {where}", str(path), first_line
                )
            else:
                taken[image] = path
                split = table.split or split_of(image.relative_to(tree.root).parent)
                yield FoundImage(
                    image,
                    split,
                    path,
                    rows,
                    dropped,
                    stated=columns.stated[position],
                    stated_line=first_line,
                )
                continue
            lost = rows_without_image(np.sort(rows.lines), why, path)
            yield ReadImage(None, None, len(lost) + len(dropped), (gone, *dropped, *lost))
    for image in tree.images:
        if image not in taken:
            yield ReadImage(image, None, 0, (Finding("warning", "image-unlabelled", unlabelled, str(image)),))


def table_splits(tree: FileTree, tables: Sequence[Table]) -> tuple[Split, ...]:
    """The splits that the tables or the folders of their images name."""
    named: set[Split | None] = {table.split for table in tables}
    if None in named:
        named.update(split_of(image.relative_to(tree.root).parent) for image in tree.images)
    return tuple(split for split in SPLITS if split in named)
