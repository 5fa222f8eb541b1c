"""The folder layout of each format that `convert` writes: where images and labels go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol, cast

from yolofast.formats.coco.writer import CocoWriter
from yolofast.formats.splits import WRITTEN_NAMES
from yolofast.formats.voc.writer import can_be_listed, check_voc_names, voc_xml
from yolofast.types import ImageRecord, Split

_BUFFER = 1 << 20


class DatasetFolder(Protocol):
    """Writes the files of one format into a new folder."""

    def accepts(self, stem: str) -> bool:
        """Whether this format can identify an image with this stem."""

    def image_file(self, split: Split | None, name: str) -> Path:
        """The path of an image; its folder is created."""

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str, number: int | None) -> None:
        """Write the labels of an image; `mode` as in `ImageHeader`, `number` in its split if it has one."""

    def finish(self) -> None:
        """Write what is only known at the end."""


class CocoFolder:
    """`images/<split>/` and `annotations/instances_<split>.json`; no `<split>` where there is none.

    Image ids are the images' numbers in their split, where they have some: those of an evaluation.
    """

    entries = frozenset({"images", "annotations"})

    def __init__(self, work: Path, classes: Sequence[str], files: ExitStack) -> None:
        self._work, self._classes, self._files = work, classes, files
        self._writers: dict[Split | None, CocoWriter] = {}
        (work / "annotations").mkdir()

    def accepts(self, stem: str) -> bool:
        return True

    def _images(self, split: Split | None) -> Path:
        return self._work / "images" / (WRITTEN_NAMES[split] if split else "")

    def image_file(self, split: Split | None, name: str) -> Path:
        if split not in self._writers:
            self._images(split).mkdir(parents=True, exist_ok=True)
            self._writers[split] = self._open(split)
        return self._images(split) / name

    def _open(self, split: Split | None) -> CocoWriter:
        folder = self._work / "annotations"
        ending = f"_{WRITTEN_NAMES[split]}" if split else ""
        out = self._files.enter_context((folder / f"instances{ending}.json").open("wb", _BUFFER))
        spool = self._files.enter_context(TemporaryFile(buffering=_BUFFER, dir=folder))  # noqa: SIM115
        return CocoWriter(out, cast(BinaryIO, spool), self._classes)

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str, number: int | None) -> None:
        self._writers[split].add(name, record, number)

    def finish(self) -> None:
        for writer in self._writers.values():
            writer.finish()


class VocFolder:
    """`JPEGImages/`, `Annotations/` and, where there are splits, `ImageSets/Main/`."""

    entries = frozenset({"JPEGImages", "Annotations", "ImageSets"})

    def __init__(self, work: Path, classes: Sequence[str], files: ExitStack) -> None:
        check_voc_names(classes)
        self._work, self._classes = work, classes
        self._stems: dict[Split, list[str]] = {}
        for folder in ("JPEGImages", "Annotations"):
            (work / folder).mkdir()

    def accepts(self, stem: str) -> bool:
        return can_be_listed(stem)

    def image_file(self, split: Split | None, name: str) -> Path:
        return self._work / "JPEGImages" / name

    def add(self, split: Split | None, name: str, record: ImageRecord, mode: str, number: int | None) -> None:
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


FOLDERS: dict[str, type[CocoFolder] | type[VocFolder]] = {"coco": CocoFolder, "voc": VocFolder}
