"""A partial download that a later run can resume.

The bytes received so far are in a hidden folder next to the target, identified by the target and the URL. A
small JSON file records the version of the file they belong to: the validator of the server (an ETag or a
date) and the total size. The URL is only stored as a hash, because it may contain keys.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from yolofast.errors import DataError
from yolofast.file_lock import file_lock
from yolofast.files import write_json
from yolofast.work_folder import MARKER, mark_folder, marked_target

_CONTENTS, _VERSION = "contents", "version.json"


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file on the server: what to send as If-Range, and the total bytes."""

    validator: str | None = None
    total: int | None = None


class PartialFile:
    """The bytes received so far and the version they belong to, on disk."""

    def __init__(self, folder: Path, output: BinaryIO) -> None:
        self.path = folder / _CONTENTS
        self._record = folder / _VERSION
        self._output = output
        self.version = self._read_version()
        output.seek(0, 2)
        if self.version.validator is None:
            self.begin(Version())

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._output.tell()

    @property
    def complete(self) -> bool:
        """Whether all bytes have been received."""
        return self.version.total is not None and self.size == self.version.total

    @property
    def resumable(self) -> bool:
        """Whether a later request can continue from here."""
        return self.version.validator is not None and self.size > 0

    def begin(self, version: Version) -> None:
        """Start over with a version of the file; the bytes received so far are discarded first."""
        self._output.seek(0)
        self._output.truncate()
        self._set_version(version)

    def write(self, block: bytes) -> None:
        """Append bytes. Raises `OSError`."""
        self._output.write(block)

    def end(self) -> None:
        """Mark the file as complete, including one whose size the server did not state."""
        self._output.flush()
        self._set_version(Version(self.version.validator, self.size))

    def _set_version(self, version: Version) -> None:
        self.version = version
        write_json(self._record, {"validator": version.validator, "total": version.total})

    def _read_version(self) -> Version:
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            validator, total = record["validator"], record["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return Version()
        is_valid = isinstance(validator, str) and isinstance(total, int | None)
        return Version(validator, total) if is_valid else Version()


@contextmanager
def partial_file(target: Path, identity: str) -> Iterator[PartialFile]:
    """The partial download of `identity` (such as a URL) for `target`, kept when the transfer breaks off.

    It is removed when the block succeeds, together with those of other URLs for the same target, and when the
    block fails with a complete file (the file is at fault), with nothing to resume from, or because it cannot
    be written (a full disk is not left full). Raises `DataError` when another run is using it, and `OSError`
    when it cannot be written.
    """
    prefix = f".{target.name}.partial-"
    folder = target.with_name(prefix + hashlib.sha256(identity.encode()).hexdigest()[:16])
    with _locked(folder, target) as output:
        part = PartialFile(folder, output)
        try:
            yield part
        except Exception as error:
            if part.complete or not part.resumable or isinstance(error, OSError):
                _remove(folder)
            raise
        except BaseException:  # interrupted by the user
            if not part.resumable:
                _remove(folder)
            raise
        _remove(folder)
    for other in list(target.parent.iterdir()):
        if other.name.startswith(prefix) and _is_free(other, target):
            _remove(other)


@contextmanager
def _locked(folder: Path, target: Path) -> Iterator[BinaryIO]:
    """The contents file of a partial download, locked for this process. The lock is released on a kill."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if any(entry.name != MARKER for entry in folder.iterdir()) and marked_target(folder) != target.name:
        raise DataError(f"{folder}: exists and was not made by yolofast. Move it, or choose another target.")
    mark_folder(folder, target)
    with (folder / _CONTENTS).open("ab") as output, file_lock(output) as held:
        if not held:
            raise DataError(
                f"{target}: another run is downloading the same file there. Wait for it to finish, or choose "
                "another target."
            )
        yield output


def _remove(folder: Path) -> None:
    """Remove a folder, its marker last, so that after a kill the rest is still recognised as ours."""
    for entry in list(folder.iterdir()):
        if entry.name != MARKER:
            entry.unlink()
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
