"""What a preparation wrote and dropped: one entry per image, no boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from yolofast.formats.boxes import rows_numbered_by, rows_without_image
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.splits import SPLITS
from yolofast.types import Finding, ImageRecord, PreparedDataset, Severity, Split


@dataclass(slots=True)
class PreparedImage:
    """An image in the prepared dataset."""

    source: str
    """Path relative to the root of the source."""
    name: str
    split: Split
    boxes: int
    classes: tuple[int, ...]
    """The classes of its boxes, each once, ascending."""
    size: int
    """Bytes of the image file."""
    sha256: bytes
    label_size: int
    label_sha256: bytes


@dataclass(slots=True)
class PrepareOutcome:
    """The images written so far, the label rows read, and the findings."""

    images: list[PreparedImage] = field(default_factory=list)
    rows: int = 0
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    outside: bool = False
    """An image or a label file is outside the source folder."""
    unlabelled: int = 0
    """Images without a label file, written as background."""

    def to_dataset(self, target: Path, names: tuple[str, ...]) -> PreparedDataset:
        """The dataset that was prepared at `target`."""
        counts = ((image.split, image.boxes) for image in self.images)
        return prepared_dataset(target, names, counts, self.rows, tuple(self.dropped), noticed(self.notes))


def prepared_dataset(
    target: Path,
    names: tuple[str, ...],
    counts: Iterable[tuple[Split, int]],
    source_boxes: int,
    dropped: tuple[Finding, ...],
    noted: tuple[Finding, ...],
) -> PreparedDataset:
    """A prepared dataset from (split, number of boxes) of each image."""
    images, boxes = Counter[Split](), Counter[Split]()
    for split, number in counts:
        images[split] += 1
        boxes[split] += number
    return PreparedDataset(
        root=target,
        data_yaml=target / "data.yaml",
        class_names=names,
        images={split: images[split] for split in SPLITS},
        boxes={split: boxes[split] for split in SPLITS},
        source_boxes=source_boxes,
        dropped=dropped,
        noticed=noted,
    )


SAID = frozenset({"split-source", "split-drawn", "names-matched"})
"""Codes of notes that decide what is trained on: they are shown although nothing is wrong."""


def split_source(dataset: LabelledDataset, root: Path, *, used: bool) -> tuple[Finding, ...]:
    """A note that says where the splits come from, and when they are not used; none without splits."""
    if not dataset.splits:
        return ()
    message = f"splits from {dataset.splits_from or 'the labels'}"
    if not used:
        message += f" are not used: no image is in train, only in {' and '.join(dataset.splits)}"
    return (Finding("info", "split-source", message, str(root)),)


def noticed(notes: Iterable[Finding]) -> tuple[Finding, ...]:
    """What users should see next to the result: the errors, then the warnings, then what is in `SAID`."""
    order = {"error": 0, "warning": 1, "info": 2}
    shown = [note for note in notes if note.severity != "info" or note.code in SAID]
    return tuple(sorted(shown, key=lambda note: order[note.severity]))


def first_problem(dropped: list[Finding]) -> str:
    """A sentence about the first finding, to end an error message with; empty without one."""
    return f" The first problem: {dropped[0]}" if dropped else ""


def unlabelled_findings(root: Path, unlabelled: int, images: int) -> tuple[Finding, ...]:
    """What is said about the images at `root` that have no label file; none without such images."""
    if not unlabelled:
        return ()
    message = (
        f"{unlabelled} of {images} images have no label file and are background: remove those that were "
        "never labelled"
    )
    return (Finding("warning", "labels-missing", message, str(root)),)


def skipped_image(
    record: ImageRecord, code: str, message: str, severity: Severity = "warning"
) -> tuple[Finding, ...]:
    """Findings for a readable image that is skipped, and for each of its boxes."""
    source = record.label_file or record.path
    why = f"its image '{record.path.name}' is left out: {message}"
    return (
        Finding(severity, code, message, str(record.path)),
        *rows_without_image(record.lines, why, source, rows_numbered_by(source)),
    )
