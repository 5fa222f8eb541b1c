"""From label files with class names to a dataset: what most readers share.

A reader only says what its files contain: it gets a `LabelFile` for each, adds images to it, and to them
their boxes and what is no box. Looking up the images, numbering the classes, splits, and files that cannot
be read are handled here. Rows are kept in flat arrays, about 50 bytes each, until the last file is read.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from yolofast.brief import brief
from yolofast.errors import DataError
from yolofast.formats.boxes import (
    are_shares,
    normalised_finding,
    row_finding,
    rows_numbered_by,
    rows_without_image,
)
from yolofast.formats.dataset import (
    FoundImage,
    LabelFileError,
    LabelledDataset,
    RawRows,
    ReadImage,
    complete_images,
    notes_alone,
    unlabelled_images,
)
from yolofast.formats.discover import FileTree
from yolofast.formats.image_finder import ImageFinder
from yolofast.formats.names.order import sorted_names
from yolofast.formats.shapes import Box
from yolofast.formats.splits import default_split, in_split_order, split_of
from yolofast.formats.unique_names import check_names
from yolofast.formats.values import NoBox
from yolofast.limits import MAX_CLASSES
from yolofast.types import Finding, Split

MAX_BAD_ROWS = 100_000
"""A file with more rows that are no boxes is refused: it is not what it looks like, and each is a finding."""


class TooManyBadRowsError(LabelFileError):
    """The whole file is given up."""


class Reading:
    """What is collected while the files of a dataset are read.

    `listed` holds the class names that files list, whether used or not. `kinds` counts the rows that are more
    than boxes, by what they are ("polygons"); `skipped` counts what is no label of an object. `evidence` and
    `findings` go to the dataset.
    """

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self.listed: dict[str, None] = {}
        self.kinds: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.evidence: list[str] = []
        self.findings: list[Finding] = []
        self._numbers: dict[str, int] = {}

    def list_names(self, names: Iterable[str]) -> None:
        """Class names of a list, in its order; they come before names that only boxes have."""
        self.listed.update(dict.fromkeys(names))

    def number(self, name: str) -> int:
        """The number of a class while files are read; see `classes`."""
        number = self._numbers.setdefault(name, len(self._numbers))
        if number > MAX_CLASSES:
            check_names(self._numbers, str(self.tree.root))
        return number

    def kind_findings(self) -> tuple[Finding, ...]:
        """One finding per kind of rows that are more than boxes."""
        return tuple(
            Finding(
                "info",
                "label-kinds",
                f"{count} rows are {kind}: they become the upright boxes around them",
                count=count,
            )
            for kind, count in self.kinds.items()
        )

    def classes(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The final class names, and int64 [number] the class of each number."""
        others = sorted_names(self._numbers.keys() - self.listed.keys())
        names = (*self.listed, *others)
        index = {name: i for i, name in enumerate(names)}
        return names, np.array([index[name] for name in self._numbers], dtype=np.int64)


@dataclass(slots=True)
class AnnotatedImage:
    """The labels of one image, as a file states them; `add` and `drop` take its rows.

    `name` is the image as the file calls it, and `split` what it states. `line` is where the image is in the
    file, if it has a line of its own.
    """

    file: LabelFile
    name: str
    line: int | None = None
    split: Split | None = None
    stated: tuple[object, object] | None = None
    normalised: bool = False
    rows: RawRows | None = None
    unusable: LabelFileError | None = None
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    _rows: list[tuple[Box, int, int]] = field(default_factory=list)

    def add(self, label: object, box: Box | NoBox, line: int | None = None, kind: str | None = None) -> None:
        """Add one annotation of class `label`; `kind` says what it is, if it is more than a box."""
        line = self.file.next_row(line)
        if isinstance(box, NoBox):
            self._drop(box, line)
        elif not isinstance(label, str) or not label:
            self._drop(NoBox("box-class", f"label {brief(label)}: expected the name of a class"), line)
        else:
            if kind is not None:
                self.file.reading.kinds[kind] += 1
            self._rows.append((box, self.file.reading.number(label), line))

    def _drop(self, why: NoBox, line: int) -> None:
        numbered = rows_numbered_by(self.file.path)
        self.file.bad_rows += 1
        if self.file.bad_rows > MAX_BAD_ROWS:
            raise TooManyBadRowsError(
                f"more than {MAX_BAD_ROWS} rows are no boxes; the last: {why.message}", line
            )
        self.dropped.append(row_finding(why.severity, why.code, why.message, self.file.path, line, numbered))

    def stated_split(self) -> Split | None:
        """The split that the file states for the image, else the one that its path names.

        None for a file that is named like its image: the 'test' of `test_12.txt` is part of both names.
        """
        path = self.file.path
        if self.split or PurePosixPath(self.name).stem == path.stem:
            return self.split
        return split_of(path.relative_to(self.file.reading.tree.root))

    def finish(self) -> None:
        """Pack the rows, when all have been added."""
        self.rows = RawRows.collect(self._rows, normalised=self.normalised)
        self._rows.clear()


class LabelFile:
    """One file while it is read: its images, and the running number of its rows."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path, self.reading = path, reading
        self.images: list[AnnotatedImage] = []
        self.bad_rows = 0
        self._count = 0

    @property
    def shown(self) -> str:
        """The path below the dataset's folder."""
        return self.reading.tree.relative(self.path)

    def next_row(self, line: int | None) -> int:
        """The number of the next row: its line, where it has one, else how many there are in the file."""
        self._count += 1
        return self._count if line is None else line

    def image(self, name: str, *, line: int | None = None) -> AnnotatedImage:
        """A new image; rows of the image before are complete."""
        self.finish()
        self.images.append(AnnotatedImage(self, name, line))
        return self.images[-1]

    @contextmanager
    def entry(self, line: int | None = None) -> Iterator[None]:
        """Around what a file has about one image: a `LabelFileError` in it leaves out this image alone."""
        before = len(self.images)
        try:
            yield
        except TooManyBadRowsError:
            raise
        except LabelFileError as error:
            if len(self.images) == before:
                self.image("", line=line)
            self.images[-1].unusable = LabelFileError(error.message, error.line or line)

    def finish(self) -> None:
        """Complete the last image."""
        if self.images and self.images[-1].rows is None:
            self.images[-1].finish()


Read = Callable[[LabelFile], None]
"""Reads one file: adds its images and their rows. Raises `LabelFileError` when the file cannot be used."""


def open_annotated(
    label_format: str, tree: FileTree, files: Sequence[Path], read: Read, reading: Reading, *, what: str
) -> LabelledDataset:
    """The files of one format as a dataset; `read` is called with each, `what` names such a file.

    An image is looked up by its name. Its split is what the file states, else what the path of the file
    names, else that of lists and folders. Labels of an image that was named before are dropped. An image that
    no file names was never annotated: it is skipped and reported.

    Raises `DataError` when no box of any file has a class.
    """
    images: list[AnnotatedImage] = []
    broken: list[Finding] = []
    for path in files:
        file = LabelFile(path, reading)
        try:
            read(file)
        except LabelFileError as error:
            broken.append(error.finding(path))
            continue
        file.finish()
        images.extend(file.images)
    if _take_shares(images):
        reading.findings.append(normalised_finding(tree.root))
    names, classes = reading.classes()
    if not names:
        first = next((f for f in (*broken, *_problems(images))), None)
        problem = "" if first is None else f" The first problem: {first}."
        raise DataError(f"{tree.root}: {len(files)} {what}(s) contain no box with a class.{problem}")
    finder = ImageFinder(tree, lambda: (image.name for image in images))
    stated = [image.stated_split() for image in images]
    if any(stated):
        by = (
            f"what the {what}s state" if any(image.split for image in images) else f"the paths of the {what}s"
        )
        named, splits_from = finder.with_stated(set(stated), by)
    else:
        named = finder.splits.named_with(files)
        splits_from = finder.splits.source(named)
    rest = default_split(named)

    def find() -> Iterator[FoundImage | ReadImage]:
        yield from (ReadImage(None, None, 0, (finding,)) for finding in broken)
        taken: dict[Path, AnnotatedImage] = {}
        for image, split in zip(images, stated, strict=True):
            yield _found(image, split, rest, finder, taken, classes)
        yield from unlabelled_images(tree.images, taken, f"no {what} names this image")
        yield from notes_alone((*reading.kind_findings(), *finder.findings()))

    return LabelledDataset(
        label_format,
        names,
        in_split_order({*named, rest}),
        lambda: complete_images(find(), num_classes=len(names)),
        (*reading.findings, *(finder.splits.findings if None in stated else ())),
        (
            f"{len(files)} {what}(s)",
            *reading.evidence,
            *(f"{count} {kind} skipped: no boxes" for kind, count in reading.skipped.items()),
        ),
        splits_from,
    )


def _take_shares(images: Sequence[AnnotatedImage]) -> bool:
    """Mark boxes that are meant to be in pixels as normalised where all of them `are_shares`."""
    pixels = [image for image in images if image.rows is not None and not image.rows.normalised]
    if not are_shares(image.rows.boxes for image in pixels if image.rows is not None):
        return False
    for image in pixels:
        if image.rows is not None:
            image.rows = dataclasses.replace(image.rows, normalised=True)
    return True


def _problems(images: Iterable[AnnotatedImage]) -> Iterator[Finding]:
    for image in images:
        if image.unusable is not None:
            yield image.unusable.finding(image.file.path)
        yield from image.dropped


def _found(
    image: AnnotatedImage,
    split: Split | None,
    rest: Split | None,
    finder: ImageFinder,
    taken: dict[Path, AnnotatedImage],
    classes: NDArray[np.int64],
) -> FoundImage | ReadImage:
    """The image in the tree with its labels; it is added to `taken`.

    `split` is what the file states, `rest` the split of the images for which nothing names one.
    """
    path, rows = image.file.path, image.rows
    assert rows is not None
    named_in = split or finder.folder_split(path)
    found = finder.find(image.name, path.parent, named_in) if image.name else None
    count = len(rows.lines) + len(image.dropped)
    if image.unusable is not None:
        if found is not None:
            taken.setdefault(found, image)
        return ReadImage(found, None, 0, (image.unusable.finding(path),))
    if found is None or found in taken:
        if found is None:
            why = f"its image '{image.name}' is missing"
            message = f"image '{image.name}': no such image, or several, below the dataset's folder"
            gone = Finding("error", "image-missing", message, str(path), image.line)
        else:
            first = taken[found].file
            where = "earlier in this file" if first is image.file else f"in {first.shown}"
            why = f"its image '{image.name}' has labels {where}, which count"
            gone = Finding("warning", "image-repeated", why, str(path), image.line)
        lost = rows_without_image(rows.lines, why, path, rows_numbered_by(path))
        return ReadImage(None, None, count, (gone, *image.dropped, *lost))
    taken[found] = image
    return FoundImage(
        found,
        split or finder.splits.of(found, path) or rest,
        path,
        dataclasses.replace(rows, classes=classes[rows.classes]) if len(rows.classes) else rows,
        tuple(image.dropped),
        tuple(image.notes),
        image.stated,
        image.line,
    )
