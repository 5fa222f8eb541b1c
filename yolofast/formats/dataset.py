"""What every reader returns: a labelled dataset that is streamed image by image.

Nothing is lost silently: each label row of the source is either in a record or in `dropped`, so
`rows == len(record.boxes) + number of dropped rows` holds for every image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.formats.boxes import (
    apply_box_rules,
    rows_numbered_by,
    rows_without_image,
)
from yolofast.formats.prefetch import prefetch_batches
from yolofast.images import read_headers
from yolofast.types import Finding, ImageHeader, ImageRecord, Split


@dataclass(frozen=True, slots=True)
class ReadImage:
    """One image as a reader returns it.

    `record` is None when the image is skipped. `rows` counts its label rows in the source. `dropped` lists
    what was left out: rows (codes starting with `box-`) and the image itself (codes starting with `image-`).
    `notes` lists what was repaired or is worth knowing. `image` is None for labels that belong to no image.
    """

    image: Path | None
    record: ImageRecord | None
    rows: int
    dropped: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    header: ImageHeader | None = None
    """The header of `image`, where it was read."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.dropped + self.notes


class LabelFileError(Exception):
    """A label file that cannot be used, and the line at fault.

    Never leaves a reader: the image of the file is skipped and reported, and all others are read.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line

    def finding(self, path: Path) -> Finding:
        return Finding("error", "image-label-unreadable", self.message, str(path), self.line)


@contextmanager
def parsing() -> Iterator[None]:
    """Convert the errors of reading and parsing one label file into `LabelFileError`."""
    try:
        yield
    except OSError as error:
        raise LabelFileError(f"cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, OverflowError) as error:
        raise LabelFileError(f"cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """A folder opened by a reader. `read()` streams its images, always in the same order."""

    format: str
    names: tuple[str, ...]
    splits: tuple[Split, ...]
    """The splits that the dataset itself names, in the order train, valid, test."""
    read: Callable[[], Iterator[ReadImage]]
    findings: tuple[Finding, ...] = ()
    evidence: tuple[str, ...] = ()
    splits_from: str = ""
    """Where the splits come from, such as 'ImageSets/Main/train.txt' or 'folder names'."""


@dataclass(frozen=True, slots=True)
class RawRows:
    """Label rows of one image as the source has them, before the box rules.

    `boxes` float64 [N, 4] xyxy in pixels, or divided by the image size where `normalised`; `classes` int64
    [N]; `lines` int64 [N] line or annotation id.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]
    normalised: bool = False

    def pixels(self, width: int, height: int) -> NDArray[np.float64]:
        """The boxes [N, 4] in pixels of an image of this size."""
        if not self.normalised:
            return self.boxes
        with np.errstate(over="ignore", invalid="ignore"):  # the rules drop boxes that overflow
            return self.boxes * np.array([width, height, width, height], dtype=np.float64)

    @staticmethod
    def collect(
        rows: Iterable[tuple[tuple[float, float, float, float], int, int]], *, normalised: bool = False
    ) -> RawRows:
        """Rows from (box, class, line) tuples."""
        items = list(rows)
        return RawRows(
            np.array([box for box, _, _ in items], dtype=np.float64).reshape(-1, 4),
            np.array([label for _, label, _ in items], dtype=np.int64),
            np.array([line for _, _, line in items], dtype=np.int64),
            normalised,
        )


@dataclass(frozen=True, slots=True)
class FoundImage:
    """The labels of one image, before its header is read and its rows are checked.

    `dropped` and `notes` are the reader's own findings; each of `dropped` stands for one more row of the
    source. `stated` is the (width, height) that the labels state, if any, as written, and `stated_line` is
    its line.
    """

    image: Path
    split: Split | None
    label_file: Path | None
    rows: RawRows
    dropped: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    stated: tuple[object, object] | None = None
    stated_line: int | None = None

    @property
    def source(self) -> Path:
        """The file to which findings about the rows refer."""
        return self.label_file if self.label_file is not None else self.image

    @property
    def count(self) -> int:
        """Number of label rows in the source."""
        return len(self.rows.lines) + len(self.dropped)


def complete_images(found: Iterable[FoundImage | ReadImage], *, num_classes: int) -> Iterator[ReadImage]:
    """Complete images in order: sizes from the headers, then the box rules. Complete items pass through.

    An image whose header cannot be read is skipped with all its rows. A stated size that differs from the
    size of the image is noted. Prefetches a few batches of `found`.
    """
    for items, headers in prefetch_batches(found, _headers):
        yield from _complete(items, headers, num_classes)


def _headers(items: list[FoundImage | ReadImage]) -> list[ImageHeader | ImageError]:
    return read_headers([item.image for item in items if isinstance(item, FoundImage)])


def _complete(
    items: list[FoundImage | ReadImage], headers: list[ImageHeader | ImageError], num_classes: int
) -> Iterator[ReadImage]:
    """`headers` belong to the found images among `items`."""
    found = [item for item in items if isinstance(item, FoundImage)]
    usable = [(f, h) for f, h in zip(found, headers, strict=True) if isinstance(h, ImageHeader)]
    empty = np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.int64)
    checked = apply_box_rules(
        np.concatenate([f.rows.pixels(h.width, h.height) for f, h in usable] or [empty[0]]),
        np.concatenate([f.rows.classes for f, _ in usable] or [empty[1]]),
        np.concatenate([f.rows.lines for f, _ in usable] or [empty[2]]),
        [len(f.rows.lines) for f, _ in usable],
        np.array([(h.width, h.height) for _, h in usable], dtype=np.int64).reshape(-1, 2),
        [f.source for f, _ in usable],
        num_classes=num_classes,
    )
    offsets = checked.offsets.tolist()
    next_usable, next_header = iter(range(len(usable))), iter(headers)
    for item in items:
        if isinstance(item, ReadImage):
            yield item
            continue
        header = next(next_header)
        if isinstance(header, ImageError):
            gone = unreadable_image(item.image, header, item.rows.lines, item.source, item.dropped)
            yield ReadImage(item.image, None, item.count, gone, item.notes)
            continue
        i = next(next_usable)
        rows = slice(offsets[i], offsets[i + 1])
        record = ImageRecord(
            item.image,
            header.width,
            header.height,
            checked.boxes[rows],
            checked.classes[rows],
            checked.lines[rows],
            item.label_file,
            item.split,
        )
        dropped = (*item.dropped, *checked.dropped.get(i, ()))
        notes = (*item.notes, *checked.notes.get(i, ()), *_size_notes(item, header))
        yield ReadImage(item.image, record, item.count, dropped, notes, header)


def notes_alone(notes: tuple[Finding, ...]) -> Iterator[ReadImage]:
    """Findings about the labels as a whole, after the last image; nothing when there are none."""
    if notes:
        yield ReadImage(None, None, 0, notes=notes)


def unlabelled_images(
    images: Iterable[Path], labelled: Collection[Path | None], why: str
) -> Iterator[ReadImage]:
    """The images without labels of their own: each is skipped and reported (`image-unlabelled`)."""
    for image in images:
        if image not in labelled:
            yield ReadImage(image, None, 0, (Finding("warning", "image-unlabelled", why, str(image)),))


def unreadable_image(
    image: str | Path,
    error: ImageError,
    lines: NDArray[np.int64],
    source: str | Path,
    dropped: tuple[Finding, ...],
) -> tuple[Finding, ...]:
    """Findings for an image that is skipped with all its rows; `dropped` are rows that were bad anyway."""
    why = f"its image '{image}' cannot be read"
    gone = Finding("error", "image-unreadable", str(error).removeprefix(f"{image}: "), str(image))
    return (gone, *dropped, *rows_without_image(lines, why, source, rows_numbered_by(source)))


def _size_notes(found: FoundImage, header: ImageHeader) -> tuple[Finding, ...]:
    if found.stated is None or tuple(map(_as_number, found.stated)) == (header.width, header.height):
        return ()
    message = (
        f"image '{found.image.name}': stated as {found.stated[0]}x{found.stated[1]}, "
        f"but it is {header.width}x{header.height}; the image counts"
    )
    return (Finding("warning", "size-mismatch", message, str(found.source), found.stated_line),)


def _as_number(value: object) -> object:
    """`value` as a float where it is a number or reads as one; anything else unchanged."""
    try:
        return float(value) if isinstance(value, str | int | float) else value
    except (ValueError, OverflowError):
        return value
