"""From the columns of tables to found images: what the CSV and Open Images readers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from yolofast.formats.boxes import rows_without_image
from yolofast.formats.dataset import (
    FoundImage,
    LabelledDataset,
    ReadImage,
    complete_images,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.splits import SPLITS, default_split, in_split_order, split_of
from yolofast.formats.tables.rows import RowColumns
from yolofast.types import Finding, Split


@dataclass(frozen=True, slots=True)
class Table:
    """A table that has been read: its rows, whether they are normalised by the image size, and the split that
    its path names."""

    path: Path
    columns: RowColumns
    normalised: bool
    split: Split | None

    def stated_splits(self) -> frozenset[Split | None]:
        """The splits that the table states for its images; None when it states none for some."""
        rows = self.columns.splits
        if len(rows) == len(self.columns.names):
            return frozenset(rows.values())
        return frozenset((*rows.values(), self.split))


def tables_by_split(tree: FileTree, paths: Iterable[Path]) -> list[tuple[Path, Split | None]]:
    """The files with the split that the path of each names: train, valid, test, then those without."""
    splits = [(path, split_of(path.relative_to(tree.root))) for path in paths]
    return sorted(splits, key=lambda item: (SPLITS.index(item[1]) if item[1] else len(SPLITS), item[0]))


def table_dataset(
    label_format: str,
    tree: FileTree,
    tables: Sequence[Table],
    names: tuple[str, ...],
    classes: Sequence[int],
    *,
    unlabelled: str,
    findings: tuple[Finding, ...],
    evidence: tuple[str, ...],
) -> LabelledDataset:
    """The images of tables as a dataset.

    `classes[label]` is the class of a label, `unlabelled` says why an image without rows is skipped.
    """
    finder = ImageFinder(tree, lambda: chain.from_iterable(table.columns.names for table in tables))
    stated = {split for table in tables for split in table.stated_splits()}
    named, source = finder.with_stated(stated, _stated_by(tree, tables))
    rest = default_split(named)
    return LabelledDataset(
        label_format,
        names,
        in_split_order({*named, rest}),
        lambda: complete_images(
            _images(tree, finder, tables, classes, unlabelled, rest), num_classes=len(names)
        ),
        findings + (finder.splits.findings if None in stated else ()),
        evidence,
        source,
    )


def _stated_by(tree: FileTree, tables: Sequence[Table]) -> str:
    """What states the splits of images, in words."""
    sources = [f"the split column of {tree.relative(t.path)}" for t in tables if t.columns.splits]
    if any(t.split for t in tables):
        sources.append("the paths of the CSV files")
    return " and ".join(sources)


def _images(
    tree: FileTree,
    finder: ImageFinder,
    tables: Sequence[Table],
    classes: Sequence[int],
    unlabelled: str,
    rest: Split | None,
) -> Iterator[FoundImage | ReadImage]:
    """Every image of the tables with its rows, then the images that no table names.

    An image that two tables name stays in the first; its rows in the other are dropped. `rest` is the split
    of the images for which nothing names one.
    """
    taken: dict[Path, Path] = {}
    for table in tables:
        columns, path = table.columns, table.path
        for index, rows in columns.by_image(classes, normalised=table.normalised):
            name, dropped = columns.names[index], tuple(columns.dropped.get(index, ()))
            own_split = columns.splits.get(index) or table.split
            image = finder.find(name, path.parent, own_split) if name else None
            first_line = columns.stated_lines[index]
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
                split, stated = own_split or finder.split(image) or rest, columns.stated[index]
                yield FoundImage(image, split, path, rows, dropped, stated=stated, stated_line=first_line)
                continue
            lost = rows_without_image(np.sort(rows.lines), why, path)
            yield ReadImage(None, None, len(lost) + len(dropped), (gone, *dropped, *lost))
    yield from unlabelled_images(tree.images, taken.keys(), unlabelled)
    yield from notes_alone(finder.findings())
