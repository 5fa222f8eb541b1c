"""From any supported dataset to COCO JSON or Pascal VOC XML, with the splits of the source.

(To the YOLO layout: `prepare_dataset`.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from yolofast import __version__
from yolofast.config import Link, PrepareConfig
from yolofast.errors import ConfigError, DataError, nearest
from yolofast.formats.dataset import LabelledDataset, ReadImage, rejected_image
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS
from yolofast.prepare.converted_folder import FOLDERS, DatasetFolder
from yolofast.prepare.folder import building, check_output, default_output, writing
from yolofast.prepare.image_writer import link_or_copy
from yolofast.prepare.manifest import MADE_BY, MANIFEST, finding_entry, write_listed
from yolofast.prepare.naming import PathKeys, TargetNames
from yolofast.prepare.outcome import (
    first_problem,
    noticed,
    skipped_image,
    split_source,
    unlabelled_findings,
)
from yolofast.types import Finding

Target = Literal["coco", "voc"]

UNSPLIT = "unsplit"
"""The key that counts images without a split in the source."""
_MAX_STEM = 48
"""Characters of an image name that are kept when the format cannot represent the name."""


@dataclass(frozen=True, slots=True)
class ConvertedDataset:
    """A dataset that was written in another format."""

    root: Path
    format: Target
    class_names: tuple[str, ...]
    images: Mapping[str, int]
    """Images in each split that has any; `unsplit` where the source names none."""
    boxes: Mapping[str, int]
    source_boxes: int
    """Boxes in the source: `source_boxes == sum(boxes.values()) + len(dropped boxes)`."""
    dropped: tuple[Finding, ...]
    """Every box or image that was dropped, with file, line and reason."""
    noticed: tuple[Finding, ...] = ()
    """As `PreparedDataset.noticed`."""


@dataclass(frozen=True, slots=True)
class _ConvertedImage:
    """An image in the new dataset, as the manifest stores it."""

    source: str
    split: str
    name: str
    boxes: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class _ConvertOutcome:
    """What has been read and written so far."""

    rows: int = 0
    images: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    written: list[_ConvertedImage] = field(default_factory=list)


def _is_portable(stem: str) -> bool:
    """Whether the name of an image is safe to use in a label file.

    Not when it is not UTF-8, is hidden, or has control characters or a backslash (a folder to many tools).
    """
    try:
        stem.encode()
    except UnicodeEncodeError:
        return False
    return not stem.startswith(".") and re.search(r"[\x00-\x1f\x7f\\]", stem) is None


def _target_name(image: Path, key: str, names: TargetNames, accepts: Callable[[str], bool]) -> str:
    """The name of an image in the new dataset: its own where that is free and the format can represent it."""
    if not (_is_portable(image.stem) and accepts(image.stem)):
        safe = re.sub(r"[^\w.()+-]+", "_", image.stem.lstrip("."))[:_MAX_STEM]
        image = image.with_name(f"{safe}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:8]}{image.suffix}")
    return names.of(image, key)


def _write_images(
    folder: DatasetFolder, dataset: LabelledDataset, tree: FileTree, link: Link
) -> _ConvertOutcome:
    """Write every valid image and its labels."""
    names, keys = TargetNames(tree), PathKeys(tree.root)
    source = split_source(dataset, tree.root, used=True)
    outcome = _ConvertOutcome(notes=[*tree.findings, *source, *dataset.findings])
    unlabelled = 0
    seen: set[Path] = set()
    items: Iterable[ReadImage] = tqdm(
        dataset.read(), "converting", len(tree.images), False, unit="img", disable=None
    )
    for item in items:
        outcome.rows += item.rows
        outcome.dropped.extend(item.dropped)
        outcome.notes.extend(item.notes)
        record = item.record
        if record is None:
            continue
        if item.rejected:
            outcome.dropped.append(rejected_image(record.path, item.rows))
            continue
        if record.path in seen:
            outcome.dropped.extend(skipped_image(record, "image-repeated", "the image is listed twice"))
            continue
        seen.add(record.path)
        key = keys.of(record.path)
        name = _target_name(record.path, key, names, folder.accepts)
        target = folder.image_file(record.split, name)
        size, digest = link_or_copy(str(record.path), str(target), link)
        number = dataset.numbers.get(record.path) if dataset.numbers is not None else None
        folder.add(record.split, name, record, item.header.mode if item.header else "RGB", number)
        split = record.split or UNSPLIT
        outcome.images[split] += 1
        unlabelled += record.label_file is None
        outcome.boxes[split] += len(record.boxes)
        outcome.written.append(_ConvertedImage(key, split, name, len(record.boxes), size, digest.hex()))
    folder.finish()
    outcome.notes += unlabelled_findings(tree.root, unlabelled, outcome.images.total())
    return outcome


def _write_manifest(
    work: Path, root: Path, dataset: LabelledDataset, outcome: _ConvertOutcome, settings: Mapping[str, Any]
) -> None:
    head = {
        "made_by": MADE_BY,
        "source": str(root),
        "label_format": dataset.format,
        "classes": list(dataset.names),
        "settings": settings,
        "source_boxes": outcome.rows,
        "kept_boxes": sum(outcome.boxes.values()),
        "dropped_boxes": sum(f.code.startswith("box-") for f in outcome.dropped),
    }
    lists = {
        "dropped": (finding_entry(f, root) for f in outcome.dropped),
        "notes": (finding_entry(f, root) for f in outcome.notes),
        "images": map(dataclasses.asdict, outcome.written),
    }
    write_listed(work / MANIFEST, head, lists)


def convert_dataset(
    path: str | Path | FileTree,
    out: str | Path | None = None,
    *,
    to: Target = "coco",
    link: Link = "hard",
    label_format: str | None = None,
) -> ConvertedDataset:
    """Write a dataset as COCO JSON or Pascal VOC XML.

    coco: `images/<split>/` and `annotations/instances_<split>.json`, all classes in their order, ids from 1.
    The images that a data.yaml lists have their position in its sorted list as id, as in the predictions.json
    of an evaluation, whatever else is left out.
    voc: `JPEGImages/`, `Annotations/` and `ImageSets/Main/<split>.txt` (and trainval.txt), with decimals
    where a coordinate is not whole. VOC cannot represent a class without boxes, or an order of classes.
    The splits are those of the source, called train, val and test; an image in no split stays without one.

    Args:
        path: folder with images and labels of any registered format, a data.yaml, or the scanned tree of
            either. It is only read.
        out: output folder; default: `<name>_coco` or `<name>_voc` next to the source. A dataset converted
            there earlier is replaced; anything else is refused.
        to: 'coco' or 'voc'. For the YOLO layout there is `prepare_dataset`.
        link: 'hard' makes hard links where the file system supports them, else copies; 'copy' always copies;
            'symlink' makes symbolic links.
        label_format: label format to read, in a folder with several.

    Images keep their names. A name that several images share, or that the format cannot represent, gets an
    ending derived from the path of the image; manifest.json maps old to new names. Images with label rows of
    which none can be used are left out. Every box and image that is left out is in `dropped` and in
    manifest.json. The same input gives the same bytes. A failure leaves `out` unchanged. While
    another run writes `out`, this one waits.

    Raises `DatasetNotFoundError` when there is no such folder, `ConfigError` for an invalid `to`, `link` or
    `label_format`, and `DataError` for everything else.
    """
    if to not in FOLDERS:
        raise ConfigError(
            f"to: got '{to}', expected 'coco' or 'voc'.{nearest(to, FOLDERS)} "
            "The YOLO layout is what prepare_dataset (`yolofast prepare`) writes."
        )
    config = PrepareConfig(link=link, label_format=label_format)
    tree = scan_dataset(path)
    root, folder_type = tree.root, FOLDERS[to]
    target = Path(os.path.abspath(out)) if out is not None else default_output(root, to)  # noqa: PTH100
    ours = folder_type.entries | {MANIFEST}
    check_output(root, target, ours)
    dataset = open_dataset(tree, config.label_format)
    with ExitStack() as stack:
        if stack.enter_context(writing(target)):
            check_output(root, target, ours)
        work = stack.enter_context(building(target))
        with ExitStack() as files:
            outcome = _write_images(folder_type(work, dataset.names, files), dataset, tree, config.link)
        if not outcome.boxes.total():
            problem = first_problem(outcome.dropped)
            raise DataError(f"{root}: no usable box in {len(tree.images)} images.{problem}")
        settings = {
            "to": to, "link": config.link, "label_format": config.label_format, "version": __version__
        }  # fmt: skip
        _write_manifest(work, root, dataset, outcome, settings)
    order = [split for split in (*SPLITS, UNSPLIT) if split in outcome.images]
    return ConvertedDataset(
        root=target,
        format=to,
        class_names=dataset.names,
        images={split: outcome.images[split] for split in order},
        boxes={split: outcome.boxes[split] for split in order},
        source_boxes=outcome.rows,
        dropped=tuple(outcome.dropped),
        noticed=noticed(outcome.notes),
    )
