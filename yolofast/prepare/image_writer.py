"""Writes images and label files into the folder of a prepared dataset, with the digests of both.

Paths are strings and system calls are few: this runs once per image of very large datasets.
"""
# ruff: noqa: PTH114, PTH122, PTH123, PTH211

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from yolofast.config import Link, PrepareConfig
from yolofast.errors import ImageError
from yolofast.formats.yolo.writer import label_texts
from yolofast.pixel_budget import PixelBudget
from yolofast.prepare.downscale import downscale
from yolofast.prepare.restart_markers import JPEG, add_restart_markers
from yolofast.types import Finding, ImageHeader, ImageRecord, Split

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class WriteTask:
    """An image to write: its record with the new classes, its new name and, if it changes, its new size."""

    record: ImageRecord
    name: str
    split: Split
    header: ImageHeader | None
    size: tuple[int, int] | None
    """(width, height) to downscale to."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """Sizes in bytes and SHA-256 of the two files written for an image.

    With a `finding` of severity 'error' nothing was written.
    """

    size: int = 0
    sha256: bytes = b""
    label_size: int = 0
    label_sha256: bytes = b""
    finding: Finding | None = None


def image_file(work: str, split: Split, name: str) -> str:
    """The path of an image in a prepared folder."""
    return f"{work}/{split}/images/{name}"


def label_file(work: str, split: Split, name: str) -> str:
    """The path of the label file of an image in a prepared folder."""
    return f"{work}/{split}/labels/{os.path.splitext(name)[0]}.txt"


@dataclass(frozen=True, slots=True)
class ImageWriter:
    """Writes images below `work` as the config says. Thread-safe."""

    work: str
    config: PrepareConfig
    budget: PixelBudget

    def write(self, tasks: list[WriteTask | None]) -> list[WriteResult | None]:
        """Write each image with its labels, in order; None gives None. Raises `OSError`."""
        texts = iter(label_texts([task.record for task in tasks if task is not None]))
        return [None if task is None else self._write(task, next(texts)) for task in tasks]

    def _write(self, task: WriteTask, text: str) -> WriteResult:
        source = str(task.record.path)
        target = image_file(self.work, task.split, task.name)
        finding = None
        if task.size is None and not self.config.restart_rows:
            size, digest = link_or_copy(source, target, self.config.link)
        else:
            data, finding = self._changed(source, task)
            if finding is not None and finding.severity == "error":
                return WriteResult(finding=finding)
            if data is None:
                size, digest = link_or_copy(source, target, self.config.link)
            else:
                _write_new(target, data)
                size, digest = len(data), hashlib.sha256(data).digest()
        label = text.encode("ascii")
        _write_new(label_file(self.work, task.split, task.name), label)
        return WriteResult(size, digest, len(label), hashlib.sha256(label).digest(), finding)

    def _changed(self, source: str, task: WriteTask) -> tuple[bytes | None, Finding | None]:
        """The new bytes of an image, None where the file is unchanged; and a finding about it."""
        with open(source, "rb") as file:
            data = file.read(len(JPEG))
            if task.size is None and data != JPEG:
                return None, None
            data += file.read()
        changed = data
        if task.size is not None and task.header is not None:
            try:
                with self.budget.reserve(task.header.width * task.header.height):
                    changed = downscale(source, data, task.header, task.size, self.config.quality)
            except ImageError as error:
                return None, Finding("error", "image-unreadable", str(error))
        finding = None
        if self.config.restart_rows:
            changed, finding = add_restart_markers(changed, self.config.restart_rows, self.budget)
        return (None if changed is data else changed), finding


def link_or_copy(source: str, target: str, link: Link) -> tuple[int, bytes]:
    """Link or copy an image to `target`, which must not exist; returns its size in bytes and SHA-256.

    'hard' is a hard link (no space) where that works, else a copy. A symlinked image is resolved first, so
    the prepared dataset does not depend on that link. 'symlink' links to the absolute path of the image.
    """
    if link != "copy":
        real = os.path.realpath(source) if os.path.islink(source) else source
        if link == "symlink":
            os.symlink(real, target)
            return file_digest(target)
        try:
            os.link(real, target)
            return file_digest(target)
        except OSError:  # another file system, no permission, too many links: a copy always works
            if os.path.lexists(target):
                raise
    return _copy(source, target)


def file_digest(path: str) -> tuple[int, bytes]:
    """Size in bytes and SHA-256 of a file. Raises `OSError`."""
    digest, size = hashlib.sha256(), 0
    file = os.open(path, os.O_RDONLY)
    try:
        while block := os.read(file, _BLOCK):
            digest.update(block)
            size += len(block)
            if len(block) < _BLOCK:
                break
    finally:
        os.close(file)
    return size, digest.digest()


def _copy(source: str, target: str) -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    with open(source, "rb", buffering=0) as old, open(target, "xb") as new:
        while block := old.read(_BLOCK):
            digest.update(block)
            size += len(block)
            new.write(block)
    return size, digest.digest()


def _write_new(path: str, data: bytes) -> None:
    """Write a file that must not exist yet, so that nothing is ever written through a link."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
