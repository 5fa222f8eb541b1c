"""What was found out about planes in a mapped file while they were used, and what the next start must know.

A file on a disk can change under us: a bit flips, or somebody cuts it short. Native threads compare the
planes of each image with their checksum before they first use them. Damaged planes are decoded from the
image's file instead, so no sample is ever wrong; which ones they are is written next to the cache file,
because the next start reads the file's table only.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from yolofast.load.cache._mapping import GuardedMapping
from yolofast.printable import printable

_log = logging.getLogger(__name__)

DAMAGED = 2
"""`PlaneCheck` of csrc/core/pictures/engine.hpp: the planes are not what was written."""


class PlaneGuard:
    """The checksums of planes in a mapped file, and what has been found out about them in this process.

    checksums  uint64 [n] of each image's slot in the file
    checked    uint8 [n] a `PlaneCheck` of each image, written by native threads
    mapping    of the file
    file       the open file, whose shared lock says that it is in use
    """

    def __init__(
        self, path: Path, checksums: NDArray[np.uint64], mapping: GuardedMapping, file: IO[Any]
    ) -> None:
        self.path, self.checksums, self.mapping, self.file = path, checksums, mapping, file
        self.checked: NDArray[np.uint8] = np.zeros(len(checksums), np.uint8)
        self._seen = 0  # damaged images when they were last written down
        self._noted: set[int] = set()
        self._told_lost = False

    def report(self) -> None:
        """Log, once each, that planes are damaged and that the file is lost; note the damaged rows."""
        damaged = self.mapping.damaged
        if damaged != self._seen:
            self._note(damaged)
        if self.mapping.lost and not self._told_lost:
            self._told_lost = True
            _log.warning(
                "%s: the disk cache was cut short or changed while in use, or its disk failed; images are "
                "decoded from their files for the rest of this run. Remove it to build the cache again.",
                printable(str(self.path)),
            )

    def _note(self, damaged: int) -> None:
        if not self._seen:
            _log.warning(
                "%s: the disk cache is damaged; the affected images are decoded from their files in this "
                "run, and stored again at the next start. Remove it to build the cache again.",
                printable(str(self.path)),
            )
        self._seen = damaged
        rows = set(np.flatnonzero(self.checked == DAMAGED).tolist()) - self._noted
        self._noted |= rows
        with contextlib.suppress(OSError), damage_note(self.path).open("a") as note:
            note.write("".join(f"{row}\n" for row in sorted(rows)))


def damage_note(path: Path) -> Path:
    """The file that lists the damaged rows of the cache file `path`, one on a line."""
    return path.with_name(f"{path.name}.damaged")


def damaged_rows(path: Path, count: int) -> NDArray[np.int64]:
    """The rows of the cache file `path`, which has `count`, that a run found damaged; int64 [N]."""
    try:
        with damage_note(path).open("rb") as note:
            words = note.read(32 * count).split()
    except OSError:
        return np.empty(0, np.int64)
    rows = [int(word) for word in words if len(word) < 16 and word.isdigit()]
    return np.array([row for row in rows if row < count], np.int64)
