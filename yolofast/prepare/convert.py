"""From any readable dataset to COCO json or Pascal VOC xml, with its splits as they are.

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
from yolofast.errors import DataError, nearest
from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS
from yolofast.prepare.converted_folder import FOLDERS, Layout
from yolofast.prepare.folder import building, check_output, default_output
from yolofast.prepare.manifest import MADE_BY, MANIFEST, finding_entry, write_listed
from yolofast.prepare.naming import PathKeys, TargetNames
from yolofast.prepare.image_writer import link_or_copy
from yolofast.prepare.settings import Link, check_link
from yolofast.prepare.outcome import left_out, noticed
from yolofast.types import Finding

Target = Literal["coco", "voc"]

UNSPLIT = "unsplit"
"""What images that the source puts in no split are counted under."""
_KEPT_OF_NAME = 48


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
    """Every box or image that was left out, with file, line and reason."""
    noticed: tuple[Finding, ...] = ()
    """Errors, then warnings, about what was kept or about the dataset as a whole."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image in the new dataset, as the manifest holds it."""

    source: str
    split: str
    name: str
    boxes: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class _Tally:
    """What has been read and written so far."""

    rows: int = 0
    images: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    placed: list[_Placed] = field(default_factory=list)


def _is_portable(stem: str) -> bool:
    """Whether a label file can name an image so that everybody finds it.

    Not when the name is no UTF-8, is hidden, or has control characters or a backslash (a folder to many).
    """
    try:
        stem.encode()
    except UnicodeEncodeError:
        return False
    return not stem.startswith(".") and re.search(r"[\x00-\x1f\x7f\\]", stem) is None


def _target_name(image: Path, key: str, names: TargetNames, accepts: Callable[[str], bool]) -> str:
    """The image's name in the new dataset: its own where that is free and the format can carry it."""
    if not (_is_portable(image.stem) and accepts(image.stem)):
        plain = re.sub(r"[^\w.()+-]+", "_", image.stem.lstrip("."))[:_KEPT_OF_NAME]
        image = image.with_name(f"{plain}-{hashlib.sha256(os.fsencode(key)).hexdigest()[:8]}{image.suffix}")
    return names.of(image, key)


def _fill(layout: Layout, dataset: LabelledDataset, tree: FileTree, link: Link) -> _Tally:
    """Write every usable image and its labels."""
    tally, names, keys = _Tally(notes=list(dataset.findings)), TargetNames(tree), PathKeys(tree.root)
    seen: set[Path] = set()
    items: Iterable[ReadImage] = tqdm(
        dataset.read(), "converting", len(tree.images), False, unit="img", disable=None
    )
    for item in items:
        tally.rows += item.rows
        tally.dropped.extend(item.dropped)
        tally.notes.extend(item.notes)
        record = item.record
        if record is None:
            continue
        if record.path in seen:
            tally.dropped.extend(left_out(record, "image-repeated", "the image is listed twice"))
            continue
        seen.add(record.path)
        key = keys.of(record.path)
        name = _target_name(record.path, key, names, layout.accepts)
        target = layout.image(record.split, name)
        size, digest = link_or_copy(str(record.path), str(target), link)
        layout.add(record.split, name, record, item.header.mode if item.header else "RGB")
        split = record.split or UNSPLIT
        tally.images[split] += 1
        tally.boxes[split] += len(record.boxes)
        tally.placed.append(_Placed(key, split, name, len(record.boxes), size, digest.hex()))
    layout.finish()
    return tally


def _write_manifest(
    work: Path, root: Path, dataset: LabelledDataset, tally: _Tally, settings: Mapping[str, Any]
) -> None:
    head = {
        "made_by": MADE_BY,
        "source": str(root),
        "label_format": dataset.format,
        "classes": list(dataset.names),
        "settings": settings,
        "source_boxes": tally.rows,
        "kept_boxes": sum(tally.boxes.values()),
        "dropped_boxes": sum(f.code.startswith("box-") for f in tally.dropped),
    }
    lists = {
        "dropped": (finding_entry(f, root) for f in tally.dropped),
        "notes": (finding_entry(f, root) for f in tally.notes),
        "images": map(dataclasses.asdict, tally.placed),
    }
    write_listed(work / MANIFEST, head, lists)


def convert_dataset(
    path: str | Path,
    out: str | Path | None = None,
    *,
    to: Target = "coco",
    link: Link = "hard",
    label_format: str | None = None,
) -> ConvertedDataset:
    """Write a dataset as COCO json or Pascal VOC xml.

    coco: `images/<split>/` and `annotations/instances_<split>.json`, all classes in their order, ids from 1.
    voc: `JPEGImages/`, `Annotations/` and `ImageSets/Main/<split>.txt` (and trainval.txt); decimals where
    a coordinate is not whole. VOC cannot carry a class without boxes, or an order of classes.
    Splits are those of the source, called train, val and test; nothing is split anew, and an image that is
    in no split stays without one.

    Args:
        path: folder with images and labels that this package reads. It is only read.
        out: output folder; default: `<name>_coco` or `<name>_voc` beside the source. A dataset converted
            there before is replaced; anything else is refused.
        to: 'coco' or 'voc'. For the YOLO layout there is `prepare_dataset`.
        link: 'hard' links images where the file system can and copies where it cannot; 'copy' always copies;
            'symlink' points at them.
        label_format: which labels count when there are several kinds.

    Images keep their names. One that several images share, or that the format cannot carry, is made
    distinct from the image's path; manifest.json says what became what. Every box and image that is left
    out is in `dropped`, and there too. The same input gives the same bytes. A failure leaves `out` as it was.

    Raises `DatasetNotFoundError` when there is no such folder and `DataError` for everything else.
    """
    if to not in FOLDERS:
        raise DataError(
            f"to: got '{to}', expected 'coco' or 'voc'.{nearest(to, FOLDERS)} "
            "The YOLO layout is what prepare_dataset (`yolofast prepare`) writes."
        )
    check_link(link)
    tree = scan_dataset(path)
    root, folder = tree.root, FOLDERS[to]
    target = Path(os.path.abspath(out)) if out is not None else default_output(root, to)  # noqa: PTH100
    check_output(root, target, folder.names | {MANIFEST})
    dataset = open_dataset(tree, label_format)
    with building(target) as work:
        with ExitStack() as files:
            tally = _fill(folder(work, dataset.names, files), dataset, tree, link)
        if not tally.boxes.total():
            problem = f" The first problem: {tally.dropped[0]}" if tally.dropped else ""
            raise DataError(f"{root}: no usable box in {len(tree.images)} images.{problem}")
        settings = {"to": to, "link": link, "label_format": label_format, "version": __version__}
        _write_manifest(work, root, dataset, tally, settings)
    order = [split for split in (*SPLITS, UNSPLIT) if split in tally.images]
    return ConvertedDataset(
        root=target,
        format=to,
        class_names=dataset.names,
        images={split: tally.images[split] for split in order},
        boxes={split: tally.boxes[split] for split in order},
        source_boxes=tally.rows,
        dropped=tuple(tally.dropped),
        noticed=noticed(tally.notes),
    )
