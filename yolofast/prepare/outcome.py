"""What was placed and what was left out, an image a line of the manifest: no boxes are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from yolofast.formats.boxes import rows_numbered_by, rows_without_image
from yolofast.formats.splits import SPLITS
from yolofast.types import Finding, ImageRecord, PreparedDataset, Severity, Split


@dataclass(slots=True)
class Entry:
    """An image in the prepared dataset."""

    source: str
    """Path from the source's root."""
    name: str
    split: Split
    boxes: int
    classes: tuple[int, ...]
    """The classes of its boxes, each once, ascending."""
    size: int
    sha256: bytes
    label_size: int
    label_sha256: bytes


@dataclass(slots=True)
class Tally:
    """What has been read so far."""

    entries: list[Entry] = field(default_factory=list)
    rows: int = 0
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    outside: bool = False
    """An image or a label file lies outside of the source's folder."""

    @property
    def first_problem(self) -> str:
        """A sentence about the first thing that was left out, or an empty text."""
        return f" The first problem: {self.dropped[0]}" if self.dropped else ""

    def described(self, target: Path, names: tuple[str, ...]) -> PreparedDataset:
        """The dataset that was prepared at `target`."""
        counts = ((entry.split, entry.boxes) for entry in self.entries)
        return described(target, names, counts, self.rows, tuple(self.dropped), noticed(self.notes))


def described(
    target: Path,
    names: tuple[str, ...],
    counts: Iterable[tuple[Split, int]],
    source_boxes: int,
    dropped: tuple[Finding, ...],
    noted: tuple[Finding, ...],
) -> PreparedDataset:
    """A prepared dataset from the split and the number of boxes of each image."""
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


def noticed(notes: Iterable[Finding]) -> tuple[Finding, ...]:
    """The errors, then the warnings among notes; a user has to see them where the result is shown."""
    doubts = [note for note in notes if note.severity != "info"]
    return tuple(sorted(doubts, key=lambda note: note.severity != "error"))


def left_out(
    record: ImageRecord, code: str, message: str, severity: Severity = "warning"
) -> tuple[Finding, ...]:
    """Findings for an image that is left out although it could be read, and for each of its boxes."""
    source = record.label_file or record.path
    why = f"its image '{record.path.name}' is left out: {message}"
    return (
        Finding(severity, code, message, str(record.path)),
        *rows_without_image(record.lines, why, source, rows_numbered_by(source)),
    )
