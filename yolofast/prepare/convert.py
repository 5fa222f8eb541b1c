"""From any readable dataset to COCO json or Pascal VOC xml, with its splits as they are.

(To the YOLO layout: `prepare_dataset`.)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Literal, Protocol, cast

from tqdm import tqdm

from yolofast import __version__
from yolofast.errors import DataError, nearest
from yolofast.formats.boxes import rows_numbered_by, rows_without_image
from yolofast.formats.coco_writer import CocoWriter
from yolofast.formats.dataset import LabelledDataset, ReadImage
from yolofast.formats.discover import FileTree, scan_dataset
from yolofast.formats.registry import open_dataset
from yolofast.formats.splits import SPLITS, WRITTEN_NAMES
from yolofast.formats.voc_writer import can_be_listed, check_voc_names, voc_xml
from yolofast.prepare.folder import (
    MADE_BY,
    MANIFEST,
    Link,
    building,
    check_output,
    default_output,
    place_image,
)
from yolofast.prepare.naming import TargetNames, path_key
from yolofast.types import Finding, ImageRecord, Split

Target = Literal["coco", "voc"]

UNSPLIT = "unsplit"
"""What images that the source puts in no split are counted under."""
_BUFFER = 1 << 20
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


# ---------------------------------------------------------------- what each format's folder looks like


class _Layout(Protocol):
    """One format's files in the folder that is being made."""

    def accepts(self, stem: str) -> bool:
        """Whether an image of this stem is found again in this format."""

    def image(self, split: Split | None, name: str) -> Path:
        """Where an image belongs; its folder is there."""

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str) -> None:
        """Write an image's labels."""

    def finish(self) -> None:
        """Write what is known only at the end."""


class _CocoFolder:
    """`images/<split>/` and `annotations/instances_<split>.json`; without `<split>` where there is none."""

    names = frozenset({"images", "annotations"})

    def __init__(self, work: Path, classes: Sequence[str], files: ExitStack) -> None:
        self._work, self._classes, self._files = work, classes, files
        self._writers: dict[Split | None, CocoWriter] = {}
        (work / "annotations").mkdir()

    def accepts(self, stem: str) -> bool:
        return True

    def _images(self, split: Split | None) -> Path:
        return self._work / "images" / (WRITTEN_NAMES[split] if split else "")

    def image(self, split: Split | None, name: str) -> Path:
        if split not in self._writers:
            self._images(split).mkdir(parents=True, exist_ok=True)
            self._writers[split] = self._open(split)
        return self._images(split) / name

    def _open(self, split: Split | None) -> CocoWriter:
        folder = self._work / "annotations"
        ending = f"_{WRITTEN_NAMES[split]}" if split else ""
        out = self._files.enter_context((folder / f"instances{ending}.json").open("wb", _BUFFER))
        waiting = self._files.enter_context(TemporaryFile(buffering=_BUFFER, dir=folder))  # noqa: SIM115
        return CocoWriter(out, cast(BinaryIO, waiting), self._classes)

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str) -> None:
        self._writers[split].add(name, record)

    def finish(self) -> None:
        for writer in self._writers.values():
            writer.finish()


class _VocFolder:
    """`JPEGImages/`, `Annotations/` and, where there are splits, `ImageSets/Main/`."""

    names = frozenset({"JPEGImages", "Annotations", "ImageSets"})

    def __init__(self, work: Path, classes: Sequence[str], files: ExitStack) -> None:
        check_voc_names(classes)
        self._work, self._classes = work, classes
        self._stems: dict[Split, list[str]] = {}
        for folder in ("JPEGImages", "Annotations"):
            (work / folder).mkdir()

    def accepts(self, stem: str) -> bool:
        return can_be_listed(stem)

    def image(self, split: Split | None, name: str) -> Path:
        return self._work / "JPEGImages" / name

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str) -> None:
        stem = Path(name).stem
        text = voc_xml(record, name, self._classes, mode)
        (self._work / "Annotations" / f"{stem}.xml").write_bytes(text.encode())
        if split is not None:
            self._stems.setdefault(split, []).append(stem)

    def finish(self) -> None:
        lists = {WRITTEN_NAMES[split]: stems for split, stems in self._stems.items()}
        both = self._stems.get("train", []) + self._stems.get("valid", [])
        if both:
            lists["trainval"] = both
        for name, stems in lists.items():
            path = self._work / "ImageSets" / "Main" / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes("".join(f"{stem}\n" for stem in sorted(stems)).encode())


_FOLDERS: dict[str, type[_CocoFolder] | type[_VocFolder]] = {"coco": _CocoFolder, "voc": _VocFolder}

# ---------------------------------------------------------------- reading and filling


@dataclass(slots=True)
class _Tally:
    """What has been read and written so far."""

    rows: int = 0
    images: Counter[str] = field(default_factory=Counter)
    boxes: Counter[str] = field(default_factory=Counter)
    dropped: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    placed: list[tuple[bytes, str, str, int]] = field(default_factory=list)
    """Source path, split, name and boxes of each image."""


def _is_portable(stem: str) -> bool:
    """Whether a label file can name an image so that everybody finds it.

    Not when the name is no UTF-8, is hidden, or has control characters or a backslash (a folder to many).
    """
    try:
        stem.encode()
    except UnicodeEncodeError:
        return False
    return not stem.startswith(".") and re.search(r"[\x00-\x1f\x7f\\]", stem) is None


def _target_name(image: Path, key: bytes, names: TargetNames, accepts: Callable[[str], bool]) -> str:
    """The image's name in the new dataset: its own where that is free and the format can carry it."""
    if not (_is_portable(image.stem) and accepts(image.stem)):
        plain = re.sub(r"[^\w.()+-]+", "_", image.stem.lstrip("."))[:_KEPT_OF_NAME]
        image = image.with_name(f"{plain}-{hashlib.sha256(key).hexdigest()[:8]}{image.suffix}")
    return names.of(image)


def _repeated(record: ImageRecord) -> tuple[Finding, ...]:
    """Findings for an image that was placed before, and for its boxes."""
    source = record.label_file or record.path
    why = f"its image '{record.path.name}' is left out: the image is listed twice"
    return (
        Finding("warning", "image-repeated", "the image is listed twice", str(record.path)),
        *rows_without_image(record.lines, why, source, rows_numbered_by(source)),
    )


def _fill(layout: _Layout, dataset: LabelledDataset, tree: FileTree, link: Link) -> _Tally:
    """Write every usable image and its labels."""
    tally, names = _Tally(notes=list(dataset.findings)), TargetNames(tree)
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
            tally.dropped.extend(_repeated(record))
            continue
        seen.add(record.path)
        key = path_key(tree, record.path)
        name = _target_name(record.path, key, names, layout.accepts)
        place_image(record.path, layout.image(record.split, name), link)
        layout.add(record.split, name, record, item.header.mode if item.header else "RGB")
        split = record.split or UNSPLIT
        tally.images[split] += 1
        tally.boxes[split] += len(record.boxes)
        tally.placed.append((key, split, name, len(record.boxes)))
    layout.finish()
    return tally


def _as_json(finding: Finding, root: Path) -> dict[str, object]:
    file = finding.file
    if file is not None and Path(file).is_relative_to(root):
        file = Path(file).relative_to(root).as_posix()
    return {
        "severity": finding.severity,
        "code": finding.code,
        "message": finding.message,
        "file": file,
        "line": finding.line,
    }


def _manifest_text(
    head: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> Iterator[str]:
    """A JSON object in pieces: the entries of `head`, then `lists`, an item a line."""
    yield json.dumps(head, indent=1).removesuffix("\n}")
    for name, items in lists.items():
        yield f",\n {json.dumps(name)}: ["
        for i, item in enumerate(items):
            yield f"{',' if i else ''}\n  {json.dumps(item)}"
        yield "\n ]"
    yield "\n}\n"


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
    lists: dict[str, Iterable[dict[str, object]]] = {
        "dropped": (_as_json(f, root) for f in tally.dropped),
        "notes": (_as_json(f, root) for f in tally.notes),
        "images": (
            {"source": os.fsdecode(key), "split": split, "name": name, "boxes": boxes}
            for key, split, name, boxes in tally.placed
        ),
    }
    with (work / MANIFEST).open("w", _BUFFER, encoding="ascii") as file:
        file.writelines(_manifest_text(head, lists))


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
        link: 'hard' links images where the file system can and copies where it cannot; 'copy' always copies.
        label_format: which labels count when there are several kinds.

    Images keep their names. One that several images share, or that the format cannot carry, is made
    distinct from the image's path; manifest.json says what became what. Every box and image that is left
    out is in `dropped`, and there too. The same input gives the same bytes. A failure leaves `out` as it was.

    Raises `DatasetNotFoundError` when there is no such folder and `DataError` for everything else.
    """
    if to not in _FOLDERS:
        raise DataError(
            f"to: got '{to}', expected 'coco' or 'voc'.{nearest(to, _FOLDERS)} "
            "The YOLO layout is what prepare_dataset (`yolofast prepare`) writes."
        )
    if link not in ("hard", "copy"):
        raise DataError(f"link: got '{link}', expected 'hard' or 'copy'.")
    tree = scan_dataset(path)
    root, folder = tree.root, _FOLDERS[to]
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
    )
