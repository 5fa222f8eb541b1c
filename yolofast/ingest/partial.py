"""A download that a later run goes on with.

The bytes so far lie in a hidden folder beside the target, found again by the target and the address.
A small JSON beside them says which version of the file they are of: the server's validator (an ETag
or a date) and the whole size. The address is there as a hash only, since it may hold keys.
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
from yolofast.work_folder import MARKER

_CONTENTS, _VERSION = "contents", "version.json"


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of a file the server has: what to send as If-Range, and the bytes of the whole file."""

    validator: str | None = None
    total: int | None = None


class PartialFile:
    """The bytes so far and the version they are of, on disk."""

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
        """Bytes so far."""
        return self._output.tell()

    @property
    def whole(self) -> bool:
        """Whether the bytes so far are all."""
        return self.version.total is not None and self.size == self.version.total

    @property
    def resumable(self) -> bool:
        """Whether a later run can go on from here."""
        return self.version.validator is not None and self.size > 0

    def begin(self, version: Version) -> None:
        """Start anew with a version of the file; the bytes so far are dropped first."""
        self._output.seek(0)
        self._output.truncate()
        self._set_version(version)

    def write(self, block: bytes) -> None:
        """Append bytes. Raises `OSError`."""
        self._output.write(block)

    def end(self) -> None:
        """The bytes so far are all, also of a file whose size the server did not state."""
        self._output.flush()
        self._set_version(Version(self.version.validator, self.size))

    def _set_version(self, version: Version) -> None:
        self.version = version
        write_json(self._record, {"validator": version.validator, "total": version.total})

    def _read_version(self) -> Version:
        try:
            said = json.loads(self._record.read_text(encoding="utf-8"))
            validator, total = said["validator"], said["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return Version()
        fits = isinstance(validator, str) and isinstance(total, int | None)
        return Version(validator, total) if fits else Version()


@contextmanager
def partial_file(target: Path, identity: str) -> Iterator[PartialFile]:
    """The partial download of `identity` (an address) for `target`, kept when the transfer breaks off.

    It is removed when the block ends well, together with those of other addresses for the same target,
    and when it fails with the file whole (so the file is at fault), with nothing to go on from, or
    because it cannot be written (so a full disk is not left full).
    Raises `DataError` when another run has it, and `OSError` when it cannot be written.
    """
    prefix = f".{target.name}.partial-"
    folder = target.with_name(prefix + hashlib.sha256(identity.encode()).hexdigest()[:16])
    with _locked(folder, target) as output:
        part = PartialFile(folder, output)
        try:
            yield part
        except Exception as error:
            if part.whole or not part.resumable or isinstance(error, OSError):
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
    """The contents file of a partial download, for this process alone. A kill releases the lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    if any(entry.name != MARKER for entry in folder.iterdir()) and not _is_marked(folder, target):
        raise DataError(
            f"{folder}: is in the way and not made by yolofast. Move it, or choose another target."
        )
    (folder / MARKER).write_text(target.name, encoding="utf-8", errors="surrogateescape")
    with (folder / _CONTENTS).open("ab") as output, file_lock(output) as held:
        if not held:
            raise DataError(f"{target}: another run is downloading the same to the same place.")
        yield output


def _remove(folder: Path) -> None:
    """Remove a folder, its marker last, so that what a kill leaves of it is still known as ours."""
    for entry in list(folder.iterdir()):
        if entry.name != MARKER:
            entry.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _is_marked(folder: Path, target: Path) -> bool:
    try:
        return (folder / MARKER).read_text(encoding="utf-8", errors="surrogateescape") == target.name
    except OSError:
        return False


def _is_free(folder: Path, target: Path) -> bool:
    """Whether a folder is a partial download for `target` that no run is at."""
    if not _is_marked(folder, target):
        return False
    try:
        with (folder / _CONTENTS).open("rb") as contents, file_lock(contents) as held:
            return held
    except FileNotFoundError:
        return True
