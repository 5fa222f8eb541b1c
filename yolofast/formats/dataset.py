"""What every reader gives: a labelled dataset that can be streamed image by image.

Nothing is lost silently: each label row of the source is either in a record or in `dropped`, so
`rows == len(record.boxes) + the dropped rows` holds for every image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolofast.errors import ImageError
from yolofast.formats.boxes import apply_box_rules, rows_without_image
from yolofast.images import image_shape
from yolofast.types import Finding, ImageRecord, Split


@dataclass(frozen=True, slots=True)
class ReadImage:
    """One image as a reader found it.

    `record` is None when the image is left out. `rows` counts its label rows in the source.
    `dropped` lists what was left out: rows (codes starting with `box-`) and the image itself (codes
    starting with `image-`). `notes` lists what was mended or only noticed. `image` is None for
    labels that belong to no image at all.
    """

    image: Path | None
    record: ImageRecord | None
    rows: int
    dropped: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.dropped + self.notes


class LabelFileError(Exception):
    """One label file that cannot be used, and the line where that shows.

    Never leaves a reader: the file's image is left out and listed, and all others are read.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line

    def finding(self, path: Path) -> Finding:
        return Finding("error", "image-label-unreadable", self.message, str(path), self.line)


@contextmanager
def parsing() -> Iterator[None]:
    """Turn what reading and parsing the bytes of one label file may raise into `LabelFileError`."""
    try:
        yield
    except OSError as error:
        raise LabelFileError(f"cannot be read: {error.strerror}") from None
    except (ValueError, LookupError, OverflowError) as error:
        raise LabelFileError(f"cannot be read: {error}") from None


@dataclass(frozen=True, slots=True)
class LabelledDataset:
    """A folder opened by a reader. `read()` streams its images, in the same order each time."""

    format: str
    names: tuple[str, ...]
    splits: tuple[Split, ...]
    """The splits that the dataset itself names, in the order train, valid, test."""
    read: Callable[[], Iterator[ReadImage]]
    findings: tuple[Finding, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawRows:
    """Label rows of one image as they stand in the source, pixels, before the box rules.

    `boxes` float64 [N, 4] xyxy, `classes` int64 [N], `lines` int64 [N] line or annotation id.
    """

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    lines: NDArray[np.int64]

    @staticmethod
    def collect(rows: Iterable[tuple[tuple[float, float, float, float], int, int]]) -> RawRows:
        """Rows from (box, class, line) tuples."""
        items = list(rows)
        return RawRows(
            np.array([box for box, _, _ in items], dtype=np.float64).reshape(-1, 4),
            np.array([label for _, label, _ in items], dtype=np.int64),
            np.array([line for _, _, line in items], dtype=np.int64),
        )


def read_image(
    image: Path,
    split: Split | None,
    label_file: Path | None,
    rows: Callable[[int, int], RawRows] | RawRows,
    *,
    num_classes: int,
    numbered: str = "line",
    dropped: tuple[Finding, ...] = (),
    notes: tuple[Finding, ...] = (),
) -> ReadImage:
    """Complete one image: size from its header, then the box rules.

    `rows` are pixel boxes, or a function of (width, height) that gives them. `dropped` and `notes`
    are what the reader found itself; each of `dropped` stands for one more row of the source. An
    image whose header cannot be read is left out with all its rows.
    """
    source = label_file if label_file is not None else image
    try:
        height, width = image_shape(image)
    except ImageError as error:
        raw = rows if isinstance(rows, RawRows) else rows(1, 1)
        why = f"its image '{image}' cannot be read"
        lost = rows_without_image(raw.lines, why, source, numbered)
        gone = Finding("error", "image-unreadable", _reason(error, image), str(image))
        return ReadImage(image, None, len(raw.lines) + len(dropped), (gone, *dropped, *lost), notes)
    raw = rows if isinstance(rows, RawRows) else rows(width, height)
    ruled = apply_box_rules(
        raw.boxes,
        raw.classes,
        raw.lines,
        width=width,
        height=height,
        num_classes=num_classes,
        file=source,
        numbered=numbered,
    )
    record = ImageRecord(image, width, height, ruled.boxes, ruled.classes, ruled.lines, label_file, split)
    return ReadImage(
        image, record, len(raw.lines) + len(dropped), dropped + ruled.dropped, notes + ruled.notes
    )


def _reason(error: ImageError, image: Path) -> str:
    """The error's text without the path that the finding already carries."""
    return str(error).removeprefix(f"{image}: ")
