"""The images of a dataset streamed into the folder in the making: read, named, placed, tallied.

Everything is decided in the order of the reader, so the result does not depend on the threads that place
the files; a few batches are between the two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import FileTree
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.splits import SPLITS
from yolofast.prepare.classes import ClassMap
from yolofast.prepare.naming import PathKeys, TargetNames
from yolofast.prepare.image_writer import Job, ImageWriter, Written
from yolofast.prepare.pixel_budget import MAX_PIXELS, PixelBudget
from yolofast.prepare.settings import Settings
from yolofast.prepare.downscale import downscaled_name, downscaled_size
from yolofast.prepare.outcome import Entry, Tally, left_out
from yolofast.types import Finding

_BATCH = 256
"""Images given to a thread at once, where their files stay as they are."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An image that was read, what is to be placed of it, and all that was left out by now."""

    item: ReadImage
    job: Job | None
    dropped: tuple[Finding, ...]


def _steps(
    dataset: LabelledDataset, tree: FileTree, classes: ClassMap, settings: Settings
) -> Iterator[_Step]:
    """What is to be done with each image, in the reader's order; without splits all go to train."""
    names, keys, seen = TargetNames(tree), PathKeys(tree.root), set[str]()
    use_splits, changes = "train" in dataset.splits, classes.changes
    for item in dataset.read():
        record = item.record
        if record is None:
            yield _Step(item, None, item.dropped)
            continue
        dropped, had_boxes, path = item.dropped, len(record.classes) > 0, str(record.path)
        if changes:
            record, gone = classes.apply(record)
            dropped += gone
        split = record.split if use_splits else "train"
        if path in seen:
            yield _Step(item, None, dropped + left_out(record, "image-repeated", "the image is listed twice"))
            continue
        seen.add(path)
        if split is None:
            yield _Step(item, None, dropped + left_out(record, "image-unlisted", "the image is in no split"))
            continue
        if settings.drop_empty and had_boxes and not len(record.classes):
            message = "none of its boxes is of a class that is kept"
            yield _Step(item, None, dropped + left_out(record, "image-emptied", message, "info"))
            continue
        name, size = names.of(record.path, keys.of(record.path)), None
        if settings.max_side is not None and item.header is not None:
            size = downscaled_size(item.header.width, item.header.height, settings.max_side)
            if size is not None:
                name = downscaled_name(name, item.header)
        yield _Step(item, Job(record, name, split, item.header, size), dropped)


def write_images(
    work: Path, dataset: LabelledDataset, tree: FileTree, classes: ClassMap, settings: Settings
) -> Tally:
    """Write every usable image and its labels below `work`."""
    for split in SPLITS:
        for kind in ("images", "labels"):
            (work / split / kind).mkdir(parents=True)
    placer, keys = ImageWriter(str(work), settings, PixelBudget(MAX_PIXELS)), PathKeys(tree.root)
    tally, sets = Tally(notes=list(dataset.findings)), dict[tuple[int, ...], tuple[int, ...]]()
    heavy = settings.restart_rows or settings.max_side is not None

    def place(steps: list[_Step]) -> list[Written | None]:
        return placer.place([step.job for step in steps])

    batches = prefetch_batches(_steps(dataset, tree, classes, settings), place, 1 if heavy else _BATCH)
    with tqdm(desc="preparing", total=len(tree.images), leave=False, unit="img", disable=None) as progress:
        for steps, results in batches:
            for step, written in zip(steps, results, strict=True):
                _count(tally, step, written, keys, sets)
            progress.update(len(steps))
    return tally


def _count(
    tally: Tally,
    step: _Step,
    written: Written | None,
    keys: PathKeys,
    sets: dict[tuple[int, ...], tuple[int, ...]],
) -> None:
    """Add one image; `sets` holds each set of classes once."""
    item, job = step.item, step.job
    tally.rows += item.rows
    tally.dropped.extend(step.dropped)
    tally.notes.extend(item.notes)
    label_file = item.record.label_file if item.record is not None else None
    tally.outside = tally.outside or keys.outside(item.image) or keys.outside(label_file)
    if job is None or written is None:
        return
    finding, record = written.finding, job.record
    if finding is not None and finding.severity == "error":
        tally.dropped.extend(left_out(record, finding.code, finding.message, "error"))
        return
    if finding is not None:
        tally.notes.append(dataclasses.replace(finding, file=str(record.path)))
    found = tuple(sorted(set(record.classes.tolist())))
    tally.entries.append(
        Entry(
            keys.of(record.path),
            job.name,
            job.split,
            len(record.classes),
            sets.setdefault(found, found),
            written.size,
            written.sha256,
            written.label_size,
            written.label_sha256,
        )
    )
