"""Images and label files put into the folder in the making, in threads, with the digests of both.

Plain strings and few calls: this runs once for each image of very large datasets.
"""
# ruff: noqa: PTH114, PTH122, PTH123, PTH211

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from yolofast.errors import ImageError
from yolofast.formats.yolo.writer import label_texts
from yolofast.prepare.restart_markers import JPEG, add_restart_markers
from yolofast.prepare.pixel_budget import PixelBudget
from yolofast.prepare.settings import Link, Settings
from yolofast.prepare.downscale import shrink
from yolofast.types import Finding, ImageHeader, ImageRecord, Split

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """An image to be placed: its record with the new classes, its new name and, if need be, its new size."""

    record: ImageRecord
    name: str
    split: Split
    header: ImageHeader | None
    size: tuple[int, int] | None
    """(width, height) to shrink to."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was placed for an image: sizes in bytes and sha256 of its two files.

    With a `finding` of severity 'error' nothing was placed.
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
    """The path of the labels of an image in a prepared folder."""
    return f"{work}/{split}/labels/{os.path.splitext(name)[0]}.txt"


@dataclass(frozen=True, slots=True)
class ImageWriter:
    """Places images below `work` as the settings say. Safe in threads."""

    work: str
    settings: Settings
    room: PixelBudget

    def place(self, jobs: list[Job | None]) -> list[Written | None]:
        """Place each image with its labels, in order; None goes through. Raises `OSError`."""
        texts = iter(label_texts([job.record for job in jobs if job is not None]))
        return [None if job is None else self._place(job, next(texts)) for job in jobs]

    def _place(self, job: Job, text: str) -> Written:
        source = str(job.record.path)
        target = image_file(self.work, job.split, job.name)
        finding = None
        if job.size is None and not self.settings.restart_rows:
            size, digest = link_or_copy(source, target, self.settings.link)
        else:
            data, finding = self._changed(source, job)
            if finding is not None and finding.severity == "error":
                return Written(finding=finding)
            if data is None:
                size, digest = link_or_copy(source, target, self.settings.link)
            else:
                _write(target, data)
                size, digest = len(data), hashlib.sha256(data).digest()
        label = text.encode("ascii")
        _write(label_file(self.work, job.split, job.name), label)
        return Written(size, digest, len(label), hashlib.sha256(label).digest(), finding)

    def _changed(self, source: str, job: Job) -> tuple[bytes | None, Finding | None]:
        """The new bytes of an image, None where the file stays as it is; and what was found meanwhile."""
        with open(source, "rb") as file:
            data = file.read(len(JPEG))
            if job.size is None and data != JPEG:
                return None, None
            data += file.read()
        changed = data
        if job.size is not None and job.header is not None:
            try:
                with self.room.taken(job.header.width * job.header.height):
                    changed = shrink(source, data, job.header, job.size, self.settings.quality)
            except ImageError as error:
                return None, Finding("error", "image-unreadable", str(error))
        finding = None
        if self.settings.restart_rows:
            changed, finding = add_restart_markers(changed, self.settings.restart_rows, self.room)
        return (None if changed is data else changed), finding


def link_or_copy(source: str, target: str, link: Link) -> tuple[int, bytes]:
    """Put an image at `target`, which must not exist; its size and sha256.

    'hard' is a hard link (no space) where that works, else a copy. A symlinked image is followed first, so
    the prepared dataset does not depend on that link. 'symlink' points at the image's absolute path.
    """
    if link != "copy":
        real = os.path.realpath(source) if os.path.islink(source) else source
        if link == "symlink":
            os.symlink(real, target)
            return _digest(target)
        try:
            os.link(real, target)
            return _digest(target)
        except OSError:  # another file system, no permission, too many links: a copy always serves
            if os.path.lexists(target):
                raise
    return _copy(source, target)


def _digest(path: str) -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    file = os.open(path, os.O_RDONLY)
    try:
        while piece := os.read(file, _PIECE):
            digest.update(piece)
            size += len(piece)
            if len(piece) < _PIECE:
                break
    finally:
        os.close(file)
    return size, digest.digest()


def _copy(source: str, target: str) -> tuple[int, bytes]:
    digest, size = hashlib.sha256(), 0
    with open(source, "rb", buffering=0) as old, open(target, "xb") as new:
        while piece := old.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            new.write(piece)
    return size, digest.digest()


def _write(path: str, data: bytes) -> None:
    """Write a file that must not exist, so that nothing is ever written through a link."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    finally:
        os.close(file)
