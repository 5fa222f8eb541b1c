"""A partial download that a later run can resume.

The bytes received so far are in a hidden folder next to the target, identified by the target and the URL. A
small JSON file records the version of the file they belong to (the validator of the server and the total
size), how many bytes there are, and their CRC-32: bytes that the record does not know, or that have changed
since, are dropped. The URL is only stored as a hash, because it may contain keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from yolofast.errors import DataError
from yolofast.file_lock import file_lock
from yolofast.files import hidden_name, write_json
from yolofast.work_folder import MARKER, mark_folder, marked_target

SAVE_EVERY_S = 1.0
_CONTENTS, _VERSION = "contents", "version.json"
_READ = 1 << 20
_DIGITS, _RANDOM_BYTES = 16, 4
"""Of the hash of the URL in the name of a folder, and what is appended while it is removed."""


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file on the server: what to send as If-Range, and the total bytes.

    Only a strong ETag proves that two responses have the same version (RFC 9110, 8.8.1); a date is kept too,
    for a file whose hash is known, so that a wrong guess is noticed.
    """

    validator: str | None = None
    total: int | None = None

    @property
    def is_strong(self) -> bool:
        return self.validator is not None and self.validator.startswith('"')


class PartialFile:
    """The bytes received so far and the version they belong to, on disk, for `target`.

    `is_verified` says that the hash of the whole file is known, so that a version without a strong ETag can
    be resumed too.
    """

    def __init__(self, folder: Path, output: BinaryIO, target: Path, *, is_verified: bool) -> None:
        self.path, self.target = folder / _CONTENTS, target
        self.is_verified = is_verified
        self.joined_weakly = False
        self._record = folder / _VERSION
        self._output = output
        self.version, self.size, self._crc = self._recorded()
        output.truncate(self.size)
        output.seek(self.size)
        self.save()

    @property
    def complete(self) -> bool:
        """Whether all bytes have been received."""
        return self.version.total is not None and self.size == self.version.total

    @property
    def resumable(self) -> bool:
        """Whether a later request can continue from here."""
        return self.size > 0 and (self.version.is_strong or self.is_verified)

    def begin(self, version: Version) -> None:
        """Start over with a version of the file; the bytes received so far are discarded first."""
        self._output.seek(0)
        self._output.truncate()
        self.version, self.size, self._crc, self.joined_weakly = version, 0, 0, False
        self.save()

    def write(self, block: bytes) -> None:
        """Append bytes. Raises `OSError`."""
        self._output.write(block)
        self.size += len(block)
        self._crc = zlib.crc32(block, self._crc)
        if monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def end(self) -> None:
        """Mark the file as complete, including one whose size the server did not state."""
        self.version = Version(self.version.validator, self.size)
        self.save()

    def save(self) -> None:
        """Record what has been received, so that the next run can go on there. Raises `DataError`."""
        self._output.flush()
        fields = asdict(self.version) | {"size": self.size, "crc": self._crc}
        write_json(self._record, fields | {"check": _check(fields)})
        self._saved = monotonic()

    def _recorded(self) -> tuple[Version, int, int]:
        """The version, the size and the CRC-32 of what has been received, as far as it can be trusted."""
        nothing = Version(), 0, 0
        try:
            fields = json.loads(self._record.read_text(encoding="utf-8"))
            if fields.pop("check") != _check(fields):
                return nothing
            version = Version(fields["validator"], fields["total"])
            size, crc = fields["size"], fields["crc"]
            with self.path.open("rb") as contents:
                is_intact = _crc_of_start(contents, size) == crc
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return nothing
        usable = is_intact and (version.is_strong or self.is_verified)
        return (version, size, crc) if usable else nothing


def _check(fields: object) -> int:
    """A checksum of a record, which is read as it was written or not at all."""
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())


def _crc_of_start(contents: BinaryIO, size: int) -> int | None:
    """The CRC-32 of the first `size` bytes, None where there are fewer."""
    crc = 0
    while size > 0:
        block = contents.read(min(size, _READ))
        if not block:
            return None
        crc = zlib.crc32(block, crc)
        size -= len(block)
    return crc


@contextmanager
def partial_file(target: Path, identity: str, *, is_verified: bool = False) -> Iterator[PartialFile]:
    """The partial download of `identity` (such as a URL) for `target`, kept when the transfer breaks off.

    It is removed when the block succeeds, together with those of other URLs for the same target, and when the
    block fails with a complete file (the file is at fault), with nothing to resume from, or because it cannot
    be written (a full disk is not left full). Raises `DataError` when another run is using it, and `OSError`
    when it cannot be written.
    """
    name = _prefix(target) + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    folder = target.with_name(name)
    part: PartialFile | None = None
    with _locked(folder, target) as output:
        try:
            part = PartialFile(folder, output, target, is_verified=is_verified)
            yield part
        except BaseException as error:
            if part is None or not _is_kept(part, error):
                _remove(folder)
            raise
        _remove(folder)
    discard_partial_files(target)


def discard_partial_files(target: Path) -> None:
    """Remove the partial downloads for `target` that no run is using: the target is there."""
    if not target.parent.is_dir():
        return
    for other in list(target.parent.iterdir()):
        if other.name.startswith(_prefix(target)) and _is_free(other, target):
            _remove_entries(other)


def _prefix(target: Path) -> str:
    """How the names of the folders of partial downloads for `target` begin."""
    rest = f"{'x' * _DIGITS}-{'x' * 2 * _RANDOM_BYTES}"  # what follows, for names that just fit
    return hidden_name(target.name, f"partial-{rest}").removesuffix(rest)


def _is_kept(part: PartialFile, error: BaseException) -> bool:
    """Whether a download that fails is kept for the next run, which it then can be."""
    is_at_fault = isinstance(error, OSError) or (isinstance(error, Exception) and part.complete)
    if is_at_fault or not part.resumable:
        return False
    try:
        part.save()
    except (OSError, DataError):
        return False
    return True


@contextmanager
def _locked(folder: Path, target: Path) -> Iterator[BinaryIO]:
    """The contents file of a partial download, locked for this process. The lock is released on a kill."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with _opened(folder, target) as output, file_lock(output) as held:
            if not held:
                raise DataError(
                    f"{target}: another run is downloading the same file there. Wait for it to finish, or "
                    "choose another target."
                )
            if _is_same_file(output, folder / _CONTENTS):
                yield output
                return
        # another run has just finished and removed the folder: this file is no longer in it


@contextmanager
def _opened(folder: Path, target: Path) -> Iterator[BinaryIO]:
    while True:
        try:
            folder.mkdir(exist_ok=True)
            is_ours = marked_target(folder) == target.name
            if not is_ours and any(entry.name != MARKER for entry in folder.iterdir()):
                raise DataError(
                    f"{folder}: exists and was not made by yolofast. Move it, or choose another target."
                )
            if not is_ours:
                mark_folder(folder, target)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            output = os.fdopen(os.open(folder / _CONTENTS, flags, 0o666), "r+b")
        except FileNotFoundError:  # removed by another run between two of these steps
            continue
        with output:
            yield output
        return


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove(folder: Path) -> None:
    """Remove a folder that this run has locked: it gets another name first, so that others can begin anew.

    Its marker is removed last, so that after a kill the rest is still recognised as ours.
    """
    _remove_entries(folder.rename(f"{folder}-{secrets.token_hex(_RANDOM_BYTES)}"))


def _remove_entries(folder: Path) -> None:
    for entry in list(folder.iterdir()):
        if entry.name != MARKER:
            entry.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path, target: Path) -> bool:
    """Whether a folder is a partial download for `target` that no run is using."""
    if marked_target(folder) != target.name:
        return False
    try:
        with (folder / _CONTENTS).open("rb") as contents, file_lock(contents) as held:
            return held
    except FileNotFoundError:
        return True
