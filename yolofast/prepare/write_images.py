"""Streams the images of a dataset into the folder of the prepared one.

All decisions are made in the order of the reader, so the result does not depend on the threads that write
the files, a few batches later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from yolofast.config import PrepareConfig
from yolofast.formats.dataset import LabelledDataset, ReadImage, rejected_image
from yolofast.formats.discover import FileTree
from yolofast.formats.prefetch import prefetch_batches
from yolofast.formats.splits import SPLITS
from yolofast.limits import PIXELS_REWRITTEN
from yolofast.pixel_budget import PixelBudget
from yolofast.prepare.classes import ClassMap
from yolofast.prepare.downscale import downscaled_name, downscaled_size
from yolofast.prepare.image_writer import ImageWriter, WriteResult, WriteTask
from yolofast.prepare.naming import PathKeys, TargetNames
from yolofast.prepare.outcome import (
    PreparedImage,
    PrepareOutcome,
    skipped_image,
    split_source,
    unlabelled_findings,
)
from yolofast.types import Finding

_BATCH = 256
"""Images per thread task, where image files are not changed."""


@dataclass(frozen=True, slots=True)
class _Step:
    """An image that was read, the task to write it (None: skipped), and what was dropped so far."""

    item: ReadImage
    task: WriteTask | None
    dropped: tuple[Finding, ...]


def uses_splits(dataset: LabelledDataset) -> bool:
    """Whether the splits of the source are used: not without images to train on."""
    return "train" in dataset.splits


def _steps(
    dataset: LabelledDataset, tree: FileTree, classes: ClassMap, config: PrepareConfig
) -> Iterator[_Step]:
    """The step of each image, in the order of the reader; without splits all images go to train."""
    names, keys, seen = TargetNames(tree), PathKeys(tree.root), set[str]()
    use_splits, changes = uses_splits(dataset), classes.changes
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
        if item.rejected and not config.keep_rejected:
            yield _Step(item, None, (*dropped, rejected_image(path, item.rows)))
            continue
        if path in seen:
            message = "the image is listed twice"
            yield _Step(item, None, dropped + skipped_image(record, "image-repeated", message))
            continue
        seen.add(path)
        if split is None:
            message = "the image is in no split"
            yield _Step(item, None, dropped + skipped_image(record, "image-unlisted", message))
            continue
        if config.drop_empty and had_boxes and not len(record.classes):
            message = "none of its boxes is of a class that is kept"
            yield _Step(item, None, dropped + skipped_image(record, "image-emptied", message, "info"))
            continue
        name, size = names.of(record.path, keys.of(record.path)), None
        if config.max_side is not None and item.header is not None:
            size = downscaled_size(item.header.width, item.header.height, config.max_side)
            if size is not None:
                name = downscaled_name(name, item.header)
        yield _Step(item, WriteTask(record, name, split, item.header, size), dropped)


def write_images(
    work: Path, dataset: LabelledDataset, tree: FileTree, classes: ClassMap, config: PrepareConfig
) -> PrepareOutcome:
    """Write every valid image and its labels below `work`."""
    for split in SPLITS:
        for kind in ("images", "labels"):
            (work / split / kind).mkdir(parents=True)
    writer, keys = ImageWriter(str(work), config, PixelBudget(PIXELS_REWRITTEN)), PathKeys(tree.root)
    source = split_source(dataset, tree.root, used=uses_splits(dataset))
    outcome = PrepareOutcome(notes=[*tree.findings, *source, *dataset.findings])
    class_sets: dict[tuple[int, ...], tuple[int, ...]] = {}
    decodes = config.restart_rows or config.max_side is not None

    def write(steps: list[_Step]) -> list[WriteResult | None]:
        return writer.write([step.task for step in steps])

    batches = prefetch_batches(_steps(dataset, tree, classes, config), write, 1 if decodes else _BATCH)
    with tqdm(desc="preparing", total=len(tree.images), leave=False, unit="img", disable=None) as progress:
        for steps, results in batches:
            for step, result in zip(steps, results, strict=True):
                _add(outcome, step, result, keys, class_sets)
            progress.update(len(steps))
    outcome.notes += unlabelled_findings(tree.root, outcome.unlabelled, len(outcome.images))
    return outcome


def _add(
    outcome: PrepareOutcome,
    step: _Step,
    result: WriteResult | None,
    keys: PathKeys,
    class_sets: dict[tuple[int, ...], tuple[int, ...]],
) -> None:
    """Add an image to the outcome; `class_sets` shares one tuple per set of classes."""
    item, task = step.item, step.task
    outcome.rows += item.rows
    outcome.dropped.extend(step.dropped)
    outcome.notes.extend(item.notes)
    label_file = item.record.label_file if item.record is not None else None
    outcome.outside = outcome.outside or keys.outside(item.image) or keys.outside(label_file)
    if task is None or result is None:
        return
    finding, record = result.finding, task.record
    if finding is not None and finding.severity == "error":
        outcome.dropped.extend(skipped_image(record, finding.code, finding.message, "error"))
        return
    if finding is not None:
        outcome.notes.append(dataclasses.replace(finding, file=str(record.path)))
    outcome.unlabelled += record.label_file is None
    classes = tuple(sorted(set(record.classes.tolist())))
    outcome.images.append(
        PreparedImage(
            keys.of(record.path),
            task.name,
            task.split,
            len(record.classes),
            class_sets.setdefault(classes, classes),
            result.size,
            result.sha256,
            result.label_size,
            result.label_sha256,
        )
    )
