"""What every reader returns: a labelled dataset that is streamed image by image.

Nothing is lost silently: each label row of the source is either in a record or in `dropped`, so
`rows == len(record.boxes) + number of dropped rows` holds for every image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.brief import brief_text
from yolofast.errors import ImageError, without_location
from yolofast.files import first_zeros
from yolofast.formats.boxes import (
    apply_box_rules,
    row_finding,
    rows_numbered_by,
    rows_without_image,
)
from yolofast.formats.prefetch import BATCH, prefetch_batches
from yolofast.formats.stated_size import ExifEvidence, PlacedBoxes, ResizeEvidence, place_boxes
from yolofast.images import read_headers
from yolofast.limits import MAX_BOXES
from yolofast.types import Finding, ImageHeader, ImageRecord, Split

_MIN_SPARSE = 1 << 20


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

    @property
    def rejected(self) -> bool:
        """Whether the image has label rows, and none of them is a box: it is no background image."""
        return self.record is not None and self.rows > 0 and not len(self.record.boxes)


def rejected_image(image: str | Path, rows: int) -> Finding:
    """The finding for an image that is left out because none of its label rows can be used."""
    none = f"none of its {rows} label rows can" if rows > 1 else "its only label row cannot"
    message = f"{none} be used: it is left out, because training would take its objects for background"
    return Finding("warning", "image-rejected", message, str(image))


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
        raise LabelFileError(f"cannot be read: {brief_text(str(error))}") from None


def check_size(path: Path, max_bytes: int) -> None:
    """Raise `LabelFileError` for a file of more than `max_bytes`, or with holes; call it inside `parsing`."""
    size = path.stat().st_size
    if size > max_bytes:
        raise LabelFileError(f"got {size} bytes, expected a file of at most {max_bytes}")
    if size > _MIN_SPARSE:
        with path.open("rb") as file:
            zeros = first_zeros(file)
        if zeros is not None:
            raise LabelFileError(f"has zeros from byte {zeros} on: its copy is incomplete; get it again")


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
    numbers: Mapping[Path, int] | None = None
    """The position of each image, from 1, in what its split lists (readable or not); None without lists."""


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
    size of the image is noted, and boxes are turned or scaled where it shows that they belong to another
    picture (`stated_size`). Prefetches a few batches of `found`.

    Images whose labels may have been drawn before EXIF turned the image, or before it was resized, come last:
    all of them together show whether they were.
    """
    exif, resize = _Held(ExifEvidence()), _Held(ResizeEvidence())
    for items, headers in prefetch_batches(map(_bounded, found), _headers):
        if any(isinstance(item, FoundImage) and item.stated is not None for item in items) or any(
            isinstance(header, ImageHeader) and header.orientation != 1 for header in headers
        ):
            items, headers = _hold_back(items, headers, (exif, resize))
        yield from _complete(items, headers, num_classes)
    for held in (exif, resize):
        for start in range(0, len(held.images), BATCH):
            some = held.images[start : start + BATCH]
            items, headers = [item for item, _ in some], [header for _, header in some]
            yield from _complete(items, headers, num_classes, held.evidence)


def _bounded(item: FoundImage | ReadImage) -> FoundImage | ReadImage:
    """The item; an image with more rows than any has is skipped."""
    if isinstance(item, ReadImage) or len(item.rows.lines) <= MAX_BOXES:
        return item
    message = f"{item.count} rows for the image '{item.image.name}', expected at most {MAX_BOXES}"
    return ReadImage(
        item.image, None, item.count, (LabelFileError(message).finding(item.source),), item.notes
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """The images that depend on what all of them show."""

    evidence: ExifEvidence | ResizeEvidence
    images: list[tuple[FoundImage, ImageHeader]] = field(default_factory=list)

    def take(self, item: FoundImage, header: ImageHeader) -> bool:
        """Add an image to the evidence; returns whether it is held."""
        rows = item.rows
        if self.evidence.add(rows.boxes, item.stated, header, normalised=rows.normalised):
            self.images.append((item, header))
            return True
        return False


def _hold_back(
    items: Iterable[FoundImage | ReadImage],
    headers: Iterable[ImageHeader | ImageError],
    held: Sequence[_Held],
) -> tuple[list[FoundImage | ReadImage], list[ImageHeader | ImageError]]:
    """The items and headers without the images that `held` take."""
    kept: list[FoundImage | ReadImage] = []
    kept_headers: list[ImageHeader | ImageError] = []
    next_header = iter(headers)
    for item in items:
        if isinstance(item, FoundImage):
            header = next(next_header)
            if isinstance(header, ImageHeader) and any(some.take(item, header) for some in held):
                continue
            kept_headers.append(header)
        kept.append(item)
    return kept, kept_headers


def _headers(items: list[FoundImage | ReadImage]) -> list[ImageHeader | ImageError]:
    return read_headers([item.image for item in items if isinstance(item, FoundImage)])


def _complete(
    items: Sequence[FoundImage | ReadImage],
    headers: Sequence[ImageHeader | ImageError],
    num_classes: int,
    evidence: ExifEvidence | ResizeEvidence | None = None,
) -> Iterator[ReadImage]:
    """`headers` belong to the found images among `items`."""
    found = [item for item in items if isinstance(item, FoundImage)]
    usable = [(f, h) for f, h in zip(found, headers, strict=True) if isinstance(h, ImageHeader)]
    placed = [
        place_boxes(f.rows.boxes, f.stated, h, normalised=f.rows.normalised, evidence=evidence)
        for f, h in usable
    ]
    empty = np.empty((0, 4)), np.empty(0, np.int64), np.empty(0, np.int64)
    checked = apply_box_rules(
        np.concatenate([p.boxes for p in placed] or [empty[0]]),
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
        notes = (*item.notes, *checked.notes.get(i, ()), *_size_notes(item, placed[i]))
        yield ReadImage(item.image, record, item.count, dropped, notes, header)


def notes_alone(notes: tuple[Finding, ...]) -> Iterator[ReadImage]:
    """Findings about the labels as a whole, after the last image; nothing when there are none."""
    if notes:
        yield ReadImage(None, None, 0, notes=notes)


def merge_repeated(items: Iterable[ReadImage], repeated: Mapping[Path, int]) -> Iterator[ReadImage]:
    """Join the items of each image that several label files describe: the union of their boxes.

    `repeated` says how many items there are for each of these images; they may come far apart. A box that
    repeats one of an earlier item is dropped (`box-duplicate`). The split is the first one named.
    """
    left, parts = dict(repeated), dict[Path, ReadImage]()
    for item in items:
        if item.image is None or item.image not in left:
            yield item
            continue
        first = parts.get(item.image)
        parts[item.image] = item if first is None else _joined(first, item)
        left[item.image] -= 1
        if left[item.image] == 0:
            yield parts.pop(item.image)


def _joined(first: ReadImage, other: ReadImage) -> ReadImage:
    rows = first.rows + other.rows
    record, added = first.record, other.record
    if record is None or added is None:  # the image cannot be read
        dropped = tuple(dict.fromkeys((*first.dropped, *other.dropped)))
        return ReadImage(first.image, None, rows, dropped, first.notes + other.notes)
    source = added.label_file or added.path
    known = {(c, b.tobytes()) for c, b in zip(record.classes.tolist(), record.boxes + 0.0, strict=True)}
    fresh, repeats = [], []
    for i, box in enumerate(added.boxes + 0.0):
        if (int(added.classes[i]), box.tobytes()) not in known:
            fresh.append(i)
            continue
        file = "another entry of the file" if source == record.label_file else record.label_file
        why = f"an exact repeat of a box of this image in {file}"
        line, numbered = int(added.lines[i]), rows_numbered_by(source)
        repeats.append(row_finding("warning", "box-duplicate", why, source, line, numbered))
    notes = [*first.notes, *other.notes]
    if added.split is not None and record.split not in (None, added.split):
        message = f"image '{record.path.name}' is also in {record.split}: it stays there, with all its boxes"
        notes.append(Finding("warning", "split-overlap", message, str(source)))
    return ReadImage(
        first.image,
        ImageRecord(
            record.path,
            record.width,
            record.height,
            np.concatenate([record.boxes, added.boxes[fresh]]),
            np.concatenate([record.classes, added.classes[fresh]]),
            np.concatenate([record.lines, added.lines[fresh]]),
            record.label_file,
            record.split or added.split,
        ),
        rows,
        (*first.dropped, *other.dropped, *repeats),
        tuple(notes),
        first.header,
    )


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
    gone = Finding("error", "image-unreadable", without_location(error, image), str(image))
    return (gone, *dropped, *rows_without_image(lines, why, source, rows_numbered_by(source)))


def _size_notes(found: FoundImage, placed: PlacedBoxes) -> tuple[Finding, ...]:
    if not placed.code:
        return ()
    message = f"image '{found.image.name}': {placed.reason}"
    return (Finding("warning", placed.code, message, str(found.source), found.stated_line),)
