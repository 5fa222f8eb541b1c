"""From any readable dataset to the YOLO layout."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from yolofast.errors import DataError
from yolofast.formats.boxes import rows_numbered_by, rows_without_image, xyxy_to_xywhn
from yolofast.formats.data_yaml import write_data_yaml
from yolofast.formats.dataset import LabelledDataset
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS
from yolofast.prepare.current import current_manifest, fingerprint, settings_entry
from yolofast.prepare.folder import (
    MADE_BY,
    MANIFEST,
    Link,
    building,
    check_output,
    default_output,
    place_image,
)
from yolofast.prepare.naming import TargetNames, path_key, split_order
from yolofast.prepare.restart import rewrite_images
from yolofast.types import MAX_RESTART_ROWS, Finding, ImageRecord, PreparedDataset, Severity, Split

_DECIMALS = 10


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image in the prepared dataset."""

    key: bytes
    name: str
    split: Split
    record: ImageRecord

    @property
    def boxes(self) -> int:
        return len(self.record.boxes)

    def files(self, root: Path) -> tuple[Path, Path]:
        """Its image and its label file in a prepared folder."""
        folder = root / self.split
        return folder / "images" / self.name, folder / "labels" / Path(self.name).with_suffix(".txt")


@dataclass(slots=True)
class _Tally:
    """What has been read so far."""

    placed: list[_Placed] = field(default_factory=list)
    rows: int = 0
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    outside: bool = False
    """An image or a label file lies outside of the source's folder."""

    @property
    def first_problem(self) -> str:
        """A sentence about the first thing that was left out, or an empty text."""
        return f" The first problem: {self.dropped[0]}" if self.dropped else ""


def _number(value: float) -> str:
    return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def label_text(record: ImageRecord) -> str:
    """The label file of a record: `class x y w h` a line, normalised, exact to 1e-10 of the image."""
    boxes = xyxy_to_xywhn(record.boxes, (record.width, record.height)).tolist()
    return "".join(
        f"{label} {' '.join(map(_number, box))}\n"
        for label, box in zip(record.classes.tolist(), boxes, strict=True)
    )


def _left_out(
    record: ImageRecord, code: str, message: str, severity: Severity = "warning"
) -> tuple[Finding, ...]:
    """Findings for an image that is left out although it could be read, and for each of its boxes."""
    source = record.label_file or record.path
    why = f"its image '{record.path.name}' is left out: {message}"
    return (
        Finding(severity, code, message, str(record.path)),
        *rows_without_image(record.lines, why, source, rows_numbered_by(source)),
    )


def _fill(work: Path, dataset: LabelledDataset, tree: FileTree, link: Link, use_splits: bool) -> _Tally:
    """Write every usable image and its labels; without the dataset's splits all go to train."""
    tally, names = _Tally(notes=list(dataset.findings)), TargetNames(tree)
    seen: set[Path] = set()
    for folder in SPLITS:
        for kind in ("images", "labels"):
            (work / folder / kind).mkdir(parents=True)
    reading = tqdm(dataset.read(), "preparing", len(tree.images), False, unit="img", disable=None)
    for item in reading:
        tally.rows += item.rows
        tally.dropped.extend(item.dropped)
        tally.notes.extend(item.notes)
        record = item.record
        used = (item.image, record.label_file if record is not None else None)
        tally.outside |= any(path is not None and not path.is_relative_to(tree.root) for path in used)
        if record is None:
            continue
        split = record.split if use_splits else "train"
        if record.path in seen:
            tally.dropped.extend(_left_out(record, "image-repeated", "the image is listed twice"))
            continue
        seen.add(record.path)
        if split is None:
            tally.dropped.extend(_left_out(record, "image-unlisted", "the image is in no split"))
            continue
        placed = _Placed(path_key(tree, record.path), names.of(record.path), split, record)
        image, label = placed.files(work)
        place_image(record.path, image, link)
        label.write_text(label_text(record), encoding="ascii")
        tally.placed.append(placed)
    return tally


def _add_restarts(work: Path, tally: _Tally, restart_rows: int) -> None:
    """Rewrite the JPEGs that were placed; those that turn out to be damaged are left out."""
    images = [item.files(work)[0] for item in tally.placed]
    found = tqdm(
        zip(tally.placed, rewrite_images(images, restart_rows), strict=True),
        "rewriting", len(images), False, unit="img", disable=None,
    )  # fmt: skip
    kept = []
    for item, finding in found:
        if finding is not None and finding.severity == "error":
            tally.dropped.extend(_left_out(item.record, finding.code, finding.message, "error"))
            for path in item.files(work):
                path.unlink()
            continue
        if finding is not None:
            tally.notes.append(dataclasses.replace(finding, file=str(item.record.path)))
        kept.append(item)
    tally.placed = kept


def _take_valid(root: Path, work: Path, tally: _Tally, fraction: float, seed: int) -> list[_Placed]:
    """Move a deterministic share of the training images to valid."""
    train = [p for p in tally.placed if p.split == "train"]
    if len(train) < 2:
        raise DataError(
            f"{root}: got {len(train)} usable training image, expected at least 2: one to train on, one to "
            f"validate.{tally.first_problem}"
        )
    count = min(max(1, round(fraction * len(train))), len(train) - 1)
    chosen = set(split_order((p.key for p in train), seed)[:count])
    result = []
    for item in tally.placed:
        if item.split == "train" and item.key in chosen:
            moved = dataclasses.replace(item, split="valid")
            for old, new in zip(item.files(work), moved.files(work), strict=True):
                old.rename(new)
            item = moved
        result.append(item)
    return result


def _manifest(
    root: Path, work: Path, dataset: LabelledDataset, tally: _Tally, settings: dict[str, Any], state: str
) -> dict[str, Any]:
    """Everything about where the prepared dataset came from; the same for the same input.

    `state` is the source's fingerprint from before it was read, so that a change meanwhile shows. It
    does not cover files outside of the source; with such files there is none.
    """
    kept = sum(p.boxes for p in tally.placed)
    return {
        "made_by": MADE_BY,
        "source": str(root),
        "label_format": dataset.format,
        "classes": list(dataset.names),
        "settings": settings,
        "fingerprint": None if tally.outside else state,
        "source_boxes": tally.rows,
        "kept_boxes": kept,
        "dropped_boxes": sum(f.code.startswith("box-") for f in tally.dropped),
        "dropped": [_as_json(f, root) for f in tally.dropped],
        "notes": [_as_json(f, root) for f in tally.notes],
        "images": [
            {
                "source": os.fsdecode(p.key),
                "split": p.split,
                "name": p.name,
                "bytes": p.files(work)[0].stat().st_size,
                "boxes": p.boxes,
            }
            for p in tally.placed
        ],
    }


def _as_json(finding: Finding, root: Path) -> dict[str, object]:
    entry = dataclasses.asdict(finding)
    if finding.file is not None and Path(finding.file).is_relative_to(root):
        entry["file"] = Path(finding.file).relative_to(root).as_posix()
    return entry


def _from_json(entry: dict[str, Any], root: Path) -> Finding:
    finding = Finding(**entry)
    return finding if finding.file is None else dataclasses.replace(finding, file=str(root / finding.file))


def _described(target: Path, manifest: dict[str, Any]) -> PreparedDataset:
    """The prepared dataset that a manifest tells of."""
    images, boxes = Counter[Split](), Counter[Split]()
    for item in manifest["images"]:
        images[item["split"]] += 1
        boxes[item["split"]] += item["boxes"]
    root = Path(manifest["source"])
    return PreparedDataset(
        root=target,
        data_yaml=target / "data.yaml",
        class_names=tuple(manifest["classes"]),
        images={split: images[split] for split in SPLITS},
        boxes={split: boxes[split] for split in SPLITS},
        source_boxes=manifest["source_boxes"],
        dropped=tuple(_from_json(entry, root) for entry in manifest["dropped"]),
    )


def prepare_dataset(
    path: str | Path,
    out: str | Path | None = None,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    link: Link = "hard",
    label_format: str | None = None,
    restart_rows: int = 0,
) -> PreparedDataset:
    """Write a dataset in the YOLO layout: `{train,valid,test}/{images,labels}`, data.yaml, manifest.json.

    Args:
        path: folder with images and YOLO, COCO or VOC labels. It is only read.
        out: output folder; default: `<name>_yolo` beside the source. A dataset prepared there before is
            replaced; anything else is refused.
        val_fraction: share of the training images that become `valid` when the source names no such
            split (or no train split: then its splits are ignored). The choice depends on the seed and
            each image's relative path only.
        seed: another seed gives another choice.
        link: 'hard' links images where the file system can (no extra space) and copies where it cannot;
            'copy' always copies.
        label_format: which labels count when there are several kinds: 'yolo', 'coco' or 'voc'.
        restart_rows: 0, or rewrite the JPEGs without loss with a restart marker after every so many rows of
            MCUs (`kernels.rewrite_jpeg`): new files instead of links. An image found to be damaged is left
            out; one that decodes but cannot be rewritten is placed as it is, with a note in manifest.json.
            Nothing is done where `out` already is what it would become (`prepared_is_current`).

    Every box and image that is left out is in `dropped`, with file, line and reason, and in
    manifest.json; `source_boxes` is the sum of the boxes kept and those dropped. The same input gives the
    same bytes. A failure leaves `out` as it was.

    Raises `DatasetNotFoundError` when there is no such folder and `DataError` for everything else.
    """
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction: got {val_fraction}, expected a share between 0 and 1, such as 0.2.")
    if link not in ("hard", "copy"):
        raise DataError(f"link: got '{link}', expected 'hard' or 'copy'.")
    if not isinstance(restart_rows, int) or not 0 <= restart_rows <= MAX_RESTART_ROWS:
        raise DataError(f"restart_rows: got {restart_rows}, expected 0 (off) to {MAX_RESTART_ROWS}.")
    tree = scan_dataset(path)
    root = tree.root
    target = Path(os.path.abspath(out)) if out is not None else default_output(root)  # noqa: PTH100
    check_output(root, target)
    settings = settings_entry(val_fraction, seed, link, label_format, restart_rows)
    # Links are made again in no time, which also mends an output that somebody changed; rewriting takes long.
    manifest = current_manifest(target, tree, settings) if restart_rows else None
    return _described(target, manifest or _build(target, tree, settings))


def _build(target: Path, tree: FileTree, settings: dict[str, Any]) -> dict[str, Any]:
    """Make the prepared dataset at `target`; returns its manifest."""
    root, state = tree.root, fingerprint(tree)
    dataset = open_dataset(tree, settings["label_format"])
    with building(target) as work:
        tally = _fill(work, dataset, tree, settings["link"], use_splits="train" in dataset.splits)
        if settings["restart_rows"]:
            _add_restarts(work, tally, settings["restart_rows"])
        if not any(p.boxes for p in tally.placed):
            raise DataError(f"{root}: no usable box in {len(tree.images)} images.{tally.first_problem}")
        if not any(p.split == "valid" for p in tally.placed):
            tally.placed = _take_valid(root, work, tally, settings["val_fraction"], settings["seed"])
        folders = {split: f"{split}/images" for split in SPLITS}
        write_data_yaml(work / "data.yaml", folders, dataset.names)
        manifest = _manifest(root, work, dataset, tally, settings, state)
        (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="ascii")
    return manifest
